"""runit (sv(8)).

After `once` the service is not started again when it ends, however it ends. The next boot starts it
again, if the link is still there.
"""

from agent.init.scripts import Scripts

_FOLDERS = ("/etc/runit/runsvdir/default", "/etc/service", "/var/service")
_TEXT = """\
#!/bin/sh
sv once .
exec {executable} provision 2>&1
"""

SYSTEM = Scripts(
    name="runit",
    title="runit",
    files="`/etc/sv/azready/run`",
    enabled_by="link in `/etc/runit/runsvdir/default`, else `/etc/service` or `/var/service`",
    init="runit",
    evidence=("/etc/runit/2",),
    started=("/etc/runit/runsvdir/default", "/var/service"),
    texts={"/etc/sv/azready/run": _TEXT},
    links={f"{folder}/azready": "/etc/sv/azready" for folder in _FOLDERS},
    one_of=_FOLDERS,
)
