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
manual_add_modules hv_netvsc
"""
_NETWORK = """\
# shellcheck disable=SC1091
. /scripts/functions
# shellcheck disable=SC2154
[ -e "$rootmnt{flag}" ] || exit 0
[ -n "$IP" ] || IP=dhcp
configure_networking
"""
_ROOT = '"$rootmnt"'

SYSTEM = Scripts(
    name="initramfs-tools",
    title="initramfs-tools (initramfs)",
    files="`/etc/initramfs-tools/hooks/azready`, `scripts/local-bottom/azready`",
    enabled_by=f"`{_FLAG}`; `update-initramfs -u` builds it in",
    then="to do, in the image: update-initramfs -u, which rebuilds the initramfs",
    texts={
        "/etc/initramfs-tools/hooks/azready": _PREREQUISITES + _HOOK,
        f"{_SCRIPTS}/azready": _PREREQUISITES
        + initramfs.filled(_NETWORK, _ROOT, _FLAG)
        + initramfs.running(_ROOT, _FLAG),
    },
    flags={_FLAG: "# azready runs in the initramfs; it removes this file after its work.\n"},
)
