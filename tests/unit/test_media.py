"""The provisioning media: which devices are asked, and what is found on them."""

import pathlib

import pytest

from agent.azure.retry import Deadline
from agent.errors import GuestError
from agent.machine import media
from agent.root import Root
from scripts.simulator import media as simulated
from scripts.simulator.scenario import VM
from tests import udf as maker
from tests.conftest import Lines


def test_a_medium_without_our_files_is_no_error(tmp_path: pathlib.Path, log: Lines) -> None:
    image = tmp_path / "dev/sr0"
    image.parent.mkdir()
    for content in (
        maker.simple({"other": (b"x", b"x", 3)}),
        simulated.iso9660({"other.txt": b"x"}),
    ):
        image.write_bytes(content)
        assert media.read_files(Root(str(tmp_path)), "/dev/sr0") == {}
    assert media.find(Root(str(tmp_path)), (), Deadline(0), never, log) is None
    assert not any("warning" in line for line in log.lines)


def never(_: str) -> dict[str, bytes]:
    raise GuestError("no kernel here")


def test_drives_are_found_by_what_they_claim_to_be(tmp_path: pathlib.Path, log: Lines) -> None:
    for name, kind in (("sda", "0"), ("sdb", "5"), ("sr0", "5")):
        (tmp_path / "sys/block" / name / "device").mkdir(parents=True)
        (tmp_path / "sys/block" / name / "device/type").write_text(kind + "\n")
    (tmp_path / "dev").mkdir()
    for name in ("sda", "sdb", "sr0"):
        (tmp_path / "dev" / name).write_bytes(b"x")
    (tmp_path / "dev/cdrom").symlink_to("sr0")
    assert media.devices(Root(str(tmp_path))) == ["/dev/sdb", "/dev/sr0"]
    (tmp_path / "dev/sr0").write_bytes(simulated.image(VM(media="cd", admin_username="eve")))
    found = media.find(Root(str(tmp_path)), (), Deadline(0), never, log)
    assert found is not None
    assert (found.device, found.environment.user_name) == ("/dev/sr0", "eve")
    assert any("/dev/sdb holds something that cannot be read" in line for line in log.lines)


def test_a_cd_that_appears_late_is_waited_for(
    tmp_path: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def appears(_: float) -> None:
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev/sr0").write_bytes(simulated.image(VM(media="cd")))

    monkeypatch.setattr(media, "sleep", appears)
    assert media.find(Root(str(tmp_path)), (), Deadline(5), never, log) is not None


def test_no_drive_is_no_error(tmp_path: pathlib.Path, log: Lines) -> None:
    assert media.find(Root(str(tmp_path)), (), Deadline(0), never, log) is None
    assert log.lines == ["6 no provisioning CD: there is no optical device"]


def test_absolute_links_of_an_image_stay_inside(tmp_path: pathlib.Path, log: Lines) -> None:
    outside, image = tmp_path / "outside", tmp_path / "image"
    (image / "dev").mkdir(parents=True)
    outside.write_bytes(simulated.image(VM(media="cd")))
    for name in ("sr0", "cdrom"):
        (image / "dev" / name).symlink_to(outside)
    assert media.devices(Root(str(image))) == []
    for device in ("/dev/sr0", "/dev/cdrom"):
        assert media.find(Root(str(image)), (device,), Deadline(0), never, log) is None
