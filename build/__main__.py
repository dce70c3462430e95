"""`scripts/build`: makes dist/azready-linux-<machine> and verifies it."""

import argparse
import itertools
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

from build import bill, figures, packages, report, toolchain
from build.cache import BuildError, console, key
from build.nuitka.freeze import freeze as freeze_by_nuitka
from build.pyinstaller.freeze import freeze as freeze_by_pyinstaller
from build.sources import CPython, cpython
from build.verify import verify

FREEZERS: dict[str, Callable[[CPython, str, pathlib.Path], None]] = {"pyinstaller": freeze_by_pyinstaller, "nuitka": freeze_by_nuitka}


def main(arguments: list[str] | None = None) -> int:
    """Build and verify; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/build", description="Make the static file from agent/ and verify it.")
    parser.add_argument(
        "--arch", choices=[*toolchain.machines(), "all"], default=toolchain.native(), help="machine to build for; all: Azure's (default: %(default)s)"
    )
    parser.add_argument("--freezer", choices=[*FREEZERS, "all"], default=toolchain.DEFAULT_FREEZER, help="what makes the file (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="assemble the file anew even if nothing changed")
    parser.add_argument("--report", action="store_true", help="say where the bytes of the file come from")
    parser.add_argument("--no-figures", action="store_true", help="of several files, do not measure what each costs")
    options = parser.parse_args(arguments)
    chosen = toolchain.chosen(options.arch)
    freezers = [name for name in FREEZERS if options.freezer in (name, "all")]
    try:
        for machine, freezer in itertools.product(chosen, freezers):
            output = build(machine, freezer, force=options.force)
            if options.report:
                console.print(*report.tables(output))
        if len(chosen) * len(freezers) > 1 and not options.no_figures:
            _show_figures(list(itertools.product(chosen, freezers)))
    except (BuildError, RuntimeError, subprocess.CalledProcessError) as error:
        return refuse(error)
    return 0


def _show_figures(files: list[tuple[str, str]]) -> None:
    for tool in figures.TOOLS:
        try:
            packages.want(tool)
        except BuildError as error:
            console.print(f"[yellow]warning:[/yellow] what the files cost was not measured: {error}")
            return
    console.print(figures.table(figures.measure(files)))


def refuse(error: Exception) -> int:
    """Say why there is no file; returns the exit code."""
    console.print("[red]error:[/red] ", end="")
    console.print(str(error), markup=False)
    return 1


def build(machine: str, freezer: str = toolchain.DEFAULT_FREEZER, *, force: bool = False) -> pathlib.Path:
    """Make and verify a file unless the one that is there was made from the same inputs; returns it. Raises BuildError."""
    started = time.monotonic()
    output = toolchain.output(machine, freezer)
    console.print(f"building {output.relative_to(toolchain.TOP)}")
    inputs = inputs_of(machine, freezer)
    stamp = output.with_name(f".{output.name}.inputs")
    if not force and bill.bill(output).is_file() and output.is_file() and stamp.is_file() and stamp.read_text() == f"{inputs} {toolchain.sha256(output)}":
        console.print("  nothing changed in agent/ and build/ since it was made")
    else:
        stamp.unlink(missing_ok=True)
        source = cpython()
        FREEZERS[freezer](source, machine, output)
        verify(output, machine)
        bill.write(output, machine, freezer, source)
        stamp.write_text(f"{inputs} {toolchain.sha256(output)}")
    size, digest = output.stat().st_size / 1e6, toolchain.sha256(output)[:16]
    console.print(f"[green]ready:[/green] {output.relative_to(toolchain.TOP)}, {size:.2f} MB, sha256 {digest}, in {time.monotonic() - started:.1f} s")
    return output


def inputs_of(machine: str, freezer: str) -> str:
    """A hash over everything in this repository that decides what the file holds."""
    files = sorted(path for folder in ("agent", "build") for path in (toolchain.TOP / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return key(machine, freezer, *(str(path.relative_to(toolchain.TOP)) for path in files), *files)


if __name__ == "__main__":
    sys.exit(main())
