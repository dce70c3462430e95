"""Finit (finit.conf(5))."""

from agent.init.scripts import Scripts

_FOLDERS = ("/etc/finit.d/enabled", "/etc/finit.d")
_TEXT = """\
task [2345] name:azready log {executable} provision -- Making this machine ready for Azure
"""

SYSTEM = Scripts(
    name="finit",
    title="Finit",
    files="`/etc/finit.d/available/azready.conf`",
    enabled_by="link in `enabled/`, else in `/etc/finit.d`",
    init="finit",
    evidence=("/etc/finit.conf",),
    mode=0o644,
    texts={"/etc/finit.d/available/azready.conf": _TEXT},
    links={f"{folder}/azready.conf": "/etc/finit.d/available/azready.conf" for folder in _FOLDERS},
    one_of=_FOLDERS,
)
