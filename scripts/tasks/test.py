"""`scripts/test`: builds what the tests need, checks the source, runs the tests.

- `scripts/test` builds every file, runs all checks and all tests, and measures how much of the
  pure modules and of Root the unit and property tests cover: [tool.coverage] in pyproject.toml
  names them, and the least that is accepted.
- `scripts/test --lint` runs the checks alone.
- `scripts/test WORD...` passes the words to pytest. Nothing is built that the test files among them
  do not need, and nothing is checked or measured.

A test file needs what it imports from tests.conftest, see NEEDS. mypy demands a type for every
argument, so a test cannot use a fixture that runs a file without importing its type.
"""

import ast
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence

from build import __main__ as build
from build import machine as emulation
from build import packages, toolchain
from build.cache import BuildError, console

CHECKS = (
    ("ruff", "format", "--check", "--quiet", "."),
    ("ruff", "check", "--quiet", "."),
    ("mypy",),
    ("python", "-m", "scripts.tasks.generate", "--check"),
    (
        "zizmor",
        "--offline",
        "--quiet",
        "--persona=pedantic",
        "--strict-collection",
        ".github",
    ),
)
MEASURED = ("tests/unit", "tests/property")
# name in tests.conftest -> what a test that imports it runs: this machine's file, or all files
NEEDS = {"FROZEN": "native", "Run": "native", "words": "native", "BUILT": "all", "Built": "all"}

# program -> package
_TOOLS = {
    "az": "azure-cli",
    "createrepo_c": "createrepo-c",
    "dnf": "dnf",
    "dpkg-scanpackages": "dpkg-dev",
    "apt-ftparchive": "apt-utils",
    "dnsmasq": "dnsmasq-base",
    "execlineb": "execline",
    "fish": "fish",
    "genisoimage": "genisoimage",
    "groff": "groff-base",
    "lintian": "lintian",
    "mkudffs": "udftools",
    "pacman": "pacman-package-manager",
    "packer": "packer",
    "qemu-img": "qemu-utils",
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
    """Do what the words ask for; return the exit status of the first failure."""
    words = sys.argv[1:]
    if words == ["--lint"]:
        return _check()
    try:
        _build(needed(words))
    except BuildError as error:
        return build.refuse(error)
    if words:
        return _run("pytest", words)
    if status := _check():
        return status
    _want_tools()
    measured = _measure()
    others = _run("pytest", ["tests", *(f"--ignore={folder}" for folder in MEASURED)])
    return measured or others


def needed(words: Sequence[str], top: pathlib.Path = toolchain.TOP) -> str:
    """Return what the test files among pytest's `words` need: "all" files, "native", or "".

    Words that do not name a file or folder below `top` are pytest's options and their values. If no
    word names one, pytest runs all tests.
    """
    files = [path for word in words for path in _test_files(top / word.partition("::")[0])]
    if not files:
        return "all"
    needs = {need for file in files for need in _needs(file)}
    return max(needs, key=("native", "all").index, default="")


def _test_files(path: pathlib.Path) -> Iterable[pathlib.Path]:
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path] if path.is_file() else []


def _needs(file: pathlib.Path) -> set[str]:
    return {
        NEEDS[name.name]
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.module == "tests.conftest"
        for name in node.names
        if name.name in NEEDS
    }


def _build(need: str) -> None:
    """Build all files, this machine's file, or none. Raises BuildError."""
    if need == "native":
        build.build(toolchain.native())
    elif need == "all":
        for machine in _machines():
            azure = toolchain.machines()[machine].get("azure")
            for freezer in build.FREEZERS if azure else [toolchain.DEFAULT_FREEZER]:
                build.build(machine, freezer)


def _machines() -> list[str]:
    """Return the machines whose files can run here: this one and, with qemu, the others."""
    native = toolchain.native()
    try:
        return [name for name in toolchain.machines() if name == native or emulation.emulator(name)]
    except BuildError as error:
        console.print(
            "[yellow]warning:[/yellow] files of other machines are not built, "
            f"and their tests are skipped: {error}"
        )
        return [native]


def _check() -> int:
    for check in CHECKS:
        console.print(f"$ {' '.join(check)}", markup=False)
        command = [pathlib.Path(sys.prefix, "bin", check[0]), *check[1:]]
        if status := subprocess.run(command, cwd=toolchain.TOP).returncode:
            return status
    return 0


def _measure() -> int:
    """Run the tests of MEASURED under coverage, and print the table.

    coverage does not follow the agent into other processes: only what runs in pytest's counts. Some
    of these tests take root (devices, mounts), and without it less is demanded.
    """
    with tempfile.TemporaryDirectory() as scratch:
        data = f"--data-file={scratch}/coverage"
        failed = _run("coverage", ["run", data, "-m", "pytest", *MEASURED])
        demanded = [] if os.geteuid() == 0 else ["--fail-under=90"]
        return failed or _run("coverage", ["report", data, *demanded])


def _run(module: str, words: Sequence[str]) -> int:
    environment = {**os.environ, "PYTHONPATH": str(toolchain.TOP)}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=toolchain.TOP, env=environment).returncode


def _want_tools() -> None:
    """Install what some tests need; where that is impossible, these tests are skipped.

    They watch system calls, count instructions, make images of optical media or look into packages.
    """
    if all(shutil.which(program) for program in _TOOLS):
        return
    wanted = " ".join(dict.fromkeys(_TOOLS.values()))
    try:
        packages.install({"apt-get": wanted, "dnf": wanted})
    except BuildError as error:
        console.print(f"[yellow]warning:[/yellow] some tests will be skipped: {error}")


if __name__ == "__main__":
    sys.exit(main())
