"""`scripts/build`: makes dist/azready-linux-<machine> and verifies it."""

import argparse
import itertools
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from build import bill, report, toolchain
from build.cache import BuildError, console, key
from build.nuitka.freeze import freeze as freeze_by_nuitka
from build.pyinstaller.freeze import freeze as freeze_by_pyinstaller
from build.pyinstaller.freeze import freeze_plain
from build.sources import CPython, cpython
from build.verify import verify

FREEZERS: dict[str, Callable[[CPython, str, pathlib.Path], None]] = {
    "pyinstaller": freeze_by_pyinstaller,
    toolchain.PLAIN: freeze_plain,
    "nuitka": freeze_by_nuitka,
}


def main(
    arguments: list[str] | None = None,
    show_figures: Callable[[Sequence[tuple[str, str]]], None] | None = None,
) -> int:
    """Build and verify; return the exit status.

    `show_figures` is called with the pairs of machine and freezer after a build of several files.
    """
    parser = argparse.ArgumentParser(
        prog="scripts/build", description="Build the static file from agent/ and verify it."
    )
    parser.add_argument(
        "--arch",
        choices=[*toolchain.machines(), "all"],
        default=toolchain.native(),
        help="machine to build for; all: those that Azure offers (default: %(default)s)",
    )
    parser.add_argument(
        "--freezer",
        choices=[*FREEZERS, "all"],
        default=toolchain.DEFAULT_FREEZER,
        help="tool that freezes the agent (default: %(default)s)",
    )
    parser.add_argument(
        "--no-snapshot",
        action="store_const",
        const=toolchain.PLAIN,
        dest="freezer",
        help=f"as --freezer {toolchain.PLAIN}: a file that brings up its interpreter itself",
    )
    parser.add_argument(
        "--force", action="store_true", help="rebuild the file even if nothing has changed"
    )
    parser.add_argument(
        "--report", action="store_true", help="show where the bytes of the file come from"
    )
    parser.add_argument(
        "--no-figures", action="store_true", help="do not measure what each of several files costs"
    )
    options = parser.parse_args(arguments)
    files = list(
        itertools.product(
            toolchain.chosen(options.arch),
            [name for name in FREEZERS if options.freezer in (name, "all")],
        )
    )
    try:
        for machine, freezer in files:
            output = build(machine, freezer, force=options.force)
            if options.report:
                console.print(*report.tables(output))
        if len(files) > 1 and show_figures and not options.no_figures:
            show_figures(files)
    except (BuildError, RuntimeError, subprocess.CalledProcessError) as error:
        return refuse(error)
    return 0


def refuse(error: Exception) -> int:
    """Print why there is no file; return the exit status."""
    console.print("[red]error:[/red] ", end="")
    console.print(str(error), markup=False)
    return 1


def build(
    machine: str, freezer: str = toolchain.DEFAULT_FREEZER, *, force: bool = False
) -> pathlib.Path:
    """Build and verify a file and return its path; keep one that was built from the same inputs.

    Raises BuildError.
    """
    started = time.monotonic()
    output = toolchain.output(machine, freezer)
    name = output.relative_to(toolchain.TOP)
    console.print(f"building {name}")
    inputs = inputs_of(machine, freezer)
    stamp = output.with_name(f".{output.name}.inputs")
    if not force and _is_current(output, stamp, inputs):
        console.print("  unchanged: agent/ and build/ are those it was built from")
    else:
        stamp.unlink(missing_ok=True)
        source = cpython()
        FREEZERS[freezer](source, machine, output)
        verify(output, machine)
        bill.write(output, machine, freezer, source)
        stamp.write_text(f"{inputs} {toolchain.sha256(output)}")
    size, digest = output.stat().st_size / 1e6, toolchain.sha256(output)[:16]
    seconds = time.monotonic() - started
    console.print(
        f"[green]ready:[/green] {name}, {size:.2f} MB, sha256 {digest}, in {seconds:.1f} s"
    )
    return output


def _is_current(output: pathlib.Path, stamp: pathlib.Path, inputs: str) -> bool:
    if not all(
        path.is_file() for path in (output, toolchain.bill(output), toolchain.vex(output), stamp)
    ):
        return False
    return stamp.read_text() == f"{inputs} {toolchain.sha256(output)}"


def inputs_of(machine: str, freezer: str) -> str:
    """Return a hash over everything in this repository that decides what the file contains."""
    files = sorted(
        path
        for folder in ("agent", "build")
        for path in (toolchain.TOP / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )
    return key(machine, freezer, *(str(path.relative_to(toolchain.TOP)) for path in files), *files)


if __name__ == "__main__":
    sys.exit(main())
