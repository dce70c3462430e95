"""The rcS of Buildroot and its like: every /etc/init.d/S* in the order of their names.

The network has the number 40 there, sshd 50.
"""

from agent.init.scripts import Scripts

_TEXT = """\
#!/bin/sh
# Makes this machine ready for Azure.
case "$1" in
    start) exec {executable} provision ;;
esac
"""

SYSTEM = Scripts(
    name="busybox",
    title="busybox init",
    files="`/etc/init.d/azready`",
    enabled_by="`/etc/init.d/S41azready`, for an rcS that runs `S*` in order",
    evidence=("/etc/init.d/rcS",),
    started=("/etc/init.d",),
    texts={"/etc/init.d/azready": _TEXT},
    links={"/etc/init.d/S41azready": "azready"},
)
