"""The systems that can be booted, one record each."""

import dataclasses
import pathlib
from collections.abc import Callable

from scripts.bootlab import shapes
from scripts.bootlab.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Instead:
    """What a guest gets instead of azready: `put` gets its root; `inputs` is all that decides."""

    put: Callable[[pathlib.Path], None]
    inputs: str


@dataclasses.dataclass(frozen=True)
class Guest:
    """A system that can be booted.

    `init` is the init system as `azready install --init` calls it, and `link` what enables azready;
    `then` is the command that `install` asks to be run in the image.
    `packages` are Debian's, separated by commas. `shape` makes a root out of them what an image of
    such a system is, and `initrd` writes its initial RAM disk, by default that of the lab. `off`
    switches it off. Without `sshd`, the console has a shell of root's. `tree` is a root that
    somebody has made, azready included; all that it lacks is a kernel.
    """

    name: str
    what: str
    init: str
    link: str
    shape: Callable[[pathlib.Path], None]
    machine: str = "x86_64"
    root: str = ""  # an init system of scripts.tasks.guests, or PLAIN; "" for busybox alone
    packages: str = ""
    then: str = ""
    off: str = "poweroff"
    log: str = ""  # where the run is shown, if not on the console
    sshd: bool = True
    holder: bool = True  # a DHCP client stays and holds the lease, so that it can get a new name
    settings: str = ""  # lines of /etc/azready.toml
    initrd: Callable[[pathlib.Path, Kernel, pathlib.Path], None] | None = None
    arguments: str = "quiet"  # of the kernel
    memory: int = 512  # MB
    tree: str = ""
    instead: Instead | None = None


PLAIN = "plain"  # a root of Debian without an init system
_S41 = "/etc/init.d/S41azready"
_RC2 = "/etc/rc2.d/S01azready"
_WANTS = "/etc/systemd/system/multi-user.target.wants/azready.service"
_UDEV = "udev,kmod,iproute2"
_SYSTEMD = Guest(
    name="systemd",
    what="Debian, systemd and systemd-networkd, no Python",
    init="systemd",
    link=_WANTS,
    shape=shapes.networkd,
    root="systemd",
    packages=_UDEV,
)
_BUSYBOX = Guest(
    name="busybox",
    what="kernel, busybox and azready, nothing else",
    init="busybox",
    link=_S41,
    shape=shapes.busybox,
    sshd=False,
    holder=False,
    memory=256,
)
_ALL = (
    _BUSYBOX,
    dataclasses.replace(
        _BUSYBOX,
        name="bare",
        what="the same without any DHCP client: azready's own",
        shape=shapes.nothing,
        holder=True,
    ),
    dataclasses.replace(
        _BUSYBOX, name="busybox-aarch64", what="busybox alone, UEFI", machine="aarch64", memory=512
    ),
    _SYSTEMD,
    dataclasses.replace(
        _SYSTEMD,
        name="systemd-aarch64",
        what="systemd as above, UEFI",
        machine="aarch64",
        memory=768,
    ),
    dataclasses.replace(
        _SYSTEMD,
        name="no-client",
        what="systemd without any DHCP client",
        shape=shapes.without_client,
    ),
    dataclasses.replace(
        _SYSTEMD,
        name="ifupdown",
        what="systemd, ifupdown and dhclient",
        shape=shapes.systemd_ifupdown,
        packages=f"{_UDEV},ifupdown,isc-dhcp-client",
    ),
    dataclasses.replace(
        _SYSTEMD,
        name="networkmanager",
        what="systemd and NetworkManager",
        shape=shapes.network_manager,
        packages=f"{_UDEV},network-manager",
    ),
    dataclasses.replace(
        _SYSTEMD,
        name="initramfs",
        what="provisioned in the initramfs (initramfs-tools), then systemd",
        init="initramfs-tools",
        link="/etc/initramfs-tools/conf.d/azready",
        root="initramfs",
        packages="",
        initrd=shapes.initramfs_tools,
    ),
    dataclasses.replace(
        _SYSTEMD,
        name="dracut",
        what="provisioned in the initramfs (dracut), then systemd",
        init="dracut",
        link="/etc/dracut.conf.d/azready.conf",
        root="initramfs",
        packages="",
        initrd=shapes.dracut,
    ),
    Guest(
        name="sysvinit",
        what="Debian, sysvinit, ifupdown and dhclient",
        init="sysvinit",
        link=_RC2,
        shape=shapes.ifupdown,
        root="sysvinit",
        packages=f"{_UDEV},ifupdown,isc-dhcp-client",
    ),
    Guest(
        name="openrc",
        what="Debian, OpenRC, ifupdown and udhcpc",
        init="openrc",
        link="/etc/runlevels/default/azready",
        shape=shapes.ifupdown,
        root="openrc",
        packages=f"{_UDEV},ifupdown,udhcpc",
    ),
    Guest(
        name="runit",
        what="Debian, runit, ifupdown and dhcpcd",
        init="runit",
        link="/etc/runit/runsvdir/default/azready",
        shape=shapes.ifupdown_dhcpcd,
        root="runit",
        packages=f"{_UDEV},ifupdown,dhcpcd-base",
    ),
    Guest(
        name="s6",
        what="Debian's programs below s6-svscan, udhcpc",
        init="s6",
        link="/etc/s6/service/azready",
        shape=shapes.s6,
        root="s6",
        packages="iproute2",
        off="sync; busybox poweroff -f",
    ),
    Guest(
        name="s6-rc",
        what="Debian's programs below s6-rc and s6-svscan, udhcpc",
        init="s6-rc",
        link="/etc/s6/adminsv/default/contents.d/azready",
        shape=shapes.s6_rc,
        root=PLAIN,
        packages="iproute2",
        then="s6-db-reload",
        off="sync; busybox poweroff -f",
    ),
    Guest(
        name="dinit",
        what="Debian's programs below dinit, udhcpc",
        init="dinit",
        link="/etc/dinit.d/boot.d/azready",
        shape=shapes.dinit,
        root=PLAIN,
        packages="iproute2",
        log="/var/log/azready.log",
    ),
)
GUESTS = {guest.name: guest for guest in _ALL}
