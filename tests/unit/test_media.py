"""Our readers of UDF and ISO 9660 against images by other tools, against structures that are rare, and against media that lie."""

import io
import lzma
import pathlib
import shutil
import struct
import subprocess
from collections.abc import Callable

import pycdlib
import pytest

from agent.azure import media
from agent.azure.retry import Deadline
from agent.errors import GuestError
from agent.protocol import iso9660, medium, udf
from agent.root import Root
from scripts.simulator import media as simulated
from scripts.simulator.scenario import VM
from tests import udf as maker
from tests.conftest import Lines

DATA = pathlib.Path(__file__).parents[1] / "data/udf"
COUNTING = (bytes(range(256)) * 20)[:5000]
DOCUMENT = simulated.ovf_env(VM(password="on the CD"))
FILES = {"ovf-env.xml": DOCUMENT, "CustomData.bin": COUNTING}
NAMES = tuple(FILES)

Reader = Callable[[Callable[[int, int], bytes], int, tuple[str, ...]], dict[str, bytes]]


def read(reader: Reader, image: bytes) -> dict[str, bytes]:
    return reader(lambda offset, length: image[offset : offset + length], len(image), NAMES)


@pytest.mark.parametrize("image", sorted(path.name for path in DATA.glob("*.xz")))
def test_udf_by_mkudffs_and_linux(image: str) -> None:
    content = lzma.decompress((DATA / image).read_bytes())
    assert read(udf.read_files, content) == FILES
    assert udf.is_udf(lambda offset, length: content[offset : offset + length], len(content))


@pytest.mark.parametrize(
    ("command", "reader"),
    [
        ("genisoimage -quiet -udf -V rd_rdfe_stable -o {image} {folder}", udf.read_files),
        ("genisoimage -quiet -udf -V rd_rdfe_stable -o {image} {folder}", iso9660.read_files),
        ("genisoimage -quiet -o {image} {folder}", iso9660.read_files),
        ("genisoimage -quiet -J -o {image} {folder}", iso9660.read_files),
        ("genisoimage -quiet -R -o {image} {folder}", iso9660.read_files),
        ("genisoimage -quiet -iso-level 3 -J -R -o {image} {folder}", iso9660.read_files),
        ("xorriso -as mkisofs -quiet -o {image} {folder}", iso9660.read_files),
        (
            "xorriso -as mkisofs -quiet -R -J -V rd_rdfe_stable -o {image} {folder}",
            iso9660.read_files,
        ),
    ],
)
def test_images_by_the_usual_tools(tmp_path: pathlib.Path, command: str, reader: Reader) -> None:
    if not shutil.which(command.split(" ", maxsplit=1)[0]):
        pytest.skip("the tool is not installed (scripts/test installs it where it can)")
    folder, image = tmp_path / "files", tmp_path / "image"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "deeper").mkdir()
    (folder / "deeper/ovf-env.xml").write_text("not this one")
    for number in range(60):  # more than a folder's first sector holds
        (folder / f"another-file-{number}.txt").write_text("x")
    subprocess.run(
        [word.format(image=image, folder=folder) for word in command.split()],
        check=True,
        capture_output=True,
    )
    assert read(reader, image.read_bytes()) == FILES


def test_udf_260_by_pycdlib() -> None:
    iso = pycdlib.PyCdlib()
    iso.new(udf="2.60", joliet=3, rock_ridge="1.09")
    for number, (name, content) in enumerate(FILES.items()):
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/F{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            udf_path=f"/{name}",
        )
    out = io.BytesIO()
    iso.write_fp(out)
    assert read(udf.read_files, out.getvalue()) == FILES
    assert read(iso9660.read_files, out.getvalue()) == FILES


def test_mkudffs_images_without_files_are_empty(tmp_path: pathlib.Path) -> None:
    if not shutil.which("mkudffs"):
        pytest.skip("mkudffs is not installed (scripts/test installs it where it can)")
    for kind, revision in (("dvd", "1.02"), ("dvdram", "2.01"), ("cd", "2.01")):
        image = tmp_path / f"{kind}.img"
        image.write_bytes(bytes(12 << 20))
        subprocess.run(
            ["mkudffs", "-m", kind, "-r", revision, "-b", "2048", image],
            check=True,
            capture_output=True,
        )
        assert read(udf.read_files, image.read_bytes()) == {}


def test_the_simulators_cd() -> None:
    assert read(iso9660.read_files, simulated.image(VM(media="cd", password="on the CD"))) == {
        "ovf-env.xml": DOCUMENT
    }


def test_a_metadata_partition_and_its_mirror() -> None:
    assert read(udf.read_files, maker.with_metadata_partition(FILES)) == FILES


@pytest.mark.parametrize("tag", [maker.FILE_ENTRY, maker.EXTENDED_FILE_ENTRY])
@pytest.mark.parametrize(
    ("kind", "descriptors"),
    [
        (0, maker.short(2048, 100) + maker.short(2048, 110) + maker.short(904, 120)),
        (1, maker.long(2048, 100) + maker.long(2048, 110) + maker.long(904, 120)),
        (2, maker.extended(2048, 100) + maker.extended(2048, 110) + maker.extended(904, 120)),
        (0, maker.short(2048, 100) + maker.short(2048, 90, 3)),  # the rest stands in block 90
    ],
)
def test_a_file_in_three_extents(tag: int, kind: int, descriptors: bytes) -> None:
    rest = maker.short(2048, 110) + maker.short(904, 120)
    continued = maker.sign(bytes(16) + struct.pack("<II", 0, len(rest)) + rest, 258, 90)
    blocks = {100: COUNTING[:2048], 110: COUNTING[2048:4096], 120: COUNTING[4096:], 90: continued}
    assert read(
        udf.read_files,
        maker.simple({"customdata.BIN": (descriptors, COUNTING, kind)}, more=blocks, tag=tag),
    ) == {"CustomData.bin": COUNTING}


def test_a_hole_in_a_file_reads_as_zeros() -> None:
    descriptors = maker.short(2048, 100) + maker.short(2048, 0, 2)
    content = COUNTING[:2048] + bytes(1000)
    assert read(
        udf.read_files,
        maker.simple({"ovf-env.xml": (descriptors, content, 0)}, more={100: COUNTING[:2048]}),
    ) == {"ovf-env.xml": content}


def test_a_small_file_inside_its_entry() -> None:
    assert read(udf.read_files, maker.simple({"ovf-env.xml": (b"<small/>", b"<small/>", 3)})) == {
        "ovf-env.xml": b"<small/>"
    }


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (b"", "no anchor"),
        (bytes(1 << 20), "no anchor"),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 100), bytes(2 << 20), 0)}),
            "the limit is 1048576",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 100), bytes(5000), 0)}),
            "of which 2048 are on the medium",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 5000), bytes(2048), 0)}),
            "the medium points to byte",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.long(2048, 100, 7), bytes(2048), 1)}),
            "there is no partition 7",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 3, 3), bytes(2048), 0)}),
            "a descriptor with the tag 258 was expected",
        ),
        (maker.simple({"ovf-env.xml": (b"", b"", 5)}), "allocation descriptors of kind 5"),
    ],
)
def test_media_that_lie_end_in_our_own_error(image: bytes, says: str) -> None:
    with pytest.raises(medium.MediumError, match=says):
        read(udf.read_files, image)


def test_descriptors_that_continue_for_ever_end() -> None:
    loop = maker.sign(
        bytes(16) + struct.pack("<II", 0, 16) + maker.short(2048, 100) + maker.short(2048, 90, 3),
        258,
        90,
    )
    image = maker.simple(
        {"ovf-env.xml": (maker.short(2048, 90, 3), bytes(1 << 20), 0)}, more={90: loop}
    )
    assert (
        len(read(udf.read_files, image)["ovf-env.xml"]) == 1 << 20
    )  # as much as the file says, and not more
    empty = maker.sign(bytes(16) + struct.pack("<II", 0, 8) + maker.short(2048, 90, 3), 258, 90)
    with pytest.raises(medium.MediumError, match="more than 2048 extents"):
        read(
            udf.read_files,
            maker.simple(
                {"ovf-env.xml": (maker.short(2048, 90, 3), bytes(1 << 20), 0)}, more={90: empty}
            ),
        )


def test_a_virtual_partition_is_refused_by_name() -> None:
    image = maker.Image()
    image.describe(maker.special_map(b"*UDF Virtual Partition"), 1, maker.long(2048, 0))
    with pytest.raises(medium.MediumError, match=r"'\*UDF Virtual Partition' is not supported"):
        read(udf.read_files, bytes(image.data))


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
