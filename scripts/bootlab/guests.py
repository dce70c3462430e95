"""The systems that can be booted, one record each, and how their disks are made.

A guest is a root of the distribution's packages, shaped by a function, into which azready is put by
`azready install --root`, as into any image: nothing of azready's is written by hand.
"""

import dataclasses
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable

from build import toolchain
from build.cache import key, made
from scripts.bootlab import LabError, disks, kernels
from scripts.bootlab.machine import Hardware
from scripts.tasks import guests as roots

_NETWORKD = """\
[Match]
Name=eth0

[Network]
DHCP=ipv4

[DHCPv4]
ClientIdentifier=mac
"""


@dataclasses.dataclass(frozen=True)
class Guest:
    """A system that can be booted.

    `init` is the init system as `azready install --init` calls it, and `link` what enables azready.
    `packages` are Debian's, separated by commas. `shape` makes a root out of them what an image of
    such a system is. `off` switches it off. Without `sshd`, the console has a shell of root's.
    """

    name: str
    what: str
    init: str
    link: str
    shape: Callable[[pathlib.Path], None]
    machine: str = "x86_64"
    root: str = ""  # an init system of scripts.tasks.guests, "" for busybox alone
    packages: str = ""
    off: str = "poweroff"
    sshd: bool = True
    settings: str = ""  # lines of /etc/azready.toml
    memory: int = 512  # MB


def hardware(guest: Guest, folder: pathlib.Path) -> Hardware:
    """Return a machine for the guest with a fresh disk in `folder`. Raises BuildError, LabError."""
    base = built(guest)
    folder.mkdir(parents=True, exist_ok=True)
    return Hardware(
        machine=guest.machine,
        kernel=kernels.kernel(guest.machine).image,
        initrd=base / "initrd",
        disk=disks.overlay(base / "disk", folder / "disk.qcow2"),
        memory=guest.memory,
    )


def built(guest: Guest) -> pathlib.Path:
    """Return a cached folder with the guest's `disk` and `initrd`. Raises BuildError, LabError."""
    file = toolchain.output(guest.machine)
    if not file.exists():
        raise LabError(f"{file} is missing: run scripts/build --arch {guest.machine}")
    kernel = kernels.kernel(guest.machine)
    source = root_of(guest)
    own = pathlib.Path(__file__).read_bytes()
    inputs = key(str(source), str(kernel.image), toolchain.sha256(file), repr(guest.name), own)

    def make(place: pathlib.Path) -> None:
        disks.initrd(kernel, place / "initrd")
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            root = pathlib.Path(scratch)
            root.chmod(0o755)
            shaped(guest, source, kernel, root)
            disks.image(root, place / "disk")

    name = f"boot-{guest.name}"
    place = made(name, inputs, make, hint="about 10 seconds")
    for other in toolchain.cache_folder().glob(f"{name}-{'[0-9a-f]' * 16}"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)  # of another azready: large, and of no use
    return place


def root_of(guest: Guest) -> pathlib.Path | None:
    """Return the guest's packages, unpacked, or None. Raises BuildError."""
    return roots.debian(guest.root, guest.packages) if guest.root else None


def shaped(
    guest: Guest, source: pathlib.Path | None, kernel: kernels.Kernel, root: pathlib.Path
) -> None:
    """Make the guest's root in an empty folder, azready included. Raises LabError."""
    if source:
        subprocess.run(["cp", "-a", f"{source}/.", root], check=True)
        modules = root / "usr/lib/modules"
        modules.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", kernel.modules, modules], check=True)
        (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 0\n")
        (root / "etc/hostname").write_text("image\n")
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (root / "etc/resolv.conf").unlink(missing_ok=True)
    else:
        _busybox_alone(root, kernel.busybox)
    guest.shape(root)
    if guest.settings:
        (root / "etc/azready.toml").write_text(guest.settings)
    install(guest, root)


def install(guest: Guest, root: pathlib.Path) -> None:
    """Put azready into a root, as the README says for images. Raises LabError."""
    native = toolchain.output()
    words = [str(native), "install", "--root", str(root), "--init", guest.init]
    words += ["--file", str(toolchain.output(guest.machine))]
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode:
        raise LabError(f"azready install exited with status {result.returncode}: {result.stderr}")
    if not os.path.lexists(f"{root}{guest.link}"):
        raise LabError(f"azready install made no {guest.link}: {result.stderr}")


def program(path: pathlib.Path, text: str) -> None:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _busybox_alone(root: pathlib.Path, busybox: pathlib.Path) -> None:
    for folder in (
        "bin",
        "sbin",
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "etc/init.d",
        "root",
        "var/lib",
    ):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(stat.S_ISVTX | 0o777)
    shutil.copy(busybox, root / "bin/busybox")
    said = subprocess.run([busybox, "--list-full"], capture_output=True, text=True)
    for name in said.stdout.split():
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to("/bin/busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/shadow").write_text("root:*:19000:0:99999:7:::\n")
    (root / "etc/shadow").chmod(0o600)
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/hostname").write_text("image\n")
    (root / "etc/inittab").write_text(
        "::sysinit:/etc/init.d/rcS\n::respawn:-/bin/sh\n::shutdown:/bin/umount -a -r\n"
    )
    program(
        root / "etc/init.d/rcS",
        "#!/bin/sh\n"
        "mount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t tmpfs run /run\n"
        "hostname -F /etc/hostname\nip link set lo up\n"
        'for script in /etc/init.d/S??*; do "$script" start; done\n',
    )


def _busybox(root: pathlib.Path) -> None:
    """DHCP by busybox' udhcpc, in the background as Buildroot has it."""
    program(
        root / "etc/init.d/S40network",
        "#!/bin/sh\nip link set eth0 up\nudhcpc -i eth0 -b -q -x hostname:$(hostname)\n",
    )
    program(
        root / "etc/udhcpc/default.script",
        "#!/bin/sh\n"
        '[ "$1" = bound ] || [ "$1" = renew ] || exit 0\n'
        'ip addr replace "$ip/$mask" dev "$interface"\n'
        'for gateway in $router; do ip route replace default via "$gateway"; done\n',
    )


def _nothing(root: pathlib.Path) -> None:
    del root


def _systemd(root: pathlib.Path) -> None:
    """systemd-networkd, as the distribution's own images for Azure have it."""
    (root / "etc/machine-id").write_bytes(b"")
    place = root / "etc/systemd/network/10-eth0.network"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(_NETWORKD)
    enable(root, "systemd-networkd.service")


def enable(root: pathlib.Path, *units: str) -> None:
    """Enable units of systemd. Raises LabError."""
    words = ["systemctl", f"--root={root}", "--quiet", "enable", *units]
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode:
        raise LabError(f"systemctl enable {' '.join(units)}: {result.stderr}")


_S41 = "/etc/init.d/S41azready"
_WANTS = "/etc/systemd/system/multi-user.target.wants/azready.service"
_ALL = (
    Guest(
        "busybox",
        "kernel, busybox and azready, nothing else",
        "busybox",
        _S41,
        _busybox,
        sshd=False,
        memory=256,
    ),
    Guest(
        "bare",
        "the same without any DHCP client",
        "busybox",
        _S41,
        _nothing,
        sshd=False,
        memory=256,
    ),
    Guest(
        "systemd",
        "Debian, systemd, systemd-networkd, no Python",
        "systemd",
        _WANTS,
        _systemd,
        root="systemd",
        packages="udev,kmod,iproute2",
    ),
)
GUESTS = {guest.name: guest for guest in _ALL}
