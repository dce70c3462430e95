"""The faults: what may go wrong around a first boot, and what must come of it all the same.

Each runs alone, by `scripts/boot --fault NAME`. Limits of time are for an emulated machine on a
busy one, several times of what was measured; what a limit is to tell apart is much longer.
"""

import dataclasses
import math
import pathlib
import time
from typing import Any

from scripts.bootlab import disks, powercuts, shapes, together
from scripts.bootlab.cloud import wait
from scripts.bootlab.guests import GUESTS, Guest
from scripts.bootlab.kernels import DISK, DRIVE, NETWORK, Kernel
from scripts.bootlab.machine import MAC, Machine
from scripts.bootlab.trial import Fault, Trial
from scripts.simulator import platform

_SYSTEMD, _BUSYBOX = GUESTS["systemd"], GUESTS["busybox"]
_BARE, _NO_CLIENT = GUESTS["bare"], GUESTS["no-client"]
_OTHER_MAC = "00:0d:3a:ab:cd:ef"
_SOON = 30.0  # seconds for what takes one or two
_LATE = 20.0  # seconds without DHCP
_DOWN = 60.0  # seconds without the wireserver
_IMDS_BUDGET = 10.0  # seconds, of agent/azure/imds.py, if the CD says enough
_LONGEST_PAUSE = 15.0 + 30.0  # seconds, of agent/azure/retry.py, and one connection's time-out
_SLOW = 2 << 20  # bytes per second: what a disk of the 1990s read


def _dhcp_late(trial: Trial) -> None:
    trial.cloud.dhcp.silent_until = math.inf
    with trial.boot() as machine:
        asked = trial.event(lambda event: event.asked, machine, "somebody asks for a lease")
        trial.cloud.dhcp.silent_until = asked.at + _LATE
        _is_ready_soon(trial, machine)
        lease = trial.leased(machine)
        trial.require(lease >= asked.at + _LATE, "the lease was given too early")
        trial.note(f"lease after {lease - asked.at:.1f} s")
        own = "nobody has configured the network"
        trial.require(own not in machine.text, "azready asked beside the image's client")
        services = [exchange.service for exchange in trial.cloud.requests()]
        trial.require("imds" in services, "Ready without having asked for the metadata")
        trial.rest(machine)


def _is_ready_soon(trial: Trial, machine: Machine, more: float = 0.0) -> None:
    """Wait for Ready: seconds, and `more`, after nothing else is waited for any more."""
    ready = trial.ready(machine)
    trial.within("from lease and host keys to Ready", ready - trial.free(machine), _SOON + more)


def _wireserver_down(trial: Trial) -> None:
    trial.cloud.cut(platform.WIRESERVER)
    with trial.boot() as machine:
        asked = trial.event(lambda event: event.http, machine, "IMDS is asked")
        if trial.guest.sshd:
            login = trial.login(machine)
            trial.require(login < asked.at + _DOWN, "no login until the wireserver was back")
            trial.note(f"login {login - asked.at:.1f} s after the first request")
        trial.sleep_until(asked.at + _DOWN)
        trial.require(trial.cloud.reports() == [], "something was reported meanwhile")
        trial.cloud.mend(platform.WIRESERVER)
        back = trial.ready(machine) - asked.at - _DOWN
        trial.within("from the wireserver's return to Ready", back, _LONGEST_PAUSE)
        trial.rest(machine)


def _no_imds(trial: Trial) -> None:
    trial.cloud.cut(platform.IMDS)
    with trial.boot() as machine:
        _is_ready_soon(trial, machine, _IMDS_BUDGET)
        asked = [exchange.service for exchange in trial.cloud.requests()]
        trial.require("imds" not in asked, "IMDS was there")
        trial.rest(machine)


def _no_cd(trial: Trial) -> None:
    with trial.boot(dataclasses.replace(trial.hardware(), cd=None)) as machine:
        _is_ready_soon(trial, machine)
        trial.rest(machine)


def _no_cd_driver(trial: Trial) -> None:
    hardware = trial.hardware()
    without = f"modprobe.blacklist={','.join(DRIVE)}"
    hardware = dataclasses.replace(hardware, arguments=f"{hardware.arguments} {without}")
    with trial.boot(hardware) as machine:
        _is_ready_soon(trial, machine)
        trial.rest(machine)
        machine.run("test ! -e /dev/sr0")


def _without_drive(root: pathlib.Path, kernel: Kernel, place: pathlib.Path) -> None:
    del root
    disks.initrd(kernel, place, modules=(*DISK, *NETWORK))


def _read_only_root(trial: Trial) -> None:
    with trial.boot() as machine:
        trial.ready(machine)
        trial.rest(machine)
        machine.run("! touch /usr/local/written && ! touch /written")


def _all_read_only(trial: Trial) -> None:
    with trial.boot() as machine:
        told = trial.event(lambda event: event.report, machine, "something is reported").http
        trial.require(
            told is not None and "ead-only file system" in told.description,
            f"the platform was told: {told and told.description!r}",
        )
        trial.note(f"the platform was told: {told and told.description}")


_LAYERS = """\
$busybox mkdir /layers
$busybox mount -t tmpfs layers /layers
for place in etc var home; do
    layer=/layers/$place
    $busybox mkdir -p $layer/upper $layer/work
    options=lowerdir=/root/$place,upperdir=$layer/upper,workdir=$layer/work
    $busybox mount -t overlay -o $options overlay /root/$place
done
"""


def _layered(root: pathlib.Path, kernel: Kernel, place: pathlib.Path) -> None:
    """The root stays read-only; layers in memory lie where a running system writes."""
    del root
    disks.initrd(
        kernel, place, modules=(*DISK, *NETWORK, *DRIVE, "overlay"), mode="ro", more=_LAYERS
    )


def _unlayered(root: pathlib.Path, kernel: Kernel, place: pathlib.Path) -> None:
    """The root stays read-only, and there is nothing to write to."""
    del root
    disks.initrd(kernel, place, mode="ro")


def _kept_read_only(root: pathlib.Path) -> None:
    shapes.networkd(root)
    shapes.write(root / "etc/fstab", "/dev/vda / ext4 ro 0 0\n")


def _clock_jumps(trial: Trial) -> None:
    trial.cloud.cut(platform.WIRESERVER)
    hardware = dataclasses.replace(trial.hardware(), clock="2001-01-01T00:00:00")
    with trial.boot(hardware) as machine:
        trial.login(machine)
        for year in (2046, 2019):
            machine.run(f"date -s {year}-06-01")
            time.sleep(5)
            trial.require(trial.cloud.reports() == [], f"a report without a wireserver, in {year}")
        asked = len(trial.cloud.events)
        trial.cloud.mend(platform.WIRESERVER)
        back = wait(lambda: trial.cloud.events[asked:], 60, what="the platform is asked")[0].at
        trial.within("from the wireserver's answer to Ready", trial.ready(machine) - back, _SOON)
        trial.rest(machine)
        machine.run("test $(date +%Y) = 2019")


def _two_nics(trial: Trial) -> None:
    """The second has a carrier, but nothing is there."""
    nowhere = ((trial.cloud.tap(attached=False), _OTHER_MAC),)
    with trial.boot(dataclasses.replace(trial.hardware(), nics=nowhere)) as machine:
        _is_ready_soon(trial, machine)
        trial.rest(machine)


def _dead_nic_first(trial: Trial) -> None:
    """The first one has a carrier, but nothing is there: azready's own DHCP must go on."""
    before = ((trial.cloud.tap(attached=False), _OTHER_MAC),)
    with trial.boot(dataclasses.replace(trial.hardware(), nics_before=before)) as machine:
        _is_ready_soon(trial, machine)
        trial.rest(machine)


def _nic_without_routes(trial: Trial) -> None:
    """The second one is on the network and gets a lease, but without any route."""
    trial.cloud.dhcp.without_routes = (_OTHER_MAC,)
    second = ((trial.cloud.tap(), _OTHER_MAC),)
    with trial.boot(dataclasses.replace(trial.hardware(), nics=second)) as machine:
        trial.ready(machine)
        trial.rest(machine)
        address = machine.run("ip -4 addr show dev eth1")
        trial.require(f"inet {trial.cloud.address(_OTHER_MAC)}/" in address, f"eth1: {address}")
        routes = machine.run("ip -4 route show dev eth1")
        trial.require("via" not in routes, f"the second NIC has a route: {routes}")


def _every_link(root: pathlib.Path) -> None:
    """systemd-networkd for all of the links."""
    shapes.networkd(root)
    network = root / "etc/systemd/network/10-eth0.network"
    network.write_text(network.read_text().replace("Name=eth0", "Name=eth*"))


def _late_nic(trial: Trial) -> None:
    """A NIC with the MAC of the first appears while a lease is waited for.

    That azready sees in it a virtual function, below a NIC of Hyper-V's, cannot be shown: QEMU has
    no such NIC, and the kernel joins no others.
    """
    trial.cloud.dhcp.silent_until = math.inf
    tap = trial.cloud.tap(attached=False)
    with trial.boot(dataclasses.replace(trial.hardware(), slot=True)) as machine:
        asked = trial.event(lambda event: event.asked, machine, "somebody asks for a lease")
        machine.plug(tap)
        trial.sleep_until(asked.at + 5)
        trial.cloud.dhcp.silent_until = 0.0
        _is_ready_soon(trial, machine)
        trial.rest(machine)
        seen = machine.run("cat /sys/class/net/eth1/address")
        trial.require(MAC in seen, f"no second NIC with this MAC: {seen}")


def _slow_disk(trial: Trial) -> None:
    with trial.boot(dataclasses.replace(trial.hardware(), throttle=_SLOW)) as machine:
        trial.ready(machine)
        trial.rest(machine)


def _no_overcommit(trial: Trial) -> None:
    """The kernel promises no more memory than there is (proc(5), vm.overcommit_memory)."""
    hardware = trial.hardware()
    strict = f"{hardware.arguments} sysctl.vm.overcommit_memory=2"
    with trial.boot(dataclasses.replace(hardware, arguments=strict)) as machine:
        trial.ready(machine)
        trial.rest(machine)
        machine.run("test $(cat /proc/sys/vm/overcommit_memory) = 2")


def _guest(guest: Guest, name: str, **changes: Any) -> Guest:
    return dataclasses.replace(guest, name=f"{guest.name}-{name}", **changes)


_READ_ONLY = _guest(_SYSTEMD, "read-only", shape=_kept_read_only, initrd=_unlayered)
_ALL = (
    Fault("dhcp-late", "20 s without DHCP", (_SYSTEMD, _BUSYBOX), _dhcp_late),
    Fault(
        "wireserver-down",
        "60 s without the wireserver; people log in meanwhile",
        (_SYSTEMD, _BUSYBOX),
        _wireserver_down,
    ),
    Fault("no-imds", "no instance metadata", (_SYSTEMD, _BUSYBOX), _no_imds),
    Fault("no-cd", "an empty CD drive", (_SYSTEMD, _BUSYBOX), _no_cd),
    Fault(
        "no-cd-driver",
        "a CD, and no driver for the drive",
        tuple(_guest(guest, "no-drive", initrd=_without_drive) for guest in (_SYSTEMD, _BUSYBOX)),
        _no_cd_driver,
    ),
    Fault(
        "read-only-root",
        "a read-only root; /etc, /var and /home have layers in memory",
        (dataclasses.replace(_READ_ONLY, name="systemd-layered", initrd=_layered),),
        _read_only_root,
    ),
    Fault(
        "all-read-only",
        "nothing can be written: the platform is told",
        (_READ_ONLY,),
        _all_read_only,
        report="ProvisioningFailed",
    ),
    Fault(
        "power-cut",
        "ten power cuts at random moments, and another boot after each",
        (_SYSTEMD,),
        powercuts.at_random_moments,
    ),
    Fault(
        "power-cut-keys",
        "five power cuts while host keys are made",
        (_SYSTEMD,),
        powercuts.while_keys_are_made,
    ),
    Fault("clock-jumps", "from 2001 to 2046 and back to 2019", (_SYSTEMD,), _clock_jumps),
    Fault("two-nics", "a second NIC that leads nowhere", (_SYSTEMD, _BARE), _two_nics),
    Fault("dead-nic-first", "the first NIC leads nowhere", (_BARE, _NO_CLIENT), _dead_nic_first),
    Fault(
        "nic-without-routes",
        "a second NIC with a lease and no route",
        (_guest(_SYSTEMD, "every-link", shape=_every_link),),
        _nic_without_routes,
    ),
    Fault("late-nic", "a NIC with the same MAC appears late", (_SYSTEMD, _BARE), _late_nic),
    Fault(
        "linux-agent",
        "the Azure Linux agent beside it, for extensions",
        (_guest(_SYSTEMD, "agent", shape=together.shape, packages=together.BESIDE),),
        together.provision,
    ),
    Fault("no-overcommit", "vm.overcommit_memory=2", (_BUSYBOX,), _no_overcommit),
    Fault("slow-disk", f"a disk of {_SLOW >> 20} MB/s", (_SYSTEMD,), _slow_disk),
)
FAULTS = {fault.name: fault for fault in _ALL}
