"""Measures what a file costs, and compares it with build/budget.toml.

Size, instructions, start-up time and memory of `report ready` against a simulated platform on
loopback; for this machine's files, also the instructions of `provision` with everything on, without
and with a password. Instructions are counted by callgrind for this machine's files, and by
single-stepping in qemu for others, which takes up to a minute. Unlike times, they hardly differ
from run to run.
"""

import dataclasses
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from build import machine as emulation
from build import packages, toolchain
from build.cache import BuildError, console
from scripts.simulator import scenario
from scripts.simulator.server import Exchange, Simulator
from scripts.tasks import guests

BUDGET = toolchain.TOP / "build" / "budget.toml"
TOOLS = ("valgrind", "time")
# What `provision` is counted for: name in the budget -> the password of the VM.
PROVISIONS = {"provision": "", "provision_password": guests.EVERYTHING.password}
_RUNS = 20


class Figures:
    """The figures of one file.

    `size` is bytes; `peak` is megabytes, None if it cannot be measured on this machine;
    `provisions` are instructions, by the names of PROVISIONS, {} if they were not counted.
    """

    def __init__(self, machine: str, freezer: str) -> None:
        self.machine = machine
        self.freezer = freezer
        self.file = toolchain.output(machine, freezer)
        self.size = self.file.stat().st_size
        self.instructions = 0
        self.provisions: dict[str, int] = {}
        self.milliseconds: list[float] = []
        self.peak: float | None = None

    @property
    def over(self) -> list[str]:
        """Return a line for each figure that exceeds the budget."""
        budget = budget_for(self.machine, self.freezer)
        found = {"size": self.size, "instructions": self.instructions, **self.provisions}
        names = {name: f"instructions of {name}" for name in PROVISIONS}
        return [
            f"{self.file.name}: {found[name]:,} {names.get(name, name)}, the budget is {limit:,}"
            for name, limit in budget.items()
            if found.get(name, 0) > limit
        ]


def budget_for(machine: str, freezer: str) -> dict[str, int]:
    """Return the upper limits of `size` (bytes) and `instructions`; empty if there are none."""
    budget: dict[str, Any] = tomllib.loads(BUDGET.read_text())
    return dict(budget.get(machine, {}).get(freezer, {}))


def instructions(command: Sequence[str], machine: str) -> int:
    """Count the instructions of `machine` that a command executes.

    Its first word is a file for that machine. Raises BuildError, CalledProcessError.
    """
    return _by_callgrind(command) if not emulation.emulator(machine) else _by_qemu(command, machine)


def provisioning(file: pathlib.Path, machine: str, password: str) -> int:
    """Count the instructions of `provision` in a sketched root, with work for every step.

    Needs root, which gives the new user the files. Raises as instructions().
    """
    vm = dataclasses.replace(guests.EVERYTHING, password=password)
    healthy = dataclasses.replace(scenario.load("healthy"), vm=vm)
    with Simulator(healthy) as simulator, tempfile.TemporaryDirectory() as root:
        guests.sketch(pathlib.Path(root), vm)
        platform = ["--wireserver", simulator.url("wireserver"), "--imds", simulator.url("imds")]
        return instructions([str(file), "provision", "--root", root, *platform], machine)


def _by_callgrind(command: Sequence[str]) -> int:
    with tempfile.NamedTemporaryFile("r") as out:
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", *command]
        subprocess.run(
            words, check=True, env={}, executable=shutil.which("valgrind"), capture_output=True
        )
        totals = [
            line for line in out.read().splitlines() if line.startswith(("totals:", "summary:"))
        ]
    return int(totals[-1].split()[1])


def _by_qemu(command: Sequence[str], machine: str) -> int:
    """Count the lines of qemu's log: one for each block, which is a single instruction."""
    emulator = emulation.emulator(machine)
    options = subprocess.run([emulator, "-h"], capture_output=True, text=True).stdout
    # The newer and the older name of the option.
    step = "-one-insn-per-tb" if "-one-insn-per-tb" in options else "-singlestep"
    theirs, ours = os.pipe()
    with (
        os.fdopen(theirs, "rb", buffering=0) as lines,
        subprocess.Popen(
            [emulator, step, "-d", "nochain,exec", "-D", f"/proc/self/fd/{ours}", *command],
            pass_fds=[ours],
            env={},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        os.close(ours)
        # A read may end within a line; each line starts with this letter and contains no other.
        count = sum(block.count(b"T") for block in _blocks(lines))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, [emulator, *command])
    return count


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(1 << 20):
        yield block


class Stopwatch:
    """Times programs from exec to the arrival of their Ready.

    Pass it to a simulator as `on_exchange`.
    """

    def __init__(self) -> None:
        self._received = 0.0
        self._arrived = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        """Record when a Ready arrives."""
        if exchange.report == "Ready":
            self._received = exchange.received
            self._arrived.set()

    def time(self, words: Sequence[str], env: Mapping[str, str] | None = None) -> float:
        """Run a command and return milliseconds.

        Raises RuntimeError if it reports nothing.
        """
        self.reset()
        started = time.monotonic()
        process = subprocess.run(
            words,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = process.stderr.strip()[-300:]
        return self.since(started, f"{words[0]} exited with status {process.returncode}: {said}")

    def reset(self) -> None:
        """Forget the last Ready."""
        self._arrived.clear()

    def since(self, started: float, otherwise: str) -> float:
        """Return the milliseconds from `started` (monotonic) to the Ready that came after it.

        Raises RuntimeError, with the text `otherwise`, if none comes within a second.
        """
        if not self._arrived.wait(1):
            raise RuntimeError(f"nothing was reported: {otherwise}")
        return (self._received - started) * 1000


def measure(files: Sequence[tuple[str, str]]) -> list[Figures]:
    """Measure the built files for pairs of machine and freezer.

    Needs the programs of TOOLS. Raises BuildError, CalledProcessError, RuntimeError.
    """
    figures = [Figures(machine, freezer) for machine, freezer in files]
    stopwatch = Stopwatch()
    with (
        Simulator(scenario.load("healthy"), on_exchange=stopwatch) as simulator,
        console.status("") as status,
    ):
        arguments = [
            "report",
            "ready",
            "--wireserver",
            simulator.url("wireserver"),
            "--deadline",
            "300",
        ]
        for one in figures:
            status.update(f"[dim]counting the instructions of {one.file.name}[/dim]")
            one.instructions = instructions([str(one.file), *arguments], one.machine)
            if one.machine == toolchain.native():
                if os.geteuid() == 0:
                    one.provisions = {
                        name: provisioning(one.file, one.machine, password)
                        for name, password in PROVISIONS.items()
                    }
                one.peak = _peak([str(one.file), *arguments])
        for run in range(_RUNS + 1):
            status.update(f"[dim]timing, {run} of {_RUNS}[/dim]")
            for one in figures:
                milliseconds = stopwatch.time(
                    [*emulation.command(one.machine, one.file), *arguments], env={}
                )
                if run:  # run 0 fills the page cache
                    one.milliseconds.append(milliseconds)
    return figures


def _peak(command: Sequence[str]) -> float:
    """Return megabytes, from GNU time: wait4() would include the memory of the caller."""
    with tempfile.NamedTemporaryFile("r") as out:
        subprocess.run(
            ["time", "-f", "%M", "-o", out.name, *command], check=True, capture_output=True
        )
        return int(out.read().split()[-1]) / 1000


def table(figures: Sequence[Figures]) -> Table:
    """Return a table with one row per file.

    Times are relative to those of the default freezer's file for the same machine.
    """
    result = Table(title="report ready, from exec to the report's arrival")
    for heading in (
        "machine",
        "freezer",
        "size MB",
        "million instructions",
        "of provision",
        "with a password",
        "time",
        "ratio",
        "peak MB",
        "sha256",
    ):
        result.add_column(
            heading, justify="left" if heading in ("machine", "freezer", "sha256") else "right"
        )
    default = {
        one.machine: statistics.median(one.milliseconds)
        for one in figures
        if one.freezer == toolchain.DEFAULT_FREEZER
    }
    for one in figures:
        median = statistics.median(one.milliseconds)
        result.add_row(
            one.machine,
            one.freezer,
            f"{one.size / 1e6:.2f}",
            f"{one.instructions / 1e6:.1f}",
            *(
                f"{one.provisions[name] / 1e6:.1f}" if one.provisions else "-"
                for name in PROVISIONS
            ),
            f"{median:.1f} ms" if one.peak else f"{median:.0f} ms in qemu",
            f"{median / default[one.machine]:.2f}" if one.machine in default else "-",
            f"{one.peak:.1f}" if one.peak else "-",
            toolchain.sha256(one.file)[:16],
        )
    return result


def show(files: Sequence[tuple[str, str]]) -> None:
    """Measure the built files for pairs of machine and freezer and print the table.

    Prints a warning instead where the tools for that are missing and cannot be installed. Raises
    as measure().
    """
    try:
        for tool in TOOLS:
            packages.want(tool)
    except BuildError as error:
        console.print(f"[yellow]warning:[/yellow] the cost of the files was not measured: {error}")
        return
    console.print(table(measure(files)))
