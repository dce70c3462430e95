"""What the author of an image does to a root of the distribution's packages, before azready.

Mostly the network: every guest gets its address by another DHCP client.
"""

import pathlib
import shutil
import stat
import subprocess

from build import machine
from scripts.bootlab import inside, run
from scripts.bootlab.kernels import DISK, DRIVE, NETWORK, Kernel
from scripts.tasks import guests as roots
from scripts.tasks import released

_NETWORKD = """\
[Match]
Name=eth0

[Network]
DHCP=ipv4

[DHCPv4]
ClientIdentifier=mac
"""
_IFUPDOWN = """\
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet dhcp
"""
# What the README advises where there is no DHCP client.
_LEASE = """\
[Unit]
Description=A lease for eth0
After=azready.service
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/local/bin/azready lease
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
"""
_MOUNTS = """\
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /dev/pts /run/sshd
mount -t devpts pts /dev/pts
hostname -F /etc/hostname
ip link set lo up
"""
_UDHCPC_HELD = "ip link set eth0 up\nexec busybox udhcpc -f -i eth0 -x hostname:$(hostname)\n"
_UDHCPC = """\
#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
for gateway in $router; do ip route replace default via "$gateway"; done
"""
_S6_SERVICES = {
    "network": _UDHCPC_HELD,
    "sshd": "ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1 || { sleep 1; exit; }\n"
    "exec /usr/sbin/sshd -D -e\n",
}
# s6-linux-init would do this: s6-svscan as PID 1, and s6-rc once it says that it is up.
_STAGE_1 = """\
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{mounts}mkdir /run/service
mkfifo -m 600 /run/up
{{
    read -r _ </run/up
    s6-rc-init -c "$(readlink -f /etc/s6/rc/compiled)" /run/service && s6-rc -v2 -u change default
}} &
exec s6-svscan -d 3 /run/service </dev/null 3>/run/up
"""
# What the command of this name does on Artix Linux, which `azready install` asks for.
_DB_RELOAD = """\
#!/bin/sh -e
new=/etc/s6/rc/compiled-$(date +%s%N)
mkdir -p /etc/s6/rc
s6-rc-compile "$new" /etc/s6/sv /etc/s6/adminsv
[ ! -e /run/s6-rc ] || s6-rc-update "$new"
ln -sfn "$new" /etc/s6/rc/compiled
"""


def nothing(root: pathlib.Path) -> None:
    """Leave a root as it is."""
    del root


def busybox(root: pathlib.Path) -> None:
    """DHCP by busybox' udhcpc, as Buildroot's S40network has it: it ends once it has a lease."""
    script = "ip link set eth0 up\nudhcpc -i eth0 -b -q -x hostname:$(hostname)\n"
    program(root / "etc/init.d/S40network", f"#!/bin/sh\n{script}")
    program(root / "etc/udhcpc/default.script", _UDHCPC)


def networkd(root: pathlib.Path) -> None:
    """systemd with systemd-networkd."""
    _for_systemd(root)
    write(root / "etc/systemd/network/10-eth0.network", _NETWORKD)
    enable(root, "systemd-networkd.service")


def systemd_ifupdown(root: pathlib.Path) -> None:
    """systemd with ifupdown, and the DHCP client of its packages."""
    _for_systemd(root)
    ifupdown(root)


def network_manager(root: pathlib.Path) -> None:
    """systemd with NetworkManager, which takes every Ethernet link without being told to."""
    _for_systemd(root)
    (root / "etc/network/interfaces").unlink(missing_ok=True)


def without_client(root: pathlib.Path) -> None:
    """systemd without any DHCP client, but with `azready lease` at each boot."""
    _for_systemd(root)
    write(root / "etc/systemd/system/lease.service", _LEASE)
    enable(root, "lease.service")


def ifupdown(root: pathlib.Path) -> None:
    """ifupdown, with the DHCP client of its packages."""
    write(root / "etc/network/interfaces", _IFUPDOWN)


def ifupdown_dhcpcd(root: pathlib.Path) -> None:
    """The same with a dhcpcd that sends the host name, as Debian's does not."""
    ifupdown(root)
    with open(root / "etc/dhcpcd.conf", "a") as file:
        file.write("hostname\n")


def s6(root: pathlib.Path) -> None:
    """s6-svscan as PID 1, without s6-rc: udhcpc, sshd and azready are its services."""
    services = root / "etc/s6/service"
    for name, text in _S6_SERVICES.items():
        program(services / name / "run", f"#!/bin/sh\nexec 2>&1\n{text}")
    program(root / "etc/udhcpc/default.script", _UDHCPC)
    start = "exec s6-svscan /etc/s6/service </dev/null\n"
    program(root / "etc/s6/init", f"#!/bin/sh\n{_MOUNTS}mount -o remount,rw /\n{start}")
    _start_by_s6(root)


def s6_rc(root: pathlib.Path) -> None:
    """s6-rc, with mount-filesystems, udhcpc and sshd as its services. Raises BuildError."""
    s6_rc_alone(root, _MOUNTS, "mount -o remount,rw /")
    for name, text in _S6_SERVICES.items():
        write(root / "etc/s6/sv" / name / "type", "longrun\n")
        program(root / "etc/s6/sv" / name / "run", f"#!/bin/sh\nexec 2>&1\n{text}")
        write(root / "etc/s6/sv" / name / "dependencies.d/mount-filesystems", "")
        write(root / "etc/s6/adminsv/default/contents.d" / name, "")
    program(root / "etc/udhcpc/default.script", _UDHCPC)


def s6_rc_alone(root: pathlib.Path, mounts: str, up: str) -> None:
    """s6-rc above s6-svscan as PID 1, in the folders of Artix Linux; `up` mounts the local files.

    Raises BuildError.
    """
    for folder in ("bin", "libexec"):
        shutil.copytree(released.s6_rc() / folder, root / "usr" / folder, dirs_exist_ok=True)
    write(root / "etc/s6/sv/mount-filesystems/type", "oneshot\n")
    write(root / "etc/s6/sv/mount-filesystems/up", f"{up}\n")
    write(root / "etc/s6/adminsv/default/type", "bundle\n")
    write(root / "etc/s6/adminsv/default/contents.d/mount-filesystems", "")
    program(root / "usr/bin/s6-db-reload", _DB_RELOAD)
    program(root / "etc/s6/init", _STAGE_1.format(mounts=mounts))
    _start_by_s6(root)


def _start_by_s6(root: pathlib.Path) -> None:
    (root / "sbin").mkdir(exist_ok=True)
    (root / "sbin/init").unlink(missing_ok=True)
    (root / "sbin/init").symlink_to("/etc/s6/init")


def initramfs_tools(root: pathlib.Path, kernel: Kernel, place: pathlib.Path) -> None:
    """Have the image's own initramfs-tools write the initial RAM disk. Raises LabError."""
    drivers = "".join(f"{name}\n" for name in (*DISK, *NETWORK, *DRIVE))
    write(root / "etc/initramfs-tools/modules", drivers)
    write(root / "etc/initramfs-tools/conf.d/modules", "MODULES=list\n")
    _make_initrd(root, kernel, place, f"update-initramfs -c -k {kernel.version}")


def dracut(root: pathlib.Path, kernel: Kernel, place: pathlib.Path) -> None:
    """Have the image's own dracut write the initial RAM disk. Raises LabError."""
    drivers = " ".join((*DISK, *NETWORK, *DRIVE))
    write(root / "etc/dracut.conf.d/lab.conf", f'hostonly=no\nadd_drivers+=" {drivers} "\n')
    image = f"/boot/initrd.img-{kernel.version}"
    _make_initrd(root, kernel, place, f"dracut --force {image} {kernel.version}")


def _make_initrd(root: pathlib.Path, kernel: Kernel, place: pathlib.Path, command: str) -> None:
    for file, name in ((kernel.image, "vmlinuz"), (kernel.config, "config")):
        shutil.copy(file, root / f"boot/{name}-{kernel.version}")
    inside(root, command)
    shutil.copy(root / f"boot/initrd.img-{kernel.version}", place)


def dinit(root: pathlib.Path) -> None:
    """dinit as PID 1, with services like those of its own examples."""
    for name in ("dinit", "dinitctl", "shutdown"):
        shutil.copy(roots.dinit() / name, root / "usr/sbin" / name)
    for name, target in (("sbin/init", "dinit"), ("sbin/poweroff", "shutdown")):
        (root / "usr" / name).unlink(missing_ok=True)
        (root / "usr" / name).symlink_to(target)
    program(root / "etc/dinit.d/filesystems.sh", f"#!/bin/sh\n{_MOUNTS}mount -o remount,rw /\n")
    program(root / "etc/dinit.d/network.sh", f"#!/bin/sh\n{_UDHCPC_HELD}")
    program(root / "etc/udhcpc/default.script", _UDHCPC)
    for name, text in {
        "boot": "type = internal\nwaits-for: sshd\nwaits-for: network\nwaits-for.d: boot.d\n",
        # starts-rwfs: only then does dinit make its socket, in the /run that is mounted here.
        "filesystems": "type = scripted\ncommand = /etc/dinit.d/filesystems.sh\nrestart = false\n"
        "options = starts-rwfs\n",
        "network": "type = process\ncommand = /etc/dinit.d/network.sh\ndepends-on: filesystems\n",
        "sshd": "type = process\nsmooth-recovery = true\ncommand = /usr/sbin/sshd -D\n"
        "depends-on: filesystems\n",
    }.items():
        write(root / "etc/dinit.d" / name, text)
    (root / "etc/dinit.d/boot.d").mkdir()


def busybox_alone(root: pathlib.Path, file: pathlib.Path, architecture: str) -> None:
    """Make a root with the busybox `file` as its only program, init among its names."""
    folders = ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc/init.d", "root", "var/lib")
    for folder in folders:
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(stat.S_ISVTX | 0o777)
    shutil.copy(file, root / "bin/busybox")
    words = [*machine.command(architecture, file), "--list-full"]
    applets = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for name in applets.split():
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to("/bin/busybox")
    write(root / "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    write(root / "etc/shadow", "root:*:19000:0:99999:7:::\n")
    (root / "etc/shadow").chmod(0o600)
    write(root / "etc/group", "root:x:0:\n")
    write(root / "etc/hostname", "image\n")
    inittab = "::sysinit:/etc/init.d/rcS\n::respawn:-/bin/sh\n::shutdown:/bin/umount -a -r\n"
    write(root / "etc/inittab", inittab)
    scripts = 'for script in /etc/init.d/S??*; do "$script" start; done\n'
    program(root / "etc/init.d/rcS", f"#!/bin/sh\n{_MOUNTS}{scripts}")


def enable(root: pathlib.Path, *units: str) -> None:
    """Enable units of systemd. Raises LabError."""
    run(["systemctl", f"--root={root}", "--quiet", "enable", *units])


def write(path: pathlib.Path, text: str) -> None:
    """Write a file of an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def program(path: pathlib.Path, text: str) -> None:
    """Write a script of an image."""
    write(path, text)
    path.chmod(0o755)


def _for_systemd(root: pathlib.Path) -> None:
    (root / "etc/machine-id").write_bytes(b"")
