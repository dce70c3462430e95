"""A boot with a fault: what all of them have in common, and what is judged of each.

Judged is what can be seen from outside: what the platform accepted and when, logins, the disk.
"""

import contextlib
import dataclasses
import pathlib
import random
import time
from collections.abc import Callable, Iterator

from build.cache import BuildError
from scripts.bootlab import LabError, cloud, disks, images
from scripts.bootlab.checks import Result
from scripts.bootlab.cloud import Cloud, Event
from scripts.bootlab.guests import Guest
from scripts.bootlab.machine import PATIENCE, Hardware, Machine
from scripts.simulator.scenario import VM
from scripts.tasks import guests as roots

CHECK = "fault"  # the check of what only this fault has to show


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong: `work` makes it happen to each of the `guests`, and judges.

    `report` is what the platform is to accept, once.
    """

    name: str
    what: str
    guests: tuple[Guest, ...]
    work: Callable[["Trial"], None]
    report: str = "Ready"


class Trial:
    """One fault of one guest; `results` grows while it runs. `show` gets the console's lines.

    `random` is for the moments of the fault: the same `seed` makes the same ones.
    """

    def __init__(
        self,
        fault: Fault,
        guest: Guest,
        folder: pathlib.Path,
        *,
        seed: int = 0,
        show: Callable[[str], object] | None = None,
    ) -> None:
        self.fault = fault
        self.guest = guest
        self.name = f"{guest.name} {fault.name}"
        self.folder = folder
        self.results: dict[str, Result] = {}
        self.cloud = Cloud(folder)
        self.seed = seed
        self.random = random.Random(f"{fault.name} {guest.name} {seed}")
        self.said: list[str] = []  # what was measured, for people
        self.vm = VM(computer_name="lab-1", name="lab-1")
        self.key = folder / "key"
        self._show = show
        self._boots = 0
        self._at = CHECK

    def run(self) -> None:
        """Boot and judge. What fails is a result, of the check that was at work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = (roots.make_key(self.key, "boot lab"),)
        self.vm = dataclasses.replace(self.vm, public_keys=keys)
        try:
            with self.cloud:
                self.cloud.serve(self.vm)
                self.fault.work(self)
            self._at = CHECK
            self._judge_reports()
        except (LabError, BuildError) as error:
            self.results[self._at] = Result("failed", str(error))
        finally:
            for disk in self.folder.glob("*.qcow2"):
                disk.unlink()
        self.results.setdefault(CHECK, Result("passed", "; ".join(self.said)))

    def hardware(self) -> Hardware:
        """Return a machine with a fresh disk and the provisioning CD."""
        for old in self.folder.glob("*.qcow2"):
            old.unlink()
        hardware = images.hardware(self.guest, self.folder)
        return dataclasses.replace(hardware, cd=disks.cd(self.vm, self.folder / "cd.iso"))

    @contextlib.contextmanager
    def boot(self, hardware: Hardware | None = None) -> Iterator[Machine]:
        """Switch a machine on, by default that of hardware(), and off at the end."""
        hardware = hardware or self.hardware()
        self._boots += 1
        folder = self.folder / str(self._boots)
        with Machine(self.cloud, hardware, self.vm.vm_id, folder, show=self._show) as machine:
            if self.guest.sshd:
                machine.expect(self.vm.admin_username, self.key)
            yield machine

    def ready(self, machine: Machine) -> float:
        """Wait until Ready is accepted; return when, by the monotonic clock. Raises LabError."""
        with self.checking("Ready"):
            seen = self.event(lambda event: event.report, machine, "a report is accepted")
            self.require(seen.report == "Ready", f"the platform was told {_said(seen)}")
        self.results["Ready"] = Result("passed", seconds=seen.at - machine.started)
        return seen.at

    def login(self, machine: Machine) -> float:
        """Wait until the user is let in; return when, by the monotonic clock. Raises LabError."""
        with self.checking("login"):
            seconds = machine.wait_login()
            machine.run("test $(id -u) = 0")
        self.results["login"] = Result("passed", seconds=seconds)
        return machine.started + seconds

    def rest(self, machine: Machine) -> None:
        """Judge what every boot should have at its end: login, host name, no failed unit."""
        if self.guest.sshd:
            self.login(machine)
        with self.checking("host name"):
            name = machine.run("hostname").split()
            self.require(name == [self.vm.computer_name], f"it is {name}")
        self.results["host name"] = Result("passed")
        if self.guest.init == "systemd":
            with self.checking("failed"):
                state = machine.run("systemctl is-system-running --wait; true")
                said = machine.run("systemctl --failed --plain --no-legend; true")
                self.require(state == "running" and not said, f"{state}: {said}")
            self.results["failed"] = Result("passed")

    def leased(self, machine: Machine) -> float:
        """Return when the DHCP server gave the first lease of a boot. Raises LabError."""
        return self.event(
            lambda event: event.asked and event.asked.kind == "request" and event.asked.answered,
            machine,
            "the DHCP server gives a lease",
        ).at

    def free(self, machine: Machine) -> float:
        """Return when there were a lease and host keys: from then on only the platform is needed.

        To make the keys that the report waits for takes an emulated machine long. Raises LabError.
        """
        made = [at for at, line in list(machine.lines) if "generate host keys" in line]
        return max([self.leased(machine), *(machine.started + at for at in made[:1])])

    def event(self, condition: Callable[[Event], object], machine: Machine, what: str) -> Event:
        """Wait for an event of the platform and return it. Raises LabError."""

        def found() -> Event | None:
            events = [event for event in list(self.cloud.events) if event.at >= machine.started]
            return next((event for event in events if condition(event)), None)

        return cloud.wait(found, PATIENCE, what=what, alive=machine.is_on)

    def note(self, text: str) -> None:
        """Keep what was measured."""
        self.said.append(text)

    def within(self, what: str, seconds: float, limit: float) -> None:
        """Note a duration that has a limit. Raises LabError."""
        self.note(f"{what}: {seconds:.1f} s")
        self.require(seconds <= limit, f"{what}: {seconds:.1f} s, more than {limit:g} s")

    def require(self, condition: bool, text: str) -> None:
        """Raise LabError with `text` unless the condition holds."""
        if not condition:
            raise LabError(text)

    def sleep_until(self, at: float) -> None:
        """Wait for a time of the monotonic clock."""
        time.sleep(max(0.0, at - time.monotonic()))

    @contextlib.contextmanager
    def checking(self, name: str) -> Iterator[None]:
        """What fails inside is a result of this check."""
        before, self._at = self._at, name
        yield
        self._at = before

    def _judge_reports(self) -> None:
        """Only the wanted report may have been accepted; after Ready, no other may come."""
        reports = self.cloud.reports()
        self.require(set(reports) == {self.fault.report}, f"the platform accepted {reports}")
        problems = self.cloud.problems()
        self.require(not problems, f"Azure would object: {problems}")


def _said(event: Event) -> str:
    return f"{event.report}: {event.http.description}" if event.http else "nothing"
