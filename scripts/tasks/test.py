"""`scripts/test`: builds the static files, checks format, lint, types and the workflow, and runs all tests; words behind it go to pytest."""

import os
import pathlib
import shutil
import subprocess
import sys

from build import __main__ as build
from build import machine as emulation
from build import packages, toolchain
from build.cache import BuildError, console

CHECKS = (
    ["ruff", "format", "--check", "--quiet", "."],
    ["ruff", "check", "--quiet", "."],
    ["mypy"],
    ["zizmor", "--offline", "--quiet", "--persona=pedantic", "--strict-collection", ".github/workflows"],
)


# program -> package
_TOOLS = {
    "createrepo_c": "createrepo-c",
    "dnf": "dnf",
    "dpkg-scanpackages": "dpkg-dev",
    "apt-ftparchive": "apt-utils",
    "execlineb": "execline",
    "fish": "fish",
    "genisoimage": "genisoimage",
    "groff": "groff-base",
    "lintian": "lintian",
    "mkudffs": "udftools",
    "pacman": "pacman-package-manager",
    "rpm": "rpm",
    "rpmlint": "rpmlint",
    "shellcheck": "shellcheck",
    "strace": "strace",
    "valgrind": "valgrind",
    "xorriso": "xorriso",
    "zsh": "zsh",
    "zstd": "zstd",
}


def main() -> int:
    """Run everything; returns the exit code of the first thing that fails, or pytest's."""
    try:
        for machine in _machines():
            for freezer in build.FREEZERS if toolchain.machines()[machine].get("azure") else [toolchain.DEFAULT_FREEZER]:
                build.build(machine, freezer)
    except BuildError as error:
        return build.refuse(error)
    for check in CHECKS:
        console.print(f"$ {' '.join(check)}", markup=False)
        if code := subprocess.run([pathlib.Path(sys.prefix, "bin", check[0]), *check[1:]], cwd=toolchain.TOP).returncode:
            return code
    _want_tools()
    return subprocess.run(
        [sys.executable, "-m", "pytest", *(sys.argv[1:] or ["tests"])], cwd=toolchain.TOP, env={**os.environ, "PYTHONPATH": str(toolchain.TOP)}
    ).returncode


def _machines() -> list[str]:
    """The machines whose files can be run here: this one, and with qemu the others. Without it, their tests are skipped."""
    try:
        return [machine for machine in toolchain.machines() if emulation.emulator(machine) or machine == toolchain.native()]
    except BuildError as error:
        console.print(f"[yellow]warning:[/yellow] files of other machines are neither built nor tested: {error}")
        return [toolchain.native()]


def _want_tools() -> None:
    """Some tests watch system calls, count instructions, make images of optical media or look into packages; where the tools for that cannot be had, they
    say so and are skipped."""
    if all(shutil.which(program) for program in _TOOLS):
        return
    wanted = " ".join(dict.fromkeys(_TOOLS.values()))
    try:
        packages.install({"apt-get": wanted, "dnf": wanted})
    except BuildError as error:
        console.print(f"[yellow]warning:[/yellow] some tests will be skipped: {error}")


if __name__ == "__main__":
    sys.exit(main())
