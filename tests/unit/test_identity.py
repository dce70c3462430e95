"""DMI: am I on Azure, and which VM am I?"""

import pathlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.machine import identity
from agent.root import Root


@pytest.fixture
def dmi(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "sys/class/dmi/id"
    folder.mkdir(parents=True)
    return folder


def test_values_are_read_from_the_roots_own_sysfs(
    dmi: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (dmi / "chassis_asset_tag").write_text(identity.AZURE_ASSET_TAG + "\n")
    (dmi / "product_uuid").write_text("6E1B6B2C-1F0A-4D55-9C4B-0A1B2C3D4E5F\n")
    assert identity.asset_tag(Root(str(tmp_path))) == identity.AZURE_ASSET_TAG
    # Without UEFI firmware it is a Gen1 VM, whose fields are the other way round.
    assert identity.vm_id(Root(str(tmp_path))) == "2c6b1b6e-0a1f-554d-9c4b-0a1b2c3d4e5f"
    (tmp_path / "sys/firmware/efi").mkdir(parents=True)
    assert identity.vm_id(Root(str(tmp_path))) == "6e1b6b2c-1f0a-4d55-9c4b-0a1b2c3d4e5f"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "6e1b6b2c1f0a4d559c4b0a1b2c3d4e5f",
        "6e1b6b2c-1f0a-4d55-9c4b-0a1b2c3d4e5g",
        "../../etc/passwd",
    ],
)
def test_what_is_no_uuid_is_no_vm_id(text: str) -> None:
    assert identity.canonical(text) == ""


@given(st.uuids())
def test_byte_order_is_turned_as_the_uuid_module_turns_it(value: uuid.UUID) -> None:
    assert identity.swapped(str(value)) == str(uuid.UUID(bytes=value.bytes_le))
    assert identity.swapped(identity.swapped(str(value))) == str(value)
