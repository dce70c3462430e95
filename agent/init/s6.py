"""s6 without s6-rc (s6-svscan(8)). s6-svc -O is what `once` is to runit."""

from agent.init.scripts import Scripts

_FOLDERS = ("/etc/s6/service", "/service", "/etc/service", "/var/service")
_TEXT = """\
#!/bin/sh
s6-svc -O .
exec {executable} provision 2>&1
"""

SYSTEM = Scripts(
    name="s6",
    title="s6",
    files="`/etc/sv/azready/run`",
    enabled_by="link in `/etc/s6/service`, else `/service`, `/etc/service`, `/var/service`",
    init="s6",
    texts={"/etc/sv/azready/run": _TEXT},
    links={f"{folder}/azready": "/etc/sv/azready" for folder in _FOLDERS},
    one_of=_FOLDERS,
)
