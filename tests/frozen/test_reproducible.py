"""The same sources give the same bytes, for what is assembled anew at each change.

scripts/reproduce shows it for everything, from nothing.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from build import toolchain
from tests.conftest import BUILT, TOP

# What the second build takes from the cache: CPython, the sources, the tools, and musl as zig
# compiled it. Everything else is made again.
_SHARED = ("cpython-", "pyinstaller-source", "nuitka-source", "zig-tools", "downloads")


@pytest.mark.parametrize("how", [how for how, built in BUILT.items() if built.native])
def test_another_folder_umask_locale_and_time_zone_give_the_same_bytes(
    how: str, tmp_path: pathlib.Path
) -> None:
    built = BUILT[how]
    place = tmp_path / "a-folder-of-another-name"
    for folder in ("agent", "build", "scripts"):
        shutil.copytree(TOP / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "LICENSE", place)
    cache = tmp_path / "cache"
    cache.mkdir()
    for shared in toolchain.cache_folder().iterdir():
        if (shared.name.startswith(_SHARED) or shared.name == "zig") and not shared.name.endswith(
            ".lock"
        ):
            (cache / shared.name).symlink_to(shared)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AZREADY_CACHE": str(cache),
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Pacific/Kiritimati",
    }
    if "AZREADY_SOURCES" in os.environ:
        environment["AZREADY_SOURCES"] = os.environ["AZREADY_SOURCES"]
    command = [sys.executable, "-m", "build", "--freezer", built.freezer]
    result = subprocess.run(
        command, cwd=place, env=environment, umask=0o077, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for file in (built.file, toolchain.bill(built.file), toolchain.vex(built.file)):
        assert (place / "dist" / file.name).read_bytes() == file.read_bytes(), file.name
