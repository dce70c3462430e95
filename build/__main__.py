"""`scripts/build`: makes dist/azready-linux-<machine> and verifies it."""

import argparse
import pathlib
import sys
import time

from build import toolchain
from build.cache import BuildError, console, key
from build.pyinstaller.freeze import freeze
from build.sources import cpython
from build.verify import verify

TOP = pathlib.Path(__file__).parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Build and verify; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/build", description="Make the static file from agent/ and verify it.")
    parser.add_argument("--arch", choices=sorted(toolchain.ZIG_TARGETS), default="x86_64", help="machine to build for (default: %(default)s)")
    parser.add_argument("--freezer", choices=["pyinstaller"], default="pyinstaller", help="what makes the file (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="assemble the file anew even if nothing changed")
    options = parser.parse_args(arguments)
    output = TOP / "dist" / f"azready-linux-{options.arch}"
    try:
        return build(options.arch, output, force=options.force)
    except BuildError as error:
        console.print("[red]error:[/red] ", end="")
        console.print(str(error), markup=False)
        return 1


def build(machine: str, output: pathlib.Path, *, force: bool) -> int:
    """Make and verify the file unless the one that is there was made from the same inputs. Raises BuildError."""
    started = time.monotonic()
    console.print(f"building {output.relative_to(TOP)}")
    inputs = inputs_of(machine)
    stamp = output.with_name(f".{output.name}.inputs")
    if not force and output.is_file() and stamp.is_file() and stamp.read_text() == f"{inputs} {toolchain.sha256(output)}":
        console.print("  nothing changed in agent/ and build/ since it was made")
    else:
        stamp.unlink(missing_ok=True)
        freeze(cpython(), machine, output)
        verify(output)
        stamp.write_text(f"{inputs} {toolchain.sha256(output)}")
    size = output.stat().st_size
    console.print(
        f"[green]ready:[/green] {output.relative_to(TOP)}, {size / 1e6:.2f} MB, sha256 {toolchain.sha256(output)[:16]}, in {time.monotonic() - started:.1f} s"
    )
    return 0


def inputs_of(machine: str) -> str:
    """A hash over everything in this repository that decides what the file holds."""
    files = sorted(path for folder in ("agent", "build") for path in (TOP / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return key(machine, *(str(path.relative_to(TOP)) for path in files), *files)


if __name__ == "__main__":
    sys.exit(main())
