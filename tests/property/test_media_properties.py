"""Media that lie: whatever a structure of UDF or ISO 9660 says, the readers end.

They end with files or with our own error, within their bounds.
"""

import lzma
import pathlib
import struct
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from agent.protocol import iso9660, medium, udf
from scripts.simulator import media
from scripts.simulator.scenario import VM
from tests import udf as maker

NAMES = ("ovf-env.xml", "CustomData.bin")
DATA = pathlib.Path(__file__).parents[1] / "data/udf"
CONTENT = (bytes(range(256)) * 20)[:5000]
SOURCES = [
    maker.with_metadata_partition({"ovf-env.xml": CONTENT}),
    maker.simple({"ovf-env.xml": (maker.short(4096, 100) + maker.short(904, 110), CONTENT, 0)}),
    *(
        lzma.decompress((DATA / name).read_bytes())
        for name in ("hd-2.01-inicb-2048.img.xz", "cdrw-1.50-short-2048.img.xz")
    ),
]
ISO = media.image(VM(media="cd"))


def descriptors(image: bytes) -> list[int]:
    """Where the descriptors are: what starts with a tag whose checksum is right."""
    found = []
    for at in range(0, len(image), 512):
        head = image[at : at + 16]
        if (
            head[:4] != bytes(4)
            and 0 < struct.unpack_from("<H", head)[0] <= 266
            and (sum(head) - head[4]) & 255 == head[4]
        ):
            found.append(at)
    return found


PLACES = [descriptors(image) for image in SOURCES]


class Counted:
    """A medium with a few bytes changed, which counts what is read of it."""

    def __init__(self, image: bytes, changes: dict[int, bytes]) -> None:
        self.image, self.changes = image, changes
        self.reads = self.bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        self.bytes += length
        data = bytearray(self.image[offset : offset + length])
        for at, piece in self.changes.items():
            start, end = max(at, offset), min(at + len(piece), offset + length)
            if start < end:
                data[start - offset : end - offset] = piece[start - at : end - at]
        return bytes(data)


Reader = Callable[[Callable[[int, int], bytes], int, tuple[str, ...]], dict[str, bytes]]


def ends(reader: Reader, image: bytes, changes: dict[int, bytes]) -> None:
    counted = Counted(image, changes)
    try:
        found = reader(counted.read, len(image), NAMES)
    except medium.MediumError as error:
        assert str(error).isprintable()
    else:
        assert set(found) <= set(NAMES)
        assert all(len(content) <= medium.MAX_FILE for content in found.values())
    assert counted.reads <= medium.MAX_READS
    assert counted.bytes <= medium.MAX_BYTES


@given(st.data())
def test_udf_with_lying_fields_ends(data: st.DataObject) -> None:
    """Fields are changed behind a checksum that agrees, so that the lie is believed."""
    index = data.draw(st.integers(0, len(SOURCES) - 1))
    image, changes = SOURCES[index], {}
    for at in data.draw(st.sets(st.sampled_from(PLACES[index]), min_size=1, max_size=2)):
        descriptor = bytearray(image[at : at + 512])
        for _ in range(data.draw(st.integers(1, 3))):
            field = data.draw(st.integers(16, 300))
            value = data.draw(
                st.one_of(
                    st.sampled_from([0, 1, 2, 255, 0xFFFF, 0xFFFFFFFF, 0x3FFFFFFF, 0xC0000800]),
                    st.integers(0, 2**32 - 1),
                )
            )
            struct.pack_into("<I", descriptor, field, value)
        changes[at] = maker.sign_again(bytes(descriptor))
    ends(udf.read_files, image, changes)


@given(
    st.sampled_from(SOURCES),
    st.dictionaries(st.integers(0, 700 * 2048), st.binary(min_size=1, max_size=64), max_size=8),
)
def test_udf_with_any_bytes_changed_ends(image: bytes, changes: dict[int, bytes]) -> None:
    ends(udf.read_files, image, changes)


@given(
    st.dictionaries(
        st.integers(16 * 2048, 27 * 2048), st.binary(min_size=1, max_size=16), max_size=12
    )
)
def test_iso_with_any_bytes_changed_ends(changes: dict[int, bytes]) -> None:
    ends(iso9660.read_files, ISO, changes)


@given(st.sampled_from([*SOURCES, ISO]), st.floats(0, 1))
def test_an_image_that_was_cut_ends(image: bytes, part: float) -> None:
    cut = image[: int(len(image) * part)]
    ends(udf.read_files, cut, {})
    ends(iso9660.read_files, cut, {})


@given(st.binary(max_size=4096), st.integers(0, 40))
def test_noise_ends(noise: bytes, sectors: int) -> None:
    image = bytes(sectors * 2048) + noise
    for reader in (udf.read_files, iso9660.read_files):
        ends(reader, image, {})
