"""The readers of UDF and ISO 9660, against other tools' images and rare structures."""

import io
import lzma
import pathlib
import shutil
import struct
import subprocess
from collections.abc import Callable

import pycdlib
import pytest

from agent.protocol import iso9660, medium, udf
from scripts.simulator import media as simulated
from scripts.simulator.scenario import VM
from tests import udf as maker

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
        (b"", "no UDF anchor"),
        (bytes(1 << 20), "no UDF anchor"),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 100), bytes(2 << 20), 0)}),
            "the limit is 1048576",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 100), bytes(5000), 0)}),
            "but 2048 are on the medium",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 5000), bytes(2048), 0)}),
            "the medium points to byte",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.long(2048, 100, 7), bytes(2048), 1)}),
            "the volume has no partition 7",
        ),
        (
            maker.simple({"ovf-env.xml": (maker.short(2048, 3, 3), bytes(2048), 0)}),
            "expected a descriptor with the tag 258",
        ),
        (maker.simple({"ovf-env.xml": (b"", b"", 5)}), "allocation descriptors of the kind 5"),
    ],
)
def test_media_that_lie_end_in_a_medium_error(image: bytes, says: str) -> None:
    with pytest.raises(medium.MediumError, match=says):
        read(udf.read_files, image)


def test_descriptors_that_continue_forever_end() -> None:
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


def test_a_reader_stays_on_its_medium() -> None:
    reader = medium.Reader(lambda offset, length: b"x" * min(length, 10 - offset), 20)
    assert reader.at(0, 10) == b"x" * 10
    with pytest.raises(medium.MediumError, match="points to byte 21, but it ends at byte 20"):
        reader.at(20, 1)
    with pytest.raises(medium.MediumError, match="ends 2 bytes early, at byte 10"):
        reader.at(8, 4)
    with pytest.raises(medium.MediumError, match="after the end of its structure of 3 bytes"):
        medium.number(b"abc", 2, 2)
    with pytest.raises(medium.MediumError, match="does not end"):
        [reader.at(0, 1) for _ in range(medium.MAX_READS)]
