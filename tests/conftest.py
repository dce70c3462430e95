"""What all tests share: the ways to run the agent, a quiet log, and the hypothesis profiles."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from agent.log import Log
from build import emptyroot, machine, toolchain
from build.__main__ import FREEZERS
from tests.skips import (  # pytest takes hooks from here # noqa: F401
    pytest_make_collect_report,
    pytest_runtest_makereport,
)

TOP = toolchain.TOP
FROZEN = toolchain.output()

# ci: the same examples every time, quick. deep: as many as the time allows, remembered from run to
# run (scripts/fuzz).
settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    max_examples=int(os.environ.get("AZREADY_EXAMPLES", "5000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=DirectoryBasedExampleDatabase(
        os.environ.get("AZREADY_EXAMPLE_DATABASE", str(TOP / ".hypothesis"))
    ),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Lines(Log):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        super().__init__(verbose=True, priority=False)
        self.lines: list[str] = []

    def _write(self, level: int, word: str, text: str, start: str = "") -> None:
        self.lines.append(f"{level} {word}{text}")


@pytest.fixture
def log() -> Lines:
    return Lines()


def exchange(first: str, second: str) -> None:
    """Exchange two names for ever (renameat2(2), RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        libc.renameat2(-100, first.encode(), -100, second.encode(), 2)


def picture(
    folder: pathlib.Path, *, but: str = "", links: bool = True
) -> dict[str, tuple[object, ...]]:
    """A folder and everything in it, byte for byte, except below `but`.

    `links` counts the names of each file, too.
    """
    found: dict[str, tuple[object, ...]] = {}
    tops = [top for top in folder.iterdir() if top.name != but]
    for path in [folder, *tops, *(path for top in tops for path in top.rglob("*"))]:
        status = path.lstat()
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink if links else 0,
            path.read_bytes() if stat.S_ISREG(status.st_mode) else b"",
        )
    return found


class Built:
    """One static file: for a machine, by a freezer."""

    def __init__(self, architecture: str, freezer: str) -> None:
        self.architecture = architecture
        self.freezer = freezer
        self.file = toolchain.output(architecture, freezer)

    @property
    def native(self) -> bool:
        return self.architecture == toolchain.native()

    def command(self) -> list[str]:
        """The words that run it here."""
        if not (self.native or shutil.which(toolchain.machines()[self.architecture]["qemu"])):
            pytest.skip("qemu-user-static is not installed (scripts/test installs it where it can)")
        if not self.file.is_file():
            pytest.fail(
                f"{self.file} is not there: run scripts/build --arch {self.architecture} "
                f"--freezer {self.freezer} first (scripts/test does)"
            )
        return machine.command(self.architecture, self.file)

    def holding(self) -> "contextlib.AbstractContextManager[pathlib.Path]":
        """A root with nothing else in it (build/emptyroot.py)."""
        return emptyroot.holding(self.file, machine.emulator(self.architecture))


BUILT = {
    "frozen"
    if (architecture, freezer) == (toolchain.native(), toolchain.DEFAULT_FREEZER)
    else f"{architecture}-{freezer}": Built(architecture, freezer)
    for architecture, facts in toolchain.machines().items()
    for freezer in FREEZERS
    if facts.get("azure")
}


@pytest.fixture(params=BUILT)
def built(request: pytest.FixtureRequest) -> Built:
    """Each static file that can be run here."""
    chosen = BUILT[request.param]
    chosen.command()
    return chosen


@pytest.fixture(
    scope="module",
    params=[built for built in BUILT.values() if built.freezer == toolchain.DEFAULT_FREEZER],
    ids=lambda built: built.architecture,
)
def packaged(request: pytest.FixtureRequest) -> Built:
    """Each static file that a release has packages of."""
    chosen: Built = request.param
    chosen.command()
    return chosen


def words(how: str) -> list[str]:
    """The command that runs the agent: from "source", or a file of BUILT."""
    return [sys.executable, "-m", "agent"] if how == "source" else BUILT[how].command()


@pytest.fixture(params=["source", "frozen"])
def azready(request: pytest.FixtureRequest) -> Run:
    """Runs the agent as `azready(argument, ..., env={...})`, once from source and once frozen.

    Without --wireserver it would talk to Azure's own address: refused here, because a machine that
    runs tests may be an Azure VM.
    """

    def run(
        *arguments: str, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        talks = arguments[:1] in (("provision",), ("check",)) or arguments[1:2] in (
            ("ready",),
            ("failed",),
            ("provisioning",),
        )
        assert not talks or any(word.startswith("--wireserver") for word in arguments), (
            "a test must name a wireserver"
        )
        command = [*words(request.param), *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=TOP,
            env={"PATH": os.environ["PATH"], **(env or {})},
        )

    return run


def shellcheck(script: pathlib.Path, *options: str) -> None:
    """Fail if shellcheck finds anything in a script; skipped where it is not installed."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (scripts/test installs it where it can)")
    result = subprocess.run(
        ["shellcheck", "--external-sources", "--severity=style", *options, script],
        capture_output=True,
        text=True,
        cwd=TOP,
    )
    assert result.returncode == 0, result.stdout
