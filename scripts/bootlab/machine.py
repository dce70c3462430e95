"""One VM: QEMU with what Azure's machines show: DMI, a NIC on the cloud, the provisioning CD.

Without KVM by default: nested virtualisation often has a /dev/kvm that boots nothing, so it is
used only if a kernel was seen to start with it (kvm.py).
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from scripts.bootlab import LabError
from scripts.bootlab.cloud import Cloud, wait
from scripts.simulator.scenario import VM

T = TypeVar("T")
_MOMENT = re.compile("Connection (refused|reset|closed)")
PATIENCE = 600.0  # seconds; an emulated machine on a busy one is slow
ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"
MAC = ":".join(re.findall("..", VM().mac.lower()))
# QEMU 7.2 without KVM gets cmpxchg16b wrong, and kernels then end in a double fault; five levels of
# page tables only cost time.
_BOARDS = {"x86_64": "q35", "aarch64": "virt,gic-version=3"}
_PROCESSORS = {"x86_64": "max,-cx16,la57=off", "aarch64": "cortex-a57"}
_KVM_BOARDS = {"x86_64": "q35", "aarch64": "virt,gic-version=host"}
_FIRMWARE = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"
_CONSOLES = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
_SAID = re.compile(r"lab-began(.*?)lab-ended-(\d+)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What a machine is made of.

    `cache` is QEMU's for the disk: with "unsafe" a killed machine's disk is worth nothing,
    "writeback" keeps what the guest has flushed, as a power cut does. `throttle` limits the disk,
    in bytes per second. `drive` has a CD drive, with the CD or empty. `nics` are further taps with
    their MACs.
    """

    machine: str
    kernel: pathlib.Path
    initrd: pathlib.Path | None
    disk: pathlib.Path | None
    disk_format: str = "qcow2"
    accelerator: str = "tcg"
    arguments: str = "quiet"
    memory: int = 512  # MB
    processors: int = 2
    cache: str = "unsafe"
    throttle: int = 0
    drive: bool = True
    cd: pathlib.Path | None = None
    nics: tuple[tuple[str, str], ...] = ()
    nics_before: tuple[tuple[str, str], ...] = ()
    slot: bool = False
    clock: str = ""  # of the hardware, as "2031-01-01T00:00:00"; "": this machine's


class Machine:
    """A context manager: a VM that is switched on, and off at the end.

    `vm_id` is what DMI says. `folder` gets console.log, each line with the seconds since the
    start; `show` gets each line, too. `started` is of the monotonic clock. A machine that needs no
    clean end is killed with `kill`; its disk can be booted again by another Machine.
    """

    def __init__(
        self,
        cloud: Cloud,
        hardware: Hardware,
        vm_id: str,
        folder: pathlib.Path,
        *,
        show: Callable[[str], object] | None = None,
    ) -> None:
        self.cloud = cloud
        self.hardware = hardware
        self.lines: list[tuple[float, str]] = []  # seconds since the start
        self._vm_id = vm_id
        self._folder = folder
        self._key: pathlib.Path | None = None
        self._user = "root"
        self._pending = ""
        self._show = show

    @property
    def text(self) -> str:
        """What the console showed so far."""
        return "\n".join([*(line for _, line in list(self.lines)), self._pending])

    @property
    def address(self) -> str:
        """The IPv4 address of the first NIC."""
        return self.cloud.address(MAC)

    def __enter__(self) -> "Machine":
        self._folder.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        self._process = self.cloud.start(self._command(), self._folder / "qemu.log")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def is_on(self) -> bool:
        """Tell whether the machine is on."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Cut the power."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def wait_off(self, limit: float = PATIENCE) -> None:
        """Wait until the machine has switched itself off. Raises LabError."""
        wait(lambda: not self.is_on(), limit, what="the machine switches itself off")
        self._reader.join(5)

    def wait_text(self, text: str, limit: float = PATIENCE) -> None:
        """Wait until the console has shown a text. Raises LabError."""
        self._wait(lambda: text in self.text, limit, f"the console shows {text!r}")

    def wait_report(self, report: str = "Ready", limit: float = PATIENCE) -> float:
        """Wait until the platform has accepted a report of this boot; return when.

        In seconds since the start. Raises LabError.
        """
        self._wait(
            lambda: report in self.cloud.reports(self.started), limit, f"{report} is accepted"
        )
        events = [event for event in self.cloud.events if event.at >= self.started]
        return next(event.at for event in events if event.report == report) - self.started

    def expect(self, user: str, key: pathlib.Path) -> None:
        """Name the user and the private key of `ssh`; without it, `run` takes the console."""
        self._user, self._key = user, key

    def run(self, command: str, limit: float = PATIENCE) -> str:
        """Run a command as root, by ssh and sudo or else on the console; return what it says.

        Raises LabError if it fails.
        """
        if self._key:
            result = self._ssh_patiently(f"sudo -n sh -c {shlex.quote(command)}", limit)
        else:
            result = self.shell(command, limit)
        if result.returncode:
            said = f"{result.stdout}{result.stderr}".strip()
            raise LabError(f"{command!r} exited with status {result.returncode}: {said}")
        return result.stdout.strip()

    def switch_off(self, command: str = "poweroff", limit: float = PATIENCE) -> None:
        """Have the machine switch itself off by a command of root's. Raises LabError."""
        said = ""
        if self._key:
            with contextlib.suppress(subprocess.TimeoutExpired):
                result = self.ssh(f"sudo -n sh -c {shlex.quote(command)}", limit)
                said = f"{result.stdout}{result.stderr}".strip()
        else:
            self._wait_prompt()
            self.type(f"{command}\n")
        try:
            self.wait_off(limit)
        except LabError as error:
            raise LabError(f"{error}; {command!r} said: {said}") from None

    def plug(self, tap: str, mac: str = MAC) -> None:
        """Put another NIC into the slot while the machine is on. Raises LabError."""
        add = {"type": "tap", "id": "late", "ifname": tap, "script": "no", "downscript": "no"}
        device = {"driver": "virtio-net-pci", "netdev": "late", "mac": mac, "bus": "free"}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._folder / "qmp"))
            with connection.makefile("rw") as stream:
                stream.readline()  # the greeting
                for command, words in {
                    "qmp_capabilities": {},
                    "netdev_add": add,
                    "device_add": {**device, "romfile": ""},
                }.items():
                    stream.write(json.dumps({"execute": command, "arguments": words}) + "\n")
                    stream.flush()
                    while "event" in (said := json.loads(stream.readline())):
                        pass
                    if "return" not in said:
                        raise LabError(f"QEMU refuses {command}: {said}")

    def methods(self) -> str:
        """Return how ssh may log in, as the sshd that runs says: "publickey,password".

        Raises LabError.
        """
        said = self._ssh_patiently("true", 60, PreferredAuthentications="none").stderr
        found = re.search(r"Permission denied \(([a-z,-]+)\)", said)
        if not found:
            raise LabError(f"ssh names no methods: {said.strip()}")
        return found[1]

    def ssh(
        self, command: str, limit: float = PATIENCE, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command by a real ssh login from the platform's side; exit status 255: no login.

        `more` are options of ssh. Raises subprocess.TimeoutExpired.
        """
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(self._key or "none"),
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": "30",
            "ServerAliveInterval": "10",  # a machine that is off says nothing
        }
        words = [f"-o{name}={value}" for name, value in {**options, **more}.items()]
        return self.cloud.run(
            ["ssh", "-F", "none", *words, f"{self._user}@{self.address}", command], limit=limit
        )

    def _ssh_patiently(
        self, command: str, limit: float, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Do what ssh() does, once more if it came while sshd read a late host key.

        Then nobody listens for a moment.
        """
        result = self.ssh(command, limit, **more)
        if result.returncode == 255 and _MOMENT.search(result.stderr):
            time.sleep(2)
            result = self.ssh(command, limit, **more)
        return result

    def wait_login(self, limit: float = PATIENCE) -> float:
        """Wait until ssh lets the user in; return when, in seconds since the start.

        Raises LabError.
        """
        said = ""

        def tried() -> float:
            nonlocal said
            with contextlib.suppress(subprocess.TimeoutExpired):
                result = self.ssh("true", limit=60)
                said = result.stderr.strip()
                return 0.0 if result.returncode else time.monotonic() - self.started
            return 0.0

        try:
            return self._wait(tried, limit, f"ssh lets {self._user} in")
        except LabError as error:
            raise LabError(f"{error}; ssh says: {said}") from None

    def type(self, text: str) -> None:
        """Type on the console."""
        if self._process.stdin:
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    def shell(self, command: str, limit: float = PATIENCE) -> "subprocess.CompletedProcess[str]":
        """Run a command in the shell that the console has. Raises LabError."""
        self._wait_prompt()
        before = len(self.text)
        # The console shows what is typed, too, folded where its line ends: hence the quotes.
        self.type(f"echo lab-''began; {command}; echo lab-''ended-$?\n")
        found = self._wait(lambda: _SAID.search(self.text, before), limit, f"{command} ends")
        said = "\n".join(found[1].splitlines()).strip()
        return subprocess.CompletedProcess(command, int(found[2]), said, "")

    def _wait_prompt(self) -> None:
        """Wait for the prompt of the console's shell.

        ash asks the terminal where the cursor is; what is typed before that is lost to it.
        """
        self._wait(lambda: "# " in self._pending, PATIENCE, "the console has a shell")

    def _wait(self, condition: Callable[[], T | None], limit: float, what: str) -> T:
        try:
            return wait(condition, limit, what=what, alive=self.is_on)
        except LabError as error:
            end = "\n".join(self.text.splitlines()[-15:])
            raise LabError(f"{error}; the console ends with:\n{end}") from None

    def _command(self) -> list[str]:
        hardware = self.hardware
        drive, firmware = [], []
        words = [f"qemu-system-{hardware.machine}"]
        if hardware.accelerator == "kvm":
            words += ["-machine", _KVM_BOARDS[hardware.machine], "-accel", "kvm", "-cpu", "host"]
        else:
            words += ["-machine", _BOARDS[hardware.machine], "-accel", "tcg,thread=multi"]
            words += ["-cpu", _PROCESSORS[hardware.machine]]
        words += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        words += ["-serial", "stdio", "-m", str(hardware.memory), "-smp", str(hardware.processors)]
        words += ["-kernel", str(hardware.kernel)]
        if hardware.machine == "aarch64":
            firmware = ["-bios", _FIRMWARE]  # without UEFI, there is no DMI
        if hardware.initrd:
            words += ["-initrd", str(hardware.initrd)]
        fixed = f"console={_CONSOLES[hardware.machine]} panic=-1 net.ifnames=0 root=/dev/vda"
        trust = "random.trust_cpu=on random.trust_bootloader=on"
        words += ["-append", f"{fixed} {trust} {hardware.arguments}"]
        words += ["-smbios", f"type=3,manufacturer=Microsoft Corporation,asset={ASSET_TAG}"]
        identity = "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine"
        words += ["-smbios", f"{identity},uuid={self._vm_id}"]
        nics = [*hardware.nics_before, (self.cloud.tap(), MAC), *hardware.nics]
        for number, (tap, mac) in enumerate(nics):
            words += ["-netdev", f"tap,id=n{number},ifname={tap},script=no,downscript=no"]
            words += ["-device", f"virtio-net-pci,netdev=n{number},mac={mac},romfile="]
        if hardware.disk:
            limit = f",throttling.bps-total={hardware.throttle}" if hardware.throttle else ""
            disk = f"file={hardware.disk},format={hardware.disk_format},cache={hardware.cache}"
            words += ["-drive", f"if=none,id=root,{disk}{limit}"]
            words += ["-device", "virtio-blk-pci,drive=root"]
        if hardware.drive:
            drive = ["-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=cd"]
            inside = f",file={hardware.cd},format=raw,readonly=on" if hardware.cd else ""
            drive = ["-drive", f"if=none,id=cd,media=cdrom{inside}", *drive]
        if hardware.slot:
            words += ["-device", "pcie-root-port,id=free"]
            words += ["-qmp", f"unix:{self._folder / 'qmp'},server=on,wait=off"]
        clock = ["-rtc", f"base={hardware.clock}"] if hardware.clock else []
        return [*words, *firmware, *drive, *clock]

    def _read(self) -> None:
        """Keep the console, with the time of each line."""
        stream = self._process.stdout
        if stream is None:
            return
        with open(self._folder / "console.log", "a", buffering=1) as log:
            while data := os.read(stream.fileno(), 65536):
                text = self._pending + data.decode(errors="replace").replace("\r", "")
                at = time.monotonic() - self.started
                *whole, self._pending = text.split("\n")
                for line in whole:
                    self.lines.append((at, line))
                    log.write(f"{at:9.3f} {line}\n")
                    if self._show:
                        self._show(line)
            log.write(f"          {self._pending}\n")
