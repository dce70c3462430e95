"""The reporters that `scripts/bench --against` knows by name."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from build import emptyroot, toolchain
from scripts.tasks import bench, stock


@pytest.mark.parametrize("name", stock.NAMES)
@pytest.mark.skipif(not emptyroot.possible(), reason="this user and kernel cannot make a namespace")
def test_each_reports_ready(name: str) -> None:
    if name == "go" and not shutil.which("go"):
        pytest.skip("go is not installed (scripts/bench --against go installs it where it can)")
    simulate = [sys.executable, "-m", "scripts.simulator", "--netns", "--strict", "--"]
    done = subprocess.run(
        [*simulate, *stock.command(name)], capture_output=True, text=True, cwd=toolchain.TOP
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accepted: Ready") == 1


def test_the_stand_in_for_go_programs_is_static_and_needs_only_the_standard_library() -> None:
    source = (pathlib.Path(stock.__file__).parent / "reporters/report.go").read_text()
    imports = source.partition("import (")[2].partition(")")[0].split()
    assert imports
    assert not any("." in one for one in imports)
    if shutil.which("go"):
        program = subprocess.run(["file", stock.command("go")[0]], capture_output=True, text=True)
        assert "statically linked" in program.stdout


@pytest.mark.parametrize("text", ["rust", "go=", "=x"])
def test_a_reporter_that_nobody_knows_is_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--against", text]) == 2
    assert "is neither NAME=COMMAND nor one of bash, go, python" in " ".join(
        capsys.readouterr().out.split()
    )
