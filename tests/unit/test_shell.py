"""All shell that is in the tree; what azready writes into images is with its own tests."""

import pathlib

import pytest

from tests.conftest import TOP, shellcheck

FOLDERS = ("scripts", ".ci", "dist-config/maintainer")
SCRIPTS = [
    path
    for folder in FOLDERS
    for path in sorted((TOP / folder).iterdir())
    if path.is_file() and path.read_bytes()[:3] == b"#!/"
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_it_is_good(script: pathlib.Path) -> None:
    shellcheck(script)
