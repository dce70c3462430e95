"""What both initramfs builders share: running azready before the switch to the real root.

Both run the azready of the real root in the initramfs, in a chroot: it works as it does later, with
the same tools. It asks for a lease itself, unless something else in the initramfs has configured
the network (`ip=` on the kernel's command line), so the initramfs needs no tools for that. The file
that enables them lies in the real root. azready removes it after its work, and then even an old
initramfs does nothing. A failed run stops nothing: the boot goes on, and the unit, if there is one,
tries again.
"""

# `mount -o bind`, because the mount of klibc has no other spelling. {root} is the place of the real
# root, {flag} the file that enables.
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
    chroot "$root" {executable} provision --dhcp now ||
        echo "azready: the first boot failed, see above; the boot goes on" >&2
    for place in run sys proc dev; do
        umount "$root/$place"
    done
    [ "${{mode:-rw}}" != ro ] || mount -o remount,ro "$root"
)
run_azready
"""


def running(place: str, flag: str) -> str:
    """Return the shell lines that run azready: `place` is the real root as the script names it.

    The executable is still to be filled in.
    """
    return _RUN.replace("{root}", place).replace("{flag}", flag)
