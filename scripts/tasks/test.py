"""`scripts/test`: builds the static file, checks format, lint and types, and runs all tests; words behind it go to pytest."""

import os
import pathlib
import shutil
import subprocess
import sys

from build import __main__ as build
from build import packages
from build.cache import BuildError, console

TOP = pathlib.Path(__file__).parents[2]
CHECKS = (
    ["ruff", "format", "--check", "--quiet", "."],
    ["ruff", "check", "--quiet", "."],
    ["mypy"],
)


def main() -> int:
    """Run everything; returns the exit code of the first thing that fails, or pytest's."""
    if code := build.main([]):
        return code
    for check in CHECKS:
        console.print(f"$ {' '.join(check)}", markup=False)
        if code := subprocess.run([sys.executable, "-m", *check], cwd=TOP).returncode:
            return code
    _want_tools()
    return subprocess.run([sys.executable, "-m", "pytest", *(sys.argv[1:] or ["tests"])], cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)}).returncode


def _want_tools() -> None:
    """Some tests watch system calls or make images of optical media; where the tools for that cannot be had, they say so and are skipped."""
    if all(shutil.which(name) for name in ("strace", "genisoimage", "xorriso", "mkudffs")):
        return
    try:
        packages.install({"apt-get": "strace genisoimage xorriso udftools", "dnf": "strace genisoimage xorriso udftools"})
    except (BuildError, KeyError) as error:
        console.print(f"[yellow]warning:[/yellow] some tests will be skipped: {error}")


if __name__ == "__main__":
    sys.exit(main())
