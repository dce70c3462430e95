"""`scripts/bench`: measures reporters side by side in a network namespace.

Azure's addresses are the simulator's there. The runs are interleaved, and each is measured for:
milliseconds from exec to the arrival of the health report, peak memory (from GNU time, because
wait4() would include the memory of the caller), processes started and files opened for writing
(from strace). Machines are noisy, so the ratios are what counts.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from rich.progress import track
from rich.table import Table

from build import packages, toolchain, zig
from build.__main__ import FREEZERS
from build.cache import BuildError, console
from scripts.simulator import namespace, platform, scenario
from scripts.simulator.server import Simulator
from scripts.tasks import cold, figures, guests, late, race, stock
from scripts.tasks.contenders import CONTENDERS

FILE = toolchain.output()
FLOOR = "static C"
_WRITES = re.compile(r'(?:open|openat|creat)\([^"]*"([^"]+)".*O_(?:WRONLY|RDWR)')
_RUNS = 30
_IGNORED = ("/dev/null", "/dev/tty")
_STARTS = re.compile(
    r"^\d*\s*(?:clone|clone3|fork|vfork)\(.*= \d+$"
    r"|<\.\.\. (?:clone|clone3|fork|vfork) resumed>.*= \d+$",
    re.MULTILINE,
)


class Candidate:
    """A program to measure.

    "{root}" in its `words` becomes the root of a system that has not been provisioned, a fresh one
    for each run. The others are compared with a `reference`.
    """

    def __init__(self, name: str, words: list[str], *, reference: bool = False) -> None:
        self.name = name
        self.words = words
        self.reference = reference
        self.milliseconds: list[float] = []
        self.peak = 0.0
        self.read = 0
        self.processes = 0
        self.written = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure reporters side by side in a network namespace.",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="NAME[=COMMAND]",
        help=f"another reporter, or one of {', '.join(stock.NAMES)}; repeatable; "
        "with --boot, go or NAME=FILE, a program without arguments",
    )
    parser.add_argument(
        "--runs",
        type=_positive,
        metavar="N",
        help=f"runs of each (default: {_RUNS}; with --boot, boots in each image: {race.BOOTS})",
    )
    parser.add_argument(
        "--file",
        type=pathlib.Path,
        default=FILE,
        help=f"static file to measure (default: {FILE.relative_to(toolchain.TOP)})",
    )
    parser.add_argument(
        "--callgrind",
        action="store_true",
        help="count instructions of the built files and check them against build/budget.toml",
    )
    parser.add_argument(
        "--late",
        action="store_true",
        help="measure how soon Ready follows an address that comes late",
    )
    parser.add_argument(
        "--cold",
        action="store_true",
        help="measure starts from a disk whose files are in no cache",
    )
    parser.add_argument(
        "--boot",
        action="store_true",
        help="boot virtual machines: seconds from the kernel's start to Ready and to the login",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        choices=[one.name for one in CONTENDERS],
        help="with --boot: only these, and those of --against; repeatable",
    )
    parser.add_argument(
        "--host-keys",
        choices=race.IMAGES,
        help="with --boot: only images that have SSH host keys, or only images that have none",
    )
    options = parser.parse_args(arguments)
    if options.callgrind:
        return check_budget()
    if options.boot:
        return race.main(
            options.only, options.against, options.runs or race.BOOTS, options.host_keys
        )
    options.runs = options.runs or _RUNS
    file = str(options.file.absolute())
    candidates = [
        Candidate("azready report ready", [file, "report", "ready"]),
        Candidate("azready provision", [file, "provision", "--root", "{root}"]),
    ]
    plain = toolchain.output(freezer=toolchain.PLAIN)
    if plain.is_file():
        candidates.append(Candidate("without the snapshot", [str(plain), "report", "ready"]))
    for text in options.against:
        name, _, command = text.partition("=")
        try:
            words = stock.command(name) if text in stock.NAMES else shlex.split(command)
        except BuildError as error:
            console.print(f"error: {error}", markup=False)
            return 1
        if not name or not words:
            known = ", ".join(stock.NAMES)
            console.print(
                f"error: --against {text!r} is neither NAME=COMMAND nor one of {known}",
                markup=False,
            )
            return 2
        candidates.append(Candidate(name, words, reference=True))
    if not os.access(file, os.X_OK):
        console.print(f"error: {file} is missing: run scripts/build first", markup=False)
        return 2
    try:
        if options.late:
            return late.measure(options.file.absolute(), options.runs)
        for tool in ("time", "strace"):
            packages.want(tool)
        with tempfile.TemporaryDirectory() as scratch:
            floor = Candidate(FLOOR, [str(build_floor(pathlib.Path(scratch)))], reference=True)
            namespace.enter((platform.WIRESERVER, platform.IMDS))
            candidates.append(floor)
            if options.cold:
                return measure_cold(candidates, options.runs)
            measure(candidates, options.runs)
    except (OSError, BuildError, RuntimeError, subprocess.CalledProcessError) as error:
        console.print(f"error: {error}", markup=False)
        return 1
    _print(candidates, options.file, options.runs)
    return 0


def build_floor(folder: pathlib.Path) -> pathlib.Path:
    """Compile floor.c, statically; return its path. Raises CalledProcessError."""
    source, program = pathlib.Path(__file__).with_name("floor.c"), folder / "floor"
    words = [str(zig.tools(toolchain.native()) / "cc"), "-Os", "-s", "-static"]
    subprocess.run([*words, "-o", str(program), str(source)], env=zig.environment(), check=True)
    return program


def measure_cold(candidates: list[Candidate], runs: int) -> int:
    """Measure starts of programs that are files of their own, from a cold disk, and print.

    Raises RuntimeError if one of them does not report Ready.
    """
    stopwatch = figures.Stopwatch()
    addresses = {"wireserver": (platform.WIRESERVER, 80), "imds": (platform.IMDS, 80)}
    table = Table(title=f"cold: exec to health report received, {runs} interleaved runs each")
    for heading in ("reporter", "median ms", "fastest ms", "MB read", "MB"):
        table.add_column(heading, justify="left" if heading == "reporter" else "right")
    with (
        cold.disk() as disk,
        Simulator(scenario.load("healthy"), on_exchange=stopwatch, **addresses),
    ):
        cold_ones = [one for one in candidates if "{root}" not in one.words]
        for one in cold_ones:
            one.words = [str(cold.put(pathlib.Path(one.words[0]), disk)), *one.words[1:]]
        for _ in track(range(runs), "measuring", console=console, transient=True):
            for one in cold_ones:
                file = pathlib.Path(one.words[0])
                cold.drop(file)
                before = cold.bytes_read(file)
                one.milliseconds.append(stopwatch.time(one.words))
                one.read = cold.bytes_read(file) - before
        for one in cold_ones:
            figures_of = (statistics.median(one.milliseconds), min(one.milliseconds))
            size = pathlib.Path(one.words[0]).stat().st_size / 1e6
            cells = [*(f"{value:.1f}" for value in figures_of), f"{one.read / 1e6:.2f}"]
            table.add_row(one.name, *cells, f"{size:.2f}")
    console.print(table)
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def check_budget() -> int:
    """Measure the files that are built.

    Returns 1 if one of them exceeds build/budget.toml.
    """
    built = [
        (machine, freezer)
        for machine in toolchain.machines()
        for freezer in FREEZERS
        if toolchain.output(machine, freezer).is_file()
    ]
    try:
        for tool in figures.TOOLS:
            packages.want(tool)
        measured = figures.measure(built)
    except (OSError, BuildError, RuntimeError, subprocess.CalledProcessError) as error:
        console.print(f"error: {error}", markup=False)
        return 1
    console.print(figures.table(measured))
    over = [text for one in measured for text in one.over]
    console.print(
        "\n".join(f"error: {text}" for text in over) or "within build/budget.toml", markup=False
    )
    return 1 if over else 0


def measure(candidates: list[Candidate], runs: int) -> None:
    """Fill in the figures of `candidates`.

    Raises RuntimeError if one of them does not report Ready.
    """
    stopwatch = figures.Stopwatch()
    addresses = {"wireserver": (platform.WIRESERVER, 80), "imds": (platform.IMDS, 80)}
    healthy = dataclasses.replace(scenario.load("healthy"), vm=guests.EVERYTHING)
    with Simulator(healthy, on_exchange=stopwatch, **addresses):

        def run(candidate: Candidate, *around: str) -> float:
            with tempfile.TemporaryDirectory() as root:
                if "{root}" in candidate.words:
                    guests.sketch(pathlib.Path(root), guests.EVERYTHING)
                return stopwatch.time(
                    [*around, *(word.replace("{root}", root) for word in candidate.words)]
                )

        for candidate in candidates:  # once unmeasured, so that every file is in the page cache
            run(candidate)
        for _ in track(range(runs), "measuring", console=console, transient=True):
            for candidate in candidates:
                candidate.milliseconds.append(run(candidate))
        for candidate in candidates:
            with tempfile.NamedTemporaryFile("r") as out:
                run(candidate, "time", "-f", "%M", "-o", out.name)
                candidate.peak = int(out.read().split()[-1]) / 1000
            with tempfile.NamedTemporaryFile("r") as out:
                run(
                    candidate,
                    "strace",
                    "-f",
                    "-e",
                    "trace=open,openat,creat,clone,clone3,fork,vfork",
                    "-o",
                    out.name,
                )
                trace = out.read()
                candidate.processes = 1 + len(_STARTS.findall(trace))
                candidate.written = len(
                    {path for path in _WRITES.findall(trace) if path not in _IGNORED}
                )


def _print(candidates: list[Candidate], file: pathlib.Path, runs: int) -> None:
    table = Table(title=f"exec to health report received, {runs} interleaved runs each")
    for heading in (
        "reporter",
        "median ms",
        "fastest ms",
        *(f"vs {other.name}" for other in candidates if other.reference),
        "peak MB",
        "processes",
        "files written",
    ):
        table.add_column(heading, justify="left" if heading == "reporter" else "right")
    medians = {
        candidate.name: statistics.median(candidate.milliseconds) for candidate in candidates
    }
    for candidate in candidates:
        ratios = [
            f"{medians[candidate.name] / medians[other.name]:.2f}x"
            for other in candidates
            if other.reference
        ]
        cells = [
            f"{medians[candidate.name]:.1f}",
            f"{min(candidate.milliseconds):.1f}",
            *ratios,
            f"{candidate.peak:.1f}",
            str(candidate.processes),
            str(candidate.written),
        ]
        table.add_row(candidate.name, *cells)
    console.print(table)
    console.print(f"size of {file.name}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    sys.exit(main())
