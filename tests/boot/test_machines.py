"""The quick part of the boot lab: a first boot, and those after it, of a few real systems.

`scripts/boot --all` does the same with all of them.
"""

import pathlib

import pytest

from build.cache import BuildError
from scripts.bootlab.checks import Proof
from scripts.bootlab.guests import GUESTS
from scripts.tasks import boot
from tests.conftest import FROZEN


@pytest.mark.parametrize("name", ["busybox", "systemd"])
def test_a_real_boot(name: str, tmp_path: pathlib.Path) -> None:
    guest = GUESTS[name]
    if not FROZEN.exists():
        pytest.skip(f"{FROZEN} is not built")
    try:
        boot.need()
    except BuildError as error:
        pytest.skip(str(error))
    proof = Proof(guest, tmp_path)
    proof.run()
    failed = {
        name: result.text for name, result in proof.results.items() if result.state == "failed"
    }
    assert not failed
