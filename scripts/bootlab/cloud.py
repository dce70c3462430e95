"""The network that VMs are attached to: Azure's addresses, the platform and DHCP, and no way out.

Strategy: a network namespace that this process holds by a descriptor, and enters only in threads
made for the purpose. So the simulator and the DHCP server run in this process, where a test can
watch and change them; QEMU, ssh and ip are started inside by nsenter. The kernel removes everything
with the descriptor and the last process in it, and children die with this process (setpriv
--pdeathsig): Ctrl-C, SIGTERM and SIGKILL leave nothing behind.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from build.unshare import CLONE_NEWNET, unshare
from scripts.bootlab import LabError, dhcp
from scripts.simulator import platform, scenario
from scripts.simulator.scenario import VM, Scenario
from scripts.simulator.server import Exchange, Simulator

T = TypeVar("T")
BRIDGE = "br0"
_OWN, _MINE = pathlib.Path("/proc/self/ns/net"), pathlib.Path("/proc/thread-self/ns/net")
_ADDRESSES = {
    platform.WIRESERVER: f"{platform.WIRESERVER}/32",
    platform.IMDS: f"{platform.IMDS}/32",
    dhcp.GATEWAY: f"{dhcp.GATEWAY}/24",
}


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that the platform saw, at a time of the monotonic clock: one of the two."""

    at: float
    http: Exchange | None = None
    asked: dhcp.Asked | None = None

    @property
    def report(self) -> str:
        """The health state that the platform accepted: "Ready", ...; "" without."""
        return self.http.report if self.http else ""


class Cloud:
    """A context manager: the network, and in it the platform for the VM `vm`.

    `events` grows while it runs; `folder` gets them as JSON lines, events.jsonl, and the accepted
    report as ready.xml. `dhcp` may be changed at any time, `serve` changes what is answered, `cut`
    and `mend` take one of the platform's addresses away and give it back.
    Raises LabError if the namespace cannot be made, or leads anywhere.
    """

    def __init__(self, folder: pathlib.Path, vm: VM | None = None) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.dhcp = dhcp.Settings()
        self._scenario = dataclasses.replace(scenario.parse("lab", ""), vm=vm or VM())
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._simulator: Simulator | None = None
        self._server: dhcp.Server | None = None
        self._taps = 0
        self._running: list[subprocess.Popen[bytes]] = []
        self._over = False

    @property
    def vm(self) -> VM:
        """What the platform says about the machine."""
        return self._scenario.vm

    def __enter__(self) -> "Cloud":
        if os.geteuid() != 0:
            raise LabError("the boot lab takes root")
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.callback(self.kill)
            self._namespace = _in_thread(_separate)
            stack.callback(os.close, self._namespace)
            self.inside = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespace}", "--"]
            self.ip("link set lo up")
            self.ip(f"link add {BRIDGE} type bridge forward_delay 0")
            for address in _ADDRESSES:
                self.mend(address)
            self.ip(f"link set {BRIDGE} up")
            self._within(_refuse_way_out)
            self._server = self._within(lambda: dhcp.Server(BRIDGE, self.dhcp, self._heard))
            stack.callback(self._server.close)
            self.serve(self._scenario)
            stack.callback(self._stop_serving)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def serve(self, chosen: "Scenario | VM") -> None:
        """Answer for another VM, or as a scenario says, from now on."""
        if isinstance(chosen, VM):
            chosen = dataclasses.replace(self._scenario, vm=chosen)
        self._stop_serving()
        self._scenario = chosen
        present = [address for address in _ADDRESSES if address in self._present()]
        for address in set(_ADDRESSES) - set(present):
            self.mend(address)  # for a moment: a listener needs its address
        self._simulator = self._within(
            lambda: Simulator(chosen, on_exchange=self._exchanged, **platform.ADDRESSES)
        )
        for address in set(_ADDRESSES) - set(present):
            self.cut(address)
        self._simulator.__enter__()

    def cut(self, address: str) -> None:
        """Take an address of the platform away: what is sent there is lost."""
        self.ip(f"addr del {_ADDRESSES[address]} dev {BRIDGE}")

    def mend(self, address: str) -> None:
        """Give an address of the platform back."""
        self.ip(f"addr add {_ADDRESSES[address]} dev {BRIDGE}")

    def tap(self, *, attached: bool = True) -> str:
        """Make a tap for a NIC of a VM; return its name.

        One that is not attached leads nowhere, as a NIC without a route.
        """
        with self._lock:
            self._taps += 1
            name = f"tap{self._taps}"
        self.ip(f"tuntap add dev {name} mode tap")
        if attached:
            self.ip(f"link set {name} master {BRIDGE}")
        self.ip(f"link set {name} up")
        return name

    def address(self, mac: str) -> str:
        """Return the IPv4 address that the NIC with this MAC has or will get."""
        if self._server is None:
            raise LabError("the cloud is not entered")
        return self._server.address(mac)

    def ip(self, words: str) -> str:
        """Run ip in the namespace; return what it says. Raises LabError."""
        result = self.run(["ip", *words.split()])
        if result.returncode:
            raise LabError(f"ip {words}: {result.stderr.strip()}")
        return result.stdout

    def run(
        self, command: Sequence[str], *, limit: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the namespace, to its end or for `limit` seconds.

        Raises subprocess.TimeoutExpired.
        """
        return subprocess.run(
            [*self.inside, *command],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=limit,
        )

    def start(
        self, command: Sequence[str], log: pathlib.Path | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a command in the namespace, which dies with the calling thread at the latest.

        Its output is a pipe, its errors go to `log`, else there, too. Raises LabError after kill().
        """
        words = ["setpriv", "--pdeathsig", "KILL", "--", *self.inside, *command]
        pipe = subprocess.PIPE
        with (
            self._lock,
            open(log, "ab") if log else contextlib.nullcontext(subprocess.STDOUT) as errors,
        ):
            if self._over:
                raise LabError("the lab was ended")
            process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=errors)
            self._running.append(process)
        return process

    def kill(self) -> None:
        """End everything that was started in the network, from any thread; who waits is told.

        Nothing is started from then on.
        """
        with self._lock:
            self._over = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    def reports(self, since: float = 0.0) -> list[str]:
        """Return the accepted reports since a time of the monotonic clock."""
        return [event.report for event in list(self.events) if event.report and event.at >= since]

    def requests(self, since: float = 0.0) -> list[Exchange]:
        """Return the HTTP requests since a time of the monotonic clock."""
        return [event.http for event in list(self.events) if event.http and event.at >= since]

    def told(self, since: float = 0.0) -> list[str]:
        """Return the host names that DHCP clients gave since a time of the monotonic clock."""
        asked = [event.asked for event in list(self.events) if event.asked and event.at >= since]
        return [message.host_name for message in asked if message.host_name]

    def problems(self) -> list[str]:
        """Return what Azure would have refused."""
        return [problem for exchange in self.requests() for problem in exchange.problems]

    def _present(self) -> str:
        return self.ip(f"-4 addr show dev {BRIDGE}").replace("/", " ")

    def _within(self, function: Callable[[], T]) -> T:
        """Call a function in a thread inside of the namespace; sockets that it makes stay there."""

        def work() -> T:
            if ctypes.CDLL(None, use_errno=True).setns(self._namespace, CLONE_NEWNET):
                raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")
            return function()

        return _in_thread(work)

    def _stop_serving(self) -> None:
        if self._simulator:
            self._simulator.__exit__()
            self._simulator = None

    def _exchanged(self, exchange: Exchange) -> None:
        body = exchange.request.body
        if exchange.report == "Ready":
            (self.folder / "ready.xml").write_bytes(body)
        values = {
            "service": exchange.service,
            "method": exchange.request.method,
            "target": exchange.request.target,
            "status": exchange.status,
            "answer": exchange.sent,
            "report": exchange.report,
            "problems": exchange.problems,
        }
        self._record(Event(exchange.received, http=exchange), values)

    def _heard(self, asked: dhcp.Asked) -> None:
        self._record(Event(asked.at, asked=asked), {"dhcp": dataclasses.asdict(asked)})

    def _record(self, event: Event, values: dict[str, object]) -> None:
        with self._lock, open(self.folder / "events.jsonl", "a") as file:
            self.events.append(event)
            file.write(json.dumps({"at": round(event.at, 4), **values}) + "\n")


def wait(
    condition: Callable[[], T | None],
    limit: float,
    *,
    what: str,
    alive: Callable[[], bool] | None = None,
) -> T:
    """Return the first true value of a condition. Raises LabError after `limit` seconds.

    Also if `alive` says that nothing is to be waited for.
    """
    end = time.monotonic() + limit
    while True:
        going_on = alive is None or alive()
        value = condition()
        if value:
            return value
        if not going_on:
            raise LabError(f"the machine is off before: {what}")
        if time.monotonic() > end:
            raise LabError(f"not within {limit:g} s: {what}")
        time.sleep(0.02)


def _in_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread of its own; return or raise what it does."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _separate() -> int:
    """Give the calling thread a new network namespace; return a descriptor of it."""
    own = _OWN.readlink()
    unshare(CLONE_NEWNET)
    if _MINE.readlink() == own:
        raise LabError("the kernel left this thread in the machine's own network namespace")
    return os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)


def _refuse_way_out() -> None:
    """Refuse a namespace with a default route: hosted machines may be Azure VMs."""
    lines = pathlib.Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    if any(line.split()[1] == "00000000" for line in lines):
        raise LabError("the new network namespace has a default route")
