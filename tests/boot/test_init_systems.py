"""Every init system as PID 1 of a container: each runs what `azready install` put there once, and not again."""

import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.boot import lab
from tests.conftest import FROZEN

EXECUTABLE = "/usr/local/bin/azready"


@pytest.fixture(scope="module", params=[name for name in lab.NAMES if name != "systemd"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, pathlib.Path, str]]:
    """(init system, root, what install said)"""
    name = str(request.param)
    root = lab.root_with(name, tmp_path_factory.mktemp(name))
    said = subprocess.run([FROZEN, "install", "--root", root], check=True, capture_output=True, text=True).stderr
    lab.prepare(root, name, EXECUTABLE)
    yield name, root, said
    shutil.rmtree(root, ignore_errors=True)


def test_it_runs_once(image: tuple[str, pathlib.Path, str], tmp_path: pathlib.Path) -> None:
    name, root, installed = image
    assert f"init system: {name} (" in installed
    assert lab.boot(root, lab.plain(tmp_path)) == ["Ready"]
    said = (root / "var/lib/said").read_text()
    assert "disabled the unit: removed /etc/" in said
    assert (root / "etc/hostname").read_text() == "web-1\n"
    assert "azureuser:" in (root / "etc/passwd").read_text()
    assert lab.boot(root, lab.plain(tmp_path)) == []
    assert (root / "var/lib/said").read_text() == said
