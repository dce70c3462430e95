"""What the boots of a guest prove: four boots of one disk, as three machines.

1. A first boot. 2. The same again: nothing is to be done. 3. A copy of the disk in another VM, made
after `azready install`, as the README asks for. 4. An image made of that by `azready generalize`,
in a third VM.
"""

import contextlib
import dataclasses
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator

from build.cache import BuildError
from scripts.bootlab import LabError, disks, images
from scripts.bootlab.cloud import Cloud
from scripts.bootlab.guests import Guest
from scripts.bootlab.machine import Hardware, Machine
from scripts.simulator.scenario import VM
from scripts.tasks import guests as roots

CHECKS = {
    "Ready": "the platform accepted the report, and had nothing to object",
    "host name": "it is the platform's",
    "DNS": "the DHCP server, from which DNS takes the name, was told it",
    "login": "ssh lets the user in, by the key alone, and sudo makes it root",
    "disabled": "nothing starts azready at the next boot",
    "failed": "systemctl --failed lists nothing",
    "console": "the console, or the log of the init system, shows the run",
    "second boot": "nothing is sent",
    "clone": "after azready install, another VM is provisioned",
    "generalize": "after azready generalize, another VM is provisioned",
}
AZREADY = "/usr/local/bin/azready"
_HOST_KEY = "cat /etc/ssh/ssh_host_ed25519_key.pub"
_IDS = (
    "11111111-1f0a-4d55-9c4b-0a1b2c3d4e5f",
    "22222222-1f0a-4d55-9c4b-0a1b2c3d4e5f",
    "33333333-1f0a-4d55-9c4b-0a1b2c3d4e5f",
)
_CAPTURE = 8  # seconds between generalize and the end: what is enabled must wait for the next boot
_QUIET = 3  # seconds without a request, after the login of a boot that is to send none


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a check: `state` is "passed", "failed" or "skipped".

    `seconds` since the machine was switched on, if that says something.
    """

    state: str
    text: str = ""
    seconds: float = 0.0


class Proof:
    """The first `boots` boots of one guest; `results` grows while it runs, in the order of CHECKS.

    `show` gets each line of the console.
    """

    def __init__(
        self,
        guest: Guest,
        folder: pathlib.Path,
        *,
        boots: int = 4,
        show: Callable[[str], object] | None = None,
    ) -> None:
        self.guest = guest
        self.name = guest.name
        self.folder = folder
        self.results: dict[str, Result] = {}
        self.cloud = Cloud(folder)
        self._show = show
        self._wanted = boots
        self._host_keys: list[str] = []
        self._boots = 0

    def run(self) -> None:
        """Boot and check. What fails is a result, of the first check that was not reached."""
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = [self.folder / f"key{number}" for number in range(3)]
        vms = [
            VM(
                computer_name=f"lab-{number}",
                name=f"lab-{number}",
                vm_id=vm_id,
                public_keys=(roots.make_key(key, "boot lab"),),
            )
            for number, (vm_id, key) in enumerate(zip(_IDS, keys, strict=True), 1)
        ]
        try:
            hardware = images.hardware(self.guest, self.folder)
            with self.cloud:
                steps = (self._first, self._second, self._clone, self._generalized)
                machines = (0, 0, 1, 2)
                for step, number in list(zip(steps, machines, strict=True))[: self._wanted]:
                    step(hardware, vms[number], keys[number])
        except (LabError, BuildError, OSError, subprocess.TimeoutExpired) as error:
            name = next((name for name in CHECKS if name not in self.results), list(CHECKS)[-1])
            self.results[name] = Result("failed", str(error))
        finally:
            for disk in self.folder.glob("*.qcow2"):
                disk.unlink()
        for name in CHECKS:
            self.results.setdefault(name, Result("skipped", "not reached"))

    def _first(self, hardware: Hardware, vm: VM, key: pathlib.Path) -> None:
        with self._boot(hardware, vm, key) as machine:
            self._ready("Ready", machine)
            self._host_name_and_login(machine, vm)
            # A host key that takes long comes between the report and this.
            still = f"test -e {self.guest.link} || test -L {self.guest.link}"
            wait = f"timeout 300 sh -c 'while {still}; do sleep .2; done'"
            self._check("disabled", lambda: not machine.run(wait))
            self._failed(machine)
            log = self.guest.log
            shown = machine.run(f"cat {log}") if log else machine.text
            text = f"{log or 'the console'} does not show that Ready was reported"
            self._check("console", lambda: "provisioned: Ready was reported" in shown, text)
            machine.switch_off(self.guest.off)

    def _second(self, hardware: Hardware, vm: VM, key: pathlib.Path) -> None:
        with self._boot(hardware, vm, key) as machine:
            if self.guest.sshd:
                machine.wait_login()
            else:
                machine.run("true")
            time.sleep(_QUIET)
            sent = [exchange.request.target for exchange in self.cloud.requests(machine.started)]
            self._check("second boot", lambda: not sent, f"it asked for {sent}")
            machine.run(f"{AZREADY} install --init {self.guest.init}")
            machine.switch_off(self.guest.off)

    def _clone(self, hardware: Hardware, vm: VM, key: pathlib.Path) -> None:
        with self._boot(hardware, vm, key) as machine:
            self._anew("clone", machine, vm)
            # In one command: the user is gone with the first half of it.
            generalize = f"{AZREADY} generalize --yes --user {vm.admin_username}"
            machine.switch_off(f"{generalize} && sleep {_CAPTURE}; {self.guest.off}")
            again = self.cloud.reports(machine.started)[1:]
            if again:
                text = f"before it was off, it reported {again}"
                self.results["generalize"] = Result("failed", text)

    def _generalized(self, hardware: Hardware, vm: VM, key: pathlib.Path) -> None:
        with self._boot(hardware, vm, key) as machine:
            before = list(self._host_keys)
            self._anew("generalize", machine, vm)
            if self.guest.sshd:
                # What made the machine before unique is gone: its host keys, its user's key.
                known = machine.run(_HOST_KEY)
                machine.expect(vm.admin_username, self.folder / "key1")
                refused = machine.ssh("true").returncode == 255
                text = f"the key of the machine before lets in: {not refused}; host keys: {known}"
                new = known not in before
                seconds = self.results["generalize"].seconds
                self._check("generalize", lambda: refused and new, text, seconds)

    @contextlib.contextmanager
    def _boot(self, hardware: Hardware, vm: VM, key: pathlib.Path) -> Iterator[Machine]:
        self._boots += 1
        folder = self.folder / str(self._boots)
        folder.mkdir(exist_ok=True)
        self.cloud.serve(vm)
        hardware = dataclasses.replace(hardware, cd=disks.cd(vm, folder / "cd.iso"))
        with Machine(self.cloud, hardware, vm.vm_id, folder, show=self._show) as machine:
            if self.guest.sshd:
                machine.expect(vm.admin_username, key)
            yield machine

    def _ready(self, name: str, machine: Machine) -> None:
        seconds = machine.wait_report("Ready")
        problems = self.cloud.problems()
        if problems:
            raise LabError(f"Azure would object: {problems}")
        self.results[name] = Result("passed", seconds=seconds)

    def _host_name_and_login(self, machine: Machine, vm: VM) -> None:
        login = machine.wait_login() if self.guest.sshd else 0.0
        name = machine.run("hostname").split()
        self._check("host name", lambda: name == [vm.computer_name], f"it is {name}")
        told = self.cloud.told(machine.started)
        if self.guest.holder:
            self._check("DNS", lambda: told[-1:] == [vm.computer_name], f"it was told {told}")
        else:
            self.results["DNS"] = Result("skipped", "the DHCP client ends once it has a lease")
        if self.guest.sshd:
            self._host_keys.append(machine.run(_HOST_KEY))
            machine.run("test $(id -u) = 0")
            methods = machine.methods()
            text = f"sshd takes {methods}, though the platform forbids passwords"
            self._check("login", lambda: methods == "publickey", text, login)
        else:
            self.results["login"] = Result("skipped", "the guest has no sshd")

    def _failed(self, machine: Machine) -> None:
        if self.guest.init != "systemd":
            self.results["failed"] = Result("skipped", "the guest has no systemd")
            return
        # The boot is to be over: nothing can fail any more.
        state = machine.run("systemctl is-system-running --wait; true")
        said = machine.run("systemctl --failed --plain --no-legend; true")
        # In an image of the caller's, azready answers for its own unit.
        ours = "azready" in said if self.guest.tree else state != "running" or bool(said)
        self._check("failed", lambda: not ours, f"{state}: {said}")

    def _anew(self, name: str, machine: Machine, vm: VM) -> None:
        seconds = machine.wait_report("Ready")
        if self.guest.sshd:
            machine.wait_login()
            self._host_keys.append(machine.run(_HOST_KEY))
        found = machine.run("hostname").split()
        self._check(name, lambda: found == [vm.computer_name], f"the host name is {found}", seconds)

    def _check(
        self, name: str, condition: Callable[[], bool], text: str = "", seconds: float = 0.0
    ) -> None:
        """Note a result; what a condition raises is one, too. A failure stays."""
        if name in self.results and self.results[name].state == "failed":
            return
        try:
            passed = condition()
        except LabError as error:
            passed, text = False, str(error)
        self.results[name] = Result(
            "passed" if passed else "failed", "" if passed else text, seconds
        )
