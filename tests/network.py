"""Two network namespaces with a cable between them: the platform's and a guest's.

The guest's end, eth0, is down and has no address; the platform's, p0, has 10.9.0.1, and its
loopback has Azure's addresses. Nothing leads out. The kernel removes both with their last process.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from scripts.simulator import platform

TOP = pathlib.Path(__file__).parents[1]
WHY_NOT = "" if os.geteuid() == 0 and shutil.which("ip") else "network namespaces take root and ip"
_HOLD = ["unshare", "--net", "--mount", "--uts", "--", "sleep", "300"]
_SIMULATOR = """
import sys
from scripts.simulator import platform, scenario
from scripts.simulator.server import Simulator
addresses = {"wireserver": (sys.argv[1], 80), "imds": (platform.IMDS, 80)}
with Simulator(scenario.load("healthy"), **addresses) as simulator:
    print("up", flush=True)
    sys.stdin.read()
print(simulator.reports, simulator.problems)
"""


class Network:
    """Both namespaces, by the processes that hold them."""

    def __init__(self) -> None:
        self._running: "list[subprocess.Popen[str]]" = []
        holders = [subprocess.Popen(_HOLD, text=True) for _ in range(2)]
        self._running += holders
        own = os.readlink("/proc/self/ns/net")
        for holder in holders:
            while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
                time.sleep(0.01)
        self.platform, self.guest = (
            ["nsenter", f"--target={holder.pid}", "--net", "--mount", "--uts", "--"]
            for holder in holders
        )
        self.ip(f"link add p0 type veth peer name eth0 netns {holders[1].pid}", self.platform)
        for words in (
            "link set lo up",
            f"addr add {platform.WIRESERVER}/32 dev lo",
            f"addr add {platform.IMDS}/32 dev lo",
            "addr add 10.9.0.1/24 dev p0",
            "link set p0 up",
        ):
            self.ip(words, self.platform)

    def ip(self, words: str, where: "list[str] | None" = None) -> str:
        """Run ip in a namespace, the guest's by default; return what it says."""
        command = [*(where or self.guest), "ip", *words.split()]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(self, command: "list[str]", where: "list[str]") -> "subprocess.Popen[str]":
        """Start a program in a namespace; it ends with the test."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*where, *command], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True,
            cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)},
        )  # fmt: skip
        self._running.append(process)
        return process

    def simulator(self, wireserver: str = platform.WIRESERVER) -> "subprocess.Popen[str]":
        """Start the simulated platform; it says what was reported when its input ends."""
        process = self.start([sys.executable, "-c", _SIMULATOR, wireserver], self.platform)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def dnsmasq(self, *options: str) -> "subprocess.Popen[str]":
        """Start a DHCP server that leases 10.9.0.50 to 10.9.0.60."""
        command = [
            "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--port=0",
            "--conf-file=/dev/null", "--interface=p0", "--bind-interfaces", "--leasefile-ro",
            "--no-ping", "--pid-file=", "--user=root", *options,
        ]  # fmt: skip
        if not any(option.startswith("--dhcp-range") for option in options):
            command.append("--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,infinite")
        process = self.start(command, self.platform)
        assert process.stdout is not None
        for line in process.stdout:
            if "sockets bound exclusively" in line or "DHCP, IP range" in line:
                break
        return process

    def end(self) -> None:
        """End everything that was started."""
        for process in reversed(self._running):
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make the namespaces, and end what was started in them."""
    made = Network()
    try:
        yield made
    finally:
        made.end()
