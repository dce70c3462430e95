"""Every init system as PID 1 of a container runs what `azready install` put there.

It runs again if it failed, and not again once it is done.
"""

import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from agent import cli, init
from agent.root import Root
from tests.boot import lab
from tests.conftest import FROZEN


@pytest.fixture(scope="module", params=[name for name in lab.NAMES if name != "systemd"])
def image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, pathlib.Path, str]]:
    """(init system, root, what install said)"""
    name = str(request.param)
    root = lab.root_with(name, tmp_path_factory.mktemp(name))
    said = subprocess.run(
        [FROZEN, "install", "--root", root], check=True, capture_output=True, text=True
    ).stderr
    lab.prepare(root, name, cli.DEFAULT_EXECUTABLE)
    yield name, root, said
    shutil.rmtree(root, ignore_errors=True)


def test_it_runs_until_it_is_done(
    image: tuple[str, pathlib.Path, str], tmp_path: pathlib.Path
) -> None:
    name, root, installed = image
    assert f"init system: {name} (" in installed
    (root / "etc/azready.toml").write_text("deadline = 3\n")
    assert (
        lab.boot(root, lab.plain(tmp_path, '[[goalstate]]\nstatus = 403\ntimes = "forever"\n'))
        == []
    )
    assert "gave up reporting Ready" in (root / "var/lib/said").read_text()
    assert init.enabled(Root(str(root)))
    (root / "etc/azready.toml").unlink()
    assert lab.boot(root, lab.plain(tmp_path)) == ["Ready"]
    said = (root / "var/lib/said").read_text()
    assert "disable azready: remove /etc/" in said
    assert (root / "etc/hostname").read_text() == "web-1\n"
    assert "azureuser:" in (root / "etc/passwd").read_text()
    assert lab.boot(root, lab.plain(tmp_path)) == []
    assert (root / "var/lib/said").read_text() == said
