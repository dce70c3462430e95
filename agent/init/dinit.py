"""dinit (dinit-service(5)).

Without start-timeout it would be killed after a minute. The names in a folder of waits-for.d need
not exist, so each of them names the local file systems somewhere: dinit's own examples, Artix,
Chimera.
"""

from agent.init.scripts import Scripts

_LOCAL_FILES = ("filesystems", "late-filesystems", "local.target", "mount-filesystems")
_TEXT = """\
# Make this machine ready for Azure
type = scripted
command = {executable} provision
restart = false
start-timeout = 0
logfile = /var/log/azready.log
waits-for.d = azready.d
"""

SYSTEM = Scripts(
    name="dinit",
    title="dinit",
    files="`/etc/dinit.d/azready`, and `azready.d/`",
    enabled_by="link in `boot.d`",
    init="dinit",
    evidence=("/etc/dinit.d/boot",),
    started=("/etc/dinit.d/boot.d",),
    mode=0o644,
    texts={
        "/etc/dinit.d/azready": _TEXT,
        **{f"/etc/dinit.d/azready.d/{name}": "" for name in _LOCAL_FILES},
    },
    links={"/etc/dinit.d/boot.d/azready": "../azready"},
)
