"""dracut: a module for the initramfs (dracut.modules(7), dracut.conf(5)).

It is never detected: it must be named.
"""

from agent.init import initramfs
from agent.init.scripts import Scripts

_FOLDER = "/usr/lib/dracut/modules.d/95azready"
_FLAG = "/etc/dracut.conf.d/azready.conf"
# 255 is "only if it is asked for"; hooks are sourced.
_SETUP = """\
#!/bin/bash
# Makes this machine ready for Azure, in the initramfs.

check() {{
    require_binaries chroot mount umount || return 1
    return 255
}}

installkernel() {{
    # The network and, where it is a module, the sockets that azready asks for a lease with.
    hostonly='' instmods hv_netvsc af_packet
}}

install() {{
    inst_multiple chroot mount umount
    inst_hook pre-pivot 50 "${{moddir:?}}/azready.sh"
}}
"""
_CONFIGURATION = """\
add_dracutmodules+=" azready "
"""

SYSTEM = Scripts(
    name="dracut",
    title="dracut (initramfs)",
    files=f"`{_FOLDER}/`",
    enabled_by=f"`{_FLAG}`; `dracut --force` builds it in",
    then="to do, in the image: dracut --force, which rebuilds the initramfs",
    texts={
        f"{_FOLDER}/module-setup.sh": _SETUP,
        f"{_FOLDER}/azready.sh": "#!/bin/sh\n" + initramfs.running('"$NEWROOT"', _FLAG),
    },
    flags={_FLAG: _CONFIGURATION},
)
