"""The .apk, installed, upgraded and removed by the apk of Alpine (apk-tools 3.0.6, from source)."""

import gzip
import io
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile

import pytest

from build.cache import BuildError
from scripts.tasks import guests, package, released
from tests.conftest import Built

LINK = "etc/runlevels/default/azready"
# What apk keeps for itself, and what a system has anyway.
KEPT = {"etc/apk", "lib/apk", "var/cache", "var/log", "dev", "proc"}
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="installing into another root takes root")


@pytest.fixture(scope="module")
def packages(packaged: Built, tmp_path_factory: pytest.TempPathFactory) -> list[pathlib.Path]:
    """The .apk, and that of the next version."""
    folder = tmp_path_factory.mktemp("packages")
    at = package.FORMATS.index("apk")
    return [
        package.make(packaged.architecture, packaged.file, folder / version, version)[at]
        for version in ("0.1.0", "0.9.9")
    ]


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A root with a shell for the scripts, the folder of a runlevel of OpenRC, and nothing else."""
    place = tmp_path / "root"
    for folder in ("bin", "etc/runlevels/default"):
        (place / folder).mkdir(parents=True)
    try:
        released.apk()
        shutil.copy(guests.debian() / "bin/busybox", place / "bin")
    except BuildError as error:
        pytest.skip(f"no apk or busybox can be had here: {error}")
    for name in ("sh", "mkdir", "ln", "rm"):
        (place / "bin" / name).symlink_to("busybox")
    return place


def apk(root: pathlib.Path, packaged: Built, *words: str) -> str:
    options = [
        "--root",
        str(root),
        "--arch",
        packaged.architecture,
        "--no-network",
        "--allow-untrusted",
    ]
    result = subprocess.run(
        [released.apk(), *options, *words], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WARNING" not in result.stderr
    return result.stdout + result.stderr


def files(root: pathlib.Path) -> set[str]:
    """What is in a root, but for what apk keeps for itself."""
    names = {str(path.relative_to(root)) for path in root.rglob("*")}
    return {
        name
        for name in names
        if not any(name == kept or name.startswith(f"{kept}/") for kept in KEPT)
    } - {"lib", "var"}


def test_it_installs_what_it_declares_and_purging_leaves_nothing(
    packages: list[pathlib.Path], packaged: Built, root: pathlib.Path
) -> None:
    before = files(root)
    said = apk(root, packaged, "add", "--initdb", str(packages[0]))
    assert "Executing azready-0.1.0-r1.post-install" in said
    assert (root / LINK).readlink() == pathlib.Path("/etc/init.d/azready")
    data = gzip.decompress(packages[0].read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data), ignore_zeros=True) as archive:
        declared = [member for member in archive if not member.name.startswith(".")]
        for member in declared:
            status = (root / member.name).lstat()
            assert stat.S_IMODE(status.st_mode) == member.mode, member.name
            assert (status.st_uid, status.st_gid) == (0, 0)
            if member.isfile():
                content = archive.extractfile(member)
                assert content
                assert (root / member.name).read_bytes() == content.read()
    names = {member.name for member in declared}
    names |= {str(parent) for name in names for parent in pathlib.Path(name).parents} - {"."}
    assert files(root) == before | names | {LINK}
    assert stat.S_IMODE((root / "usr/bin/azready").stat().st_mode) == 0o755
    assert "Executing azready-0.1.0-r1.pre-deinstall" in apk(root, packaged, "del", "azready")
    assert files(root) == before


def test_an_upgrade_keeps_the_settings_that_were_edited_and_enables_nothing(
    packages: list[pathlib.Path], packaged: Built, root: pathlib.Path
) -> None:
    before = files(root)
    apk(root, packaged, "add", "--initdb", str(packages[0]))
    (root / "etc/azready.toml").write_text("deadline = 60\n")
    (root / LINK).unlink()  # as azready does itself once the work is done
    said = apk(root, packaged, "add", str(packages[1]))
    assert "Upgrading azready (0.1.0-r1 -> 0.9.9-r1)" in said
    assert "post-install" not in said
    assert (root / "etc/azready.toml").read_text() == "deadline = 60\n"
    assert not (root / LINK).is_symlink()
    apk(root, packaged, "del", "azready")
    assert files(root) == before | {"etc/azready.toml"}  # apk keeps what was edited
    apk(root, packaged, "add", str(packages[1]))
    apk(root, packaged, "del", "--purge", "azready")
    assert files(root) == before
