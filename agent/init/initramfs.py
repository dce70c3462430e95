"""The initramfs, for those who want a first boot before the init system starts: a module of dracut, a hook and a boot script of initramfs-tools.

Both bring the network up in the initramfs and run the azready of the real root there, in a chroot, so that it works as it does later, with the same
tools. The file that enables them lies in the real root: azready removes it when the work is done, and an initramfs that was not made anew does nothing
from then on. A run that fails stops nothing: the boot goes on, and the unit, if there is one, tries again.
"""

from agent.init.others import Scripts

# `mount -o bind`, because the mount of klibc knows no other spelling. {root} is where the real root is, {flag} the file that enables.
_RUN = """\
run_azready() (
    root={root}
    [ -e "$root{flag}" ] && [ -x "$root{executable}" ] || exit 0
    while read -r _ place _ options _; do
        [ "$place" != "$root" ] || mode=${{options%%,*}}
    done </proc/mounts
    mount -o remount,rw "$root"
    for place in dev proc sys run; do
        mount -o bind "/$place" "$root/$place"
    done
    chroot "$root" {executable} provision || echo "azready: the first boot failed, see above; the boot goes on" >&2
    for place in run sys proc dev; do
        umount "$root/$place"
    done
    [ "${{mode:-rw}}" != ro ] || mount -o remount,ro "$root"
)
run_azready
"""
_DRACUT_FLAG = "/etc/dracut.conf.d/azready.conf"
# dracut.modules(7): 255 is "only if it is asked for"; hooks are sourced.
_DRACUT_SETUP = """\
#!/bin/bash
# Makes this machine ready for Azure, in the initramfs.

check() {{
    require_binaries chroot mount umount || return 1
    return 255
}}

depends() {{
    echo network
}}

installkernel() {{
    hostonly='' instmods hv_netvsc
}}

install() {{
    inst_multiple chroot mount umount
    # For networkd, which does not read the command line that dracut adds; it comes behind what the kernel's command line says.
    mkdir -p "${{initdir:?}}/etc/systemd/network"
    printf '[Match]\\nType=ether\\n\\n[Network]\\nDHCP=yes\\n' >"$initdir/etc/systemd/network/99-azready.network"
    inst_hook pre-pivot 50 "${{moddir:?}}/azready.sh"
}}
"""
# dracut.conf(5): kernel_cmdline is for the initramfs alone.
_DRACUT_CONFIGURATION = """\
add_dracutmodules+=" azready "
kernel_cmdline+=" rd.neednet=1 ip=dhcp "
"""
_TOOLS_FLAG = "/etc/initramfs-tools/conf.d/azready"
# initramfs-tools(7): the first half is asked of every script.
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
_TOOLS_HOOK = (
    _PREREQUISITES
    + """\
# shellcheck disable=SC1091
. /usr/share/initramfs-tools/hook-functions
manual_add_modules hv_netvsc
"""
)
_TOOLS_SCRIPT = (
    _PREREQUISITES
    + """\
# shellcheck disable=SC1091
. /scripts/functions
# shellcheck disable=SC2154
[ -e "$rootmnt{flag}" ] || exit 0
[ -n "$IP" ] || IP=dhcp
configure_networking
"""
)


def _filled(text: str, root: str, flag: str) -> str:
    """Everything but the executable, which Scripts fills in."""
    return text.replace("{root}", root).replace("{flag}", flag)


SYSTEMS = {
    system.name: system
    for system in (
        Scripts(
            "dracut",
            "/usr/lib/dracut/modules.d/95azready/module-setup.sh",
            _DRACUT_SETUP,
            {},
            files={_DRACUT_FLAG: _DRACUT_CONFIGURATION},
            beside={
                "/usr/lib/dracut/modules.d/95azready/azready.sh": _filled(
                    f"#!/bin/sh\n{_RUN}", '"$NEWROOT"', _DRACUT_FLAG
                )
            },
        ),
        Scripts(
            "initramfs-tools",
            "/etc/initramfs-tools/hooks/azready",
            _TOOLS_HOOK,
            {},
            files={
                _TOOLS_FLAG: "# azready runs in the initramfs; it removes this file when its work is done.\n"
            },
            beside={
                "/etc/initramfs-tools/scripts/local-bottom/azready": _filled(
                    _TOOLS_SCRIPT + _RUN, '"$rootmnt"', _TOOLS_FLAG
                )
            },
        ),
    )
}
