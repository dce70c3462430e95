"""`scripts/bench --boot`: which image is Ready first, and lets its user in first.

Each contender boots the same guest with the same kernel, interleaved, one machine at a time. All
times are seconds since the kernel's clock started. The platform's side sees the requests, the lease
and the login; the guest is asked for the rest once that is over.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import stat
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence

from build import toolchain
from build.cache import BuildError, console
from scripts.bootlab import LabError, disks, images, kernels, kvm
from scripts.bootlab.cloud import BRIDGE, Cloud
from scripts.bootlab.guests import GUESTS, Guest, Instead
from scripts.bootlab.machine import MAC, PATIENCE, Hardware, Machine
from scripts.simulator.scenario import VM
from scripts.tasks import boot, standings, stock, timeline
from scripts.tasks.contenders import CONTENDERS, Contender, private_key, public_key
from scripts.tasks.standings import EVENTS, Added, Boot, Record

FOLDER = toolchain.TOP / "dist/race"
BOOTS = 5
IMAGES = {"no": (False,), "yes": (True,)}  # of --host-keys
_CLOCK = re.compile(r"race-uptime ([0-9.]+)")
# Until the port answers. Each knock is a new connection: one that nobody answers would be repeated
# only after a second, and then after two.
_KNOCK = 'until timeout 0.1 bash -c "exec 3<>/dev/tcp/$0/22" 2>&-; do sleep 0.05; done'
_FACTS = """\
for _ in 1 2 3; do echo "race-uptime $(cut -d ' ' -f 1 /proc/uptime)" >/dev/ttyS0; done
echo clock $(date +%s.%N) $(cut -d ' ' -f 1 /proc/uptime)
systemctl show --property UserspaceTimestampMonotonic
stat -c 'user %.3W' /home/{user}
stat -c 'key %.3Z' /etc/ssh/ssh_host_*_key
cat /proc/meminfo
journalctl --boot --output short-monotonic --unit systemd-networkd --no-pager
"""
# Of every process with a command line: threads of the kernel have none.
_PROCESSES = """\
systemctl is-system-running --wait >/dev/null
for place in /proc/[0-9]*; do
    line=$(tr '\\0\\n' '  ' <$place/cmdline) && [ -n "$line" ] && printf '%s\\n' "$line"
done 2>/dev/null
true
"""
# What the guest runs without a reporter, and what this question runs.
_KNOWN = re.compile(
    r"\(udev-worker\)|systemd|dbus|sshd|agetty|init$|\(sd-pam\)|sudo$|sh$|bash$|tr$"
)
_CACHES = ("var/cache", "var/log", "var/lib/apt", "tmp")


def main(only: Sequence[str], words: Sequence[str], boots: int, kind: str | None = None) -> int:
    """Race the contenders named `only`, or all, and those of --against; return the exit status.

    `kind` is a key of IMAGES; without, both kinds race.
    """
    try:
        others = against(words)
        chosen = [one for one in CONTENDERS if not only or one.name in only]
        given = [*(f"--only {name}" for name in only), *(f"--against {word}" for word in words)]
        given += [f"--host-keys {kind}"] if kind else []
        command = " ".join(["scripts/bench --boot", f"--runs {boots}", *given])
        run([*chosen, *others], IMAGES.get(kind or "", (False, True)), boots, command)
    except (BuildError, LabError, ValueError) as error:
        console.print(f"error: {error}", markup=False)
        return 2 if isinstance(error, ValueError) else 1
    return 0


def against(words: Sequence[str]) -> list[Contender]:
    """Return the contenders that NAME=FILE, or "go", describe. Raises BuildError, ValueError."""
    found: list[Contender] = []
    for given in words:
        word = f"go={stock.command('go')[0]}" if given == "go" else given
        name, _, file = word.partition("=")
        path = pathlib.Path(file)
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or not file:
            raise ValueError(
                f"--against {word!r} is not NAME=FILE, with a NAME of a-z, 0-9 and -, nor go"
            )
        if not path.is_file():
            raise ValueError(f"--against {word!r}: {file} is no file")
        if name in [one.name for one in (*CONTENDERS, *found)]:
            raise ValueError(f"--against {word!r}: there is a contender {name} already")
        found.append(Contender(name, path.name, file=path.absolute()))
    return found


def run(contenders: Sequence[Contender], kinds: Sequence[bool], boots: int, command: str) -> Record:
    """Race, print the tables, and write() to dist/race after each boot.

    `kinds` are those of the images: whether they have SSH host keys.

    `command` is what a person types to repeat it. Raises BuildError, LabError.
    """
    boot.prepare([GUESTS["systemd"]])
    guests = [(one, keys, one.guest(keys=keys)) for one in contenders for keys in kinds]
    machines = {guest.name: images.hardware(guest, FOLDER / guest.name) for _, _, guest in guests}
    private = private_key()
    base = measured(dataclasses.replace(GUESTS["systemd"], instead=Instead(_nothing, "")))
    loads: list[float] = []
    record = Record()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with Cloud(FOLDER / "cloud", VM(public_keys=(public_key(),))) as cloud:
        cloud.ip(f"neigh replace {cloud.address(MAC)} lladdr {MAC} dev {BRIDGE} nud permanent")
        cd = disks.cd(cloud.vm, FOLDER / "cd.iso")
        for number in range(1, boots + 1):
            for one, keys, guest in guests:
                if one.name not in record.added:
                    packages, size = measured(guest)
                    record.added[one.name] = Added(packages - base[0], size - base[1], ())
                    console.print(f"  {one.name}: {record.added[one.name]}", markup=False)
                loads.append(os.getloadavg()[0])
                with Machine(
                    cloud,
                    _fresh(machines[guest.name], cd),
                    cloud.vm.vm_id,
                    FOLDER / guest.name / str(number),
                ) as machine:
                    machine.expect(cloud.vm.admin_username, private)
                    said = _watch(machine, one.name, record, keys=keys)
                console.print(f"  {guest.name} {number}: {said}", markup=False)
                record.about = _about(number, loads)
                write(record, command, FOLDER)
    for keys in standings.titles(record):
        console.print(standings.table(record, keys=keys))
    return record


def write(record: Record, command: str, folder: pathlib.Path) -> None:
    """Write what is known so far: race.json, race.md and race.svg."""
    record.write(folder / "race.json")
    (folder / "race.md").write_text(standings.markdown(record, command))
    (folder / "race.svg").write_text(timeline.picture(record))


def measured(guest: Guest) -> tuple[int, int]:
    """Return how many packages and bytes the guest's image has. Raises BuildError, LabError."""
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        images.shaped(guest, images.root_of(guest), kernels.kernel(guest.machine), root)
        status = (root / "var/lib/dpkg/status").read_text()
        for name in _CACHES:
            subprocess.run(["rm", "-rf", "--", root / name], check=True)
        entries = [path.lstat() for path in root.rglob("*")]
    # A file with two names has its bytes once.
    sizes = {one.st_ino: one.st_size for one in entries if stat.S_ISREG(one.st_mode)}
    return status.count("Status: install ok installed"), sum(sizes.values())


def _nothing(root: pathlib.Path) -> None:
    del root


def _about(boots: int, loads: list[float]) -> str:
    """Say what was measured, and on what."""
    accelerator = kvm.accelerator(kernels.kernel())
    return (
        f"Seconds since the kernel's clock started, medians of {boots} interleaved boots (fastest "
        f"to slowest), one machine of two processors at a time, QEMU ({accelerator}), on "
        f"{os.cpu_count()} processors with other work: load {min(loads):.0f} to {max(loads):.0f}, "
        f"median {statistics.median(loads):.0f}. Compare the ratios."
    )


def _fresh(hardware: Hardware, cd: pathlib.Path) -> Hardware:
    """Return the same machine with a disk that nobody has written to, in place of the last one."""
    assert hardware.disk  # noqa: S101 (images.hardware has made it)
    used = hardware.disk.with_name("used.qcow2")
    shutil.copy(hardware.disk, used)
    return dataclasses.replace(hardware, disk=used, cd=cd)


def _watch(machine: Machine, name: str, record: Record, *, keys: bool) -> str:
    """Watch a boot and record it; return what is to be told.

    A boot that ends in no login, or no Ready, is recorded without times.
    """
    try:
        login = _login(machine)
        machine.wait_report()
        said = machine.run(_FACTS.format(user=machine.cloud.vm.admin_username))
        if not record.of(name, keys=keys):
            left = _left(machine.run(_PROCESSES))
            record.added[name] = dataclasses.replace(record.added[name], left=left)
    except (LabError, subprocess.TimeoutExpired) as error:
        record.boots.append(Boot(name, keys, {}, 0.0))
        return str(error)
    # The console is read at once, so the least delay of a few is next to none.
    zero = min(at - float(m[1]) for at, line in machine.lines if (m := _CLOCK.search(line)))
    found = {event: at - machine.started - zero for event, at in _seen(machine).items()}
    found |= {"login": login - zero}
    found |= {event: at for event, at in inside(said).items() if at > 0}
    events = {event: round(found[event], 3) for event in EVENTS if event in found}
    record.boots.append(Boot(name, keys, events, _memory(said)))
    return ", ".join(f"{event} {at:.1f}" for event, at in events.items())


def _login(machine: Machine) -> float:
    """Return when the first login by ssh succeeded, in seconds since the start."""
    end = machine.started + PATIENCE
    machine.cloud.run(["bash", "-c", _KNOCK, machine.address], limit=PATIENCE)
    while time.monotonic() < end:
        result = machine.ssh("true", 60, ConnectTimeout="2")
        if not result.returncode:
            return time.monotonic() - machine.started
        time.sleep(0.1)
    raise LabError(f"no login within {PATIENCE:g} s; ssh says: {result.stderr.strip()}")


def _seen(machine: Machine) -> dict[str, float]:
    """Return what the platform saw of a boot, as times of the monotonic clock."""
    events = [event for event in machine.cloud.events if event.at >= machine.started]
    found: dict[str, float] = {}
    for event in events:
        if event.asked and event.asked.kind == "request" and event.asked.answered:
            found.setdefault("address", event.at)
        if event.http and event.http.status == 200 and event.http.request.method == "GET":
            found.setdefault("metadata", event.at)
        if event.report == "Ready":
            found.setdefault("Ready", event.at)
    return found


def inside(said: str) -> dict[str, float]:
    """Return what the guest says of its boot, in seconds since the kernel's clock started.

    What happened before is negative: it was in the image.
    """
    found: dict[str, float] = {}
    clock = re.search(r"^clock ([0-9.]+) ([0-9.]+)$", said, re.MULTILINE)
    zero = float(clock[1]) - float(clock[2]) if clock else 0.0
    init = re.search(r"^UserspaceTimestampMonotonic=(\d+)$", said, re.MULTILINE)
    if init:
        found["init"] = int(init[1]) / 1e6
    carrier = re.search(r"^\[ *([0-9.]+)\].*eth0: Gained carrier$", said, re.MULTILINE)
    if carrier:
        found["link"] = float(carrier[1])
    if user := re.findall(r"^user ([0-9.]+)$", said, re.MULTILINE):
        found["user"] = float(user[0]) - zero
    if keys := re.findall(r"^key ([0-9.]+)$", said, re.MULTILINE):
        found["host keys"] = max(map(float, keys)) - zero
    return found


def _memory(said: str) -> float:
    values = dict(re.findall(r"^(\w+): +(\d+) kB$", said, re.MULTILINE))
    return (int(values["MemTotal"]) - int(values["MemAvailable"])) / 1000


def _left(said: str) -> tuple[str, ...]:
    lines = [line.strip() for line in said.splitlines()]
    return tuple(line for line in lines if line and not _KNOWN.search(line.split()[0]))
