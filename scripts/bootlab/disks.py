"""Disks, provisioning CDs and initial RAM disks.

A root folder becomes an ext4 image by `mke2fs -d`: nothing is mounted. A boot gets an overlay of
it, which the next boot of the same machine gets again.
"""

import pathlib
import shutil
import tempfile

from scripts.bootlab import run
from scripts.bootlab.kernels import DISK, DRIVE, NETWORK, Kernel
from scripts.simulator import media
from scripts.simulator.scenario import VM

_INIT = """\
#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
for module in $($busybox cat /modules/order); do $busybox insmod /modules/$module; done
while [ ! -e /dev/vda ]; do $busybox usleep 20000; done
$busybox mount -t ext4 -o {mode} /dev/vda /root
{more}$busybox mount --move /dev /root/dev
$busybox umount /proc /sys
exec $busybox switch_root /root /sbin/init
"""


def image(root: pathlib.Path, place: pathlib.Path, spare: int = 200) -> None:
    """Write the folder `root` as an ext4 image with `spare` MB left to `place`. Raises LabError."""
    used = int(run(["du", "-sm", str(root)]).split()[0])
    size = used + used // 8 + spare
    run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(place), f"{size}M"])


def overlay(base: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    """Make a disk that starts as `base` and keeps what is written to it; return its path."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw", str(place)])
    return place


def cd(vm: VM, place: pathlib.Path) -> pathlib.Path:
    """Write the provisioning CD of a VM, UDF as Azure's; return its path."""
    with tempfile.TemporaryDirectory() as scratch:
        pathlib.Path(scratch, "ovf-env.xml").write_bytes(media.ovf_env(vm))
        run(["genisoimage", "-quiet", "-udf", "-V", "rd_rdfe_stable", "-o", str(place), scratch])
    return place


def initrd(
    kernel: Kernel,
    place: pathlib.Path,
    *,
    modules: tuple[str, ...] = (*DISK, *NETWORK, *DRIVE),
    mode: str = "rw",
    more: str = "",
) -> pathlib.Path:
    """Write an initial RAM disk that loads modules and starts /sbin/init of the disk.

    `mode` is how the root is mounted, "rw" or "ro"; `more` are lines that may change /root then.
    Returns its path.
    """
    with tempfile.TemporaryDirectory() as scratch:
        top = pathlib.Path(scratch, "top")
        lay_out(kernel, top, _INIT.format(mode=mode, more=more))
        files = kernel.loading(*modules)
        for file in files:
            shutil.copy(file, top / "modules" / file.name)
        (top / "modules/order").write_text("".join(f"{file.name}\n" for file in files))
        pack(top, place)
    return place


def lay_out(kernel: Kernel, top: pathlib.Path, init: str) -> None:
    """Make a folder for pack(): busybox, and a script that the kernel starts."""
    for folder in ("bin", "dev", "proc", "sys", "root", "modules"):
        (top / folder).mkdir(parents=True)
    shutil.copy(kernel.busybox, top / "bin/busybox")
    (top / "init").write_text(init)
    (top / "init").chmod(0o755)


def pack(top: pathlib.Path, place: pathlib.Path) -> None:
    """Write a folder as a cpio archive that a kernel unpacks (initramfs). Raises LabError."""
    script = 'cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1 >"$2"'
    run(["sh", "-c", script, "sh", str(top), str(place.absolute())])
