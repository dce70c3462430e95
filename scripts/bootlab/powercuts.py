"""Power cuts: QEMU is killed, and the disk is judged twice.

First as it lies there, from outside: a copy, whose journal is replayed as the next boot would do
it. Then by the next boot. Between the two no file may be half written, no key unusable, and Ready
is never taken back. The disk keeps what the guest has flushed, and of the rest whatever was under
way: QEMU's `cache=writeback`.
"""

import dataclasses
import pathlib
import shutil
import stat
import subprocess
import tempfile
import time

from scripts.bootlab import LabError, run
from scripts.bootlab.cloud import wait
from scripts.bootlab.machine import PATIENCE, Hardware, Machine
from scripts.bootlab.trial import Trial

CUTS, CUTS_OF_KEYS = 10, 5
_BEGIN, _KEYS = "provisioning CD: ", "generate host keys for sshd (rsa)"
_END = "provisioned: Ready"
_ACCOUNTS = {"passwd": 7, "shadow": 9, "group": 4, "gshadow": 4}  # fields: passwd(5), ...
# On the machine that was booted again, as root; what it says is wrong.
_INSIDE = """\
sshd -t 2>&1
visudo -qc 2>&1
{ pwck -qr; grpck -r; } 2>&1 | grep -v "directory .* does not exist\\|no changes"
for key in /etc/ssh/ssh_host_*_key; do
    [ "$(ssh-keygen -y -P "" -f $key | cut -d" " -f1,2)" = "$(cut -d" " -f1,2 $key.pub)" ] ||
        echo "$key and $key.pub differ"
done
find /etc /home /var/lib/azready -xdev -name ".*.azready" -o -name ".ssh_host_*"
find /etc/ssh /etc/sudoers.d /home/*/.ssh /var/lib/azready -type f -empty
true
"""


def at_random_moments(trial: Trial) -> None:
    """Cut between azready's first words and a second after its last ones."""
    _cut(trial, CUTS, _BEGIN, _END, 1.0)


def while_keys_are_made(trial: Trial) -> None:
    """Cut between what comes before the keys, and their end."""
    _cut(trial, CUTS_OF_KEYS, _BEGIN, _KEYS, 0.0)


def _cut(trial: Trial, times: int, begin: str, end: str, more: float) -> None:
    """Measure the time between two lines of the console once, then cut that many times in it."""
    with trial.boot(_kept(trial)) as machine:
        trial.ready(machine)
        length = _at(machine, end) - _at(machine, begin) + more
    shares = sorted(trial.random.random() for _ in range(times))
    trial.note(f"seed {trial.seed}; {times} cuts in {length:.1f} s")
    done = []
    for share in shares:
        hardware, moment = _kept(trial), share * length
        since, last = time.monotonic(), ""
        try:
            with trial.boot(hardware) as machine:
                cut_at = machine.started + _at(machine, begin) + moment
                while time.monotonic() < cut_at and end not in machine.text:
                    time.sleep(0.005)  # a boot may be faster than the measured one
                trial.sleep_until(min(cut_at, time.monotonic() + more * share))
                last = machine.lines[-1][1]
            was_ready = "Ready" in trial.cloud.reports(since)
            done.append(_judge(trial, hardware, was_ready=was_ready))
        except LabError as error:
            where = f"cut {moment:.2f} s after {begin!r}, {share:.3f} of {length:.1f} s"
            raise LabError(f"seed {trial.seed}: {where}, after {last!r}: {error}") from None
    trial.note(f"after the cut: {', '.join(done)}")


def _kept(trial: Trial) -> Hardware:
    """A machine whose fresh disk keeps what is written."""
    return dataclasses.replace(trial.hardware(), cache="writeback")


def _at(machine: Machine, text: str) -> float:
    """Wait for a line that contains a text; return when it came, in seconds since the start."""

    def found() -> float | None:
        return next((at for at, line in list(machine.lines) if text in line), None)

    return wait(found, PATIENCE, what=f"the console shows {text!r}", alive=machine.is_on)


def _judge(trial: Trial, hardware: Hardware, *, was_ready: bool) -> str:
    """Judge a disk whose machine was killed; return how far it had come."""
    state = _judge_disk(trial, hardware, was_ready=was_ready)
    with trial.boot(hardware) as machine:
        if state != "marker":
            trial.ready(machine)
        trial.rest(machine)
        if state == "marker":
            sent = [exchange.request.target for exchange in trial.cloud.requests(machine.started)]
            trial.require(not sent, f"another run, though there is a marker: it asked for {sent}")
        # Its links go after the marker, and Ready before both: wait for the last of a run.
        machine.run(f"while test -L {trial.guest.link}; do sleep .2; done", PATIENCE)
        wrong = machine.run(_INSIDE)
        trial.require(not wrong, f"after the next boot: {wrong}")
    return state


def _judge_disk(trial: Trial, hardware: Hardware, *, was_ready: bool) -> str:
    """Judge the disk as it lies there; return what was there: "marker", "keys" or "nothing"."""
    with tempfile.TemporaryDirectory(dir=trial.folder) as scratch:
        raw, top = pathlib.Path(scratch, "raw"), pathlib.Path(scratch, "top")
        run(["qemu-img", "convert", "-O", "raw", str(hardware.disk), str(raw)])
        found = subprocess.run(["e2fsck", "-p", str(raw)], capture_output=True, text=True)
        trial.require(found.returncode < 4, f"e2fsck: {found.stdout}{found.stderr}")
        top.mkdir()
        for folder in ("/etc", "/home", "/var/lib/azready"):
            run(["debugfs", "-R", f"rdump {folder} {top}", str(raw)])
        judge_accounts(trial, top / "etc")
        usable = judge_keys(trial, top / "etc/ssh")
        keys = top / "home" / trial.vm.admin_username / ".ssh/authorized_keys"
        if keys.exists():
            trial.require(
                keys.read_text().split() == trial.vm.public_keys[0].split(),
                f"authorized_keys is {keys.read_text()!r}",
            )
        marked = (top / f"azready/{trial.vm.vm_id}.provisioned").exists()
        shutil.rmtree(top)
    trial.require(was_ready or not marked, "there is a marker, but no report was accepted")
    return "marker" if marked else "Ready" if was_ready else "keys" if usable else "nothing"


def judge_accounts(trial: Trial, etc: pathlib.Path) -> None:
    """Account files and the host name must be whole, whatever they say."""
    for name, fields in _ACCOUNTS.items():
        lines = (etc / name).read_text().splitlines()
        wrong = [line for line in lines if line.count(":") != fields - 1]
        whole = any(line.startswith("root:") for line in lines)
        trial.require(whole and not wrong, f"/etc/{name} is half written: {lines}")
    name = (etc / "hostname").read_text()
    trial.require(name in ("image\n", f"{trial.vm.computer_name}\n"), f"/etc/hostname is {name!r}")
    trial.require("127.0.0.1" in (etc / "hosts").read_text(), "/etc/hosts is half written")
    for place in ("sudoers.d/90-azready", "ssh/sshd_config.d/00-azready.conf"):
        file = etc / place
        text = file.read_text() if file.exists() else "\n"
        trial.require(text.endswith("\n"), f"/etc/{place} is half written: {text!r}")


def judge_keys(trial: Trial, folder: pathlib.Path) -> int:
    """Every host key that sshd would find must be whole; return how many there are."""
    keys = list(folder.glob("ssh_host_*_key"))
    for key in keys:
        mode = stat.S_IMODE(key.stat().st_mode)
        trial.require(mode & 0o077 == 0, f"{key.name} has mode {mode:o}")
        public = run(["ssh-keygen", "-y", "-P", "", "-f", str(key)]).split()[:2]
        beside = folder / f"{key.name}.pub"
        said = beside.read_text().split()[:2] if beside.exists() else []
        trial.require(public == said, f"{beside.name} is not the public half: {said}")
    return len(keys)
