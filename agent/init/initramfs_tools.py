"""initramfs-tools: a hook and a boot script (initramfs-tools(7)).

It is never detected: it must be named.
"""

from agent.init import initramfs
from agent.init.scripts import Scripts

_FLAG = "/etc/initramfs-tools/conf.d/azready"
_SCRIPTS = "/etc/initramfs-tools/scripts/local-bottom"
# The first half is asked of every script.
_PREREQUISITES = """\
#!/bin/sh
# Makes this machine ready for Azure, in the initramfs.
case "$1" in
    prereqs)
        echo ""
        exit 0
        ;;
esac
"""
_HOOK = """\
# shellcheck disable=SC1091
. /usr/share/initramfs-tools/hook-functions
# The network and, where it is a module, the sockets that azready asks for a lease with.
manual_add_modules hv_netvsc af_packet
"""
_ROOT = '"${{rootmnt:?}}"'

SYSTEM = Scripts(
    name="initramfs-tools",
    title="initramfs-tools (initramfs)",
    files="`/etc/initramfs-tools/hooks/azready`, `scripts/local-bottom/azready`",
    enabled_by=f"`{_FLAG}`; `update-initramfs -u` builds it in",
    then="to do, in the image: update-initramfs -u, which rebuilds the initramfs",
    texts={
        "/etc/initramfs-tools/hooks/azready": _PREREQUISITES + _HOOK,
        f"{_SCRIPTS}/azready": _PREREQUISITES + initramfs.running(_ROOT, _FLAG),
    },
    flags={_FLAG: "# azready runs in the initramfs; it removes this file after its work.\n"},
)
