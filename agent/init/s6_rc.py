"""s6-rc (s6-rc-compile(8)): a oneshot, whose `up` is a command line for execlineb(1).

The folders and the name of the dependency are those of Artix Linux.
"""

from agent.init.scripts import Scripts

_TEXT = """\
# Make this machine ready for Azure
{executable} provision
"""

SYSTEM = Scripts(
    name="s6-rc",
    title="s6-rc",
    files="`/etc/s6/sv/azready/`, a oneshot",
    enabled_by="`/etc/s6/adminsv/default/contents.d/azready`; `s6-db-reload` compiles it",
    then="to do, in the image: s6-db-reload, which compiles the services",
    init="s6",
    init_with="/etc/s6/sv",
    evidence=("/etc/s6/sv",),
    mode=0o644,
    texts={
        "/etc/s6/sv/azready/up": _TEXT,
        "/etc/s6/sv/azready/type": "oneshot\n",
        "/etc/s6/sv/azready/dependencies.d/mount-filesystems": "",
    },
    flags={"/etc/s6/adminsv/default/contents.d/azready": ""},
)
