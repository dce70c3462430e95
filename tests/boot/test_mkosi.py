"""The recipe for mkosi, run by mkosi; what it made is booted."""

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from build import packages
from build.cache import BuildError, key, made, run
from scripts.bootlab.checks import Proof
from scripts.tasks import boot, guests, nspawn
from tests.conftest import FROZEN, TOP

RECIPE = TOP / "dist-config/examples/mkosi"
# With the packages alone, before anything of the recipe is put there.
PACKAGES = "image.cache-pre-inst"
LINK = "etc/systemd/system/multi-user.target.wants/azready.service"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """The folder of the recipe, in which mkosi has run."""
    try:
        if (release := guests.suite()) != "bookworm":
            raise BuildError(f"the recipe is for mkosi 14 of Debian 12, and this is {release}")
        boot.need()
        nspawn.need()
        if not shutil.which("mkosi") or not shutil.which("debootstrap"):
            packages.install({"apt-get": "mkosi debootstrap"})
        inputs = key("bookworm", RECIPE / "mkosi.conf")
        kept = made("guest-mkosi", inputs, install_packages, hint="about 1 minute")
    except BuildError as error:
        pytest.skip(str(error))
    place = tmp_path_factory.mktemp("mkosi")
    subprocess.run(["cp", "-a", kept / PACKAGES, place], check=True)
    shutil.copytree(RECIPE, place, dirs_exist_ok=True)
    (place / "mkosi.extra/usr/local/bin").mkdir(parents=True)
    shutil.copy(FROZEN, place / "mkosi.extra/usr/local/bin/azready")
    mkosi(place)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def install_packages(place: pathlib.Path) -> None:
    """Have mkosi do what is kept: the packages, which --incremental leaves beside the image."""
    shutil.copy(RECIPE / "mkosi.conf", place)
    mkosi(place)
    shutil.rmtree(place / "image")


def mkosi(place: pathlib.Path) -> None:
    """Run it. In a test machine, systemd is not PID 1."""
    tool = [sys.executable, "-m", "scripts.tasks.nspawn", "--tool", "mkosi"]
    words = ["--nspawn-keep-unit", "--incremental"]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    run([*tool, *words], cwd=place, env=environment, log=place / "log")


def test_the_image_has_nothing_that_all_vms_would_share(project: pathlib.Path) -> None:
    etc = project / "image/etc"
    assert not list(etc.glob("ssh/ssh_host_*"))
    assert (etc / "machine-id").read_bytes() in (b"", b"uninitialized\n")
    assert (project / "image" / LINK).is_symlink()
    assert (etc / "systemd/system/multi-user.target.wants/systemd-networkd.service").is_symlink()


def test_the_image_boots_and_becomes_ready(project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What `scripts/boot --root image` does."""
    proof = Proof(boot.own(str(project / "image")), tmp_path, boots=1)
    proof.run()
    results = proof.results
    assert {check: found.text for check, found in results.items() if found.state == "failed"} == {}
    assert {results[check].state for check in ("Ready", "login", "disabled", "failed")} == {
        "passed"
    }
    # systemd-networkd holds the lease, also at later boots.
    assert "running azready lease" not in (tmp_path / "1/console.log").read_text()
