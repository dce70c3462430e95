"""Media whose structures are rare, damaged or lie: each is read, or the error says why not."""

import struct
from collections.abc import Callable

import pytest

from agent.protocol import iso9660, udf
from agent.protocol.udf_descriptor import UdfError
from scripts.simulator import media as simulated
from tests import udf as maker

NAMES = ("ovf-env.xml", "CustomData.bin")
CONTENT = (bytes(range(256)) * 20)[:5000]
ISO = simulated.iso9660({"ovf-env.xml": CONTENT})
DESCRIPTOR, JOLIET, END, ROOT, FILE = (2048 * sector for sector in (16, 17, 18, 19, 25))
RECORD = ROOT + 68  # after the records of the folder itself and of its parent

Reader = Callable[[Callable[[int, int], bytes], int, tuple[str, ...]], dict[str, bytes]]


def read(reader: Reader, image: bytes, names: tuple[str, ...] = NAMES) -> dict[str, bytes]:
    return reader(lambda offset, length: image[offset : offset + length], len(image), names)


# ISO 9660


def iso(*changes: tuple[int, bytes]) -> bytes:
    """The simulator's image with some bytes changed, as (offset, bytes)."""
    image = bytearray(ISO)
    for at, new in changes:
        image[at : at + len(new)] = new
    return bytes(image)


def plain(*records: bytes, more: bytes = b"") -> bytes:
    """An image without Joliet whose root folder holds `records`; `more` lies in sector 20."""
    end = (JOLIET, ISO[END : END + 2048])
    return iso(end, (RECORD, b"".join(records) + bytes(2048 - 68)), (20 * 2048, more))


def record(name: bytes, size: int, *, flags: int = 0, at: int = FILE, use: bytes = b"") -> bytes:
    head = struct.pack("<BBI4xI4x7xB2x4xB", 0, 0, at // 2048, size, flags, len(name))
    body = head + name + bytes(len(name) % 2 == 0) + use
    return bytes([len(body)]) + body[1:]


def named(text: bytes) -> bytes:
    return b"NM" + bytes([5 + len(text), 1, 0]) + text


def continued(offset: int, length: int, sector: int = 20) -> bytes:
    both = (
        struct.pack("<I", value) + struct.pack(">I", value) for value in (sector, offset, length)
    )
    return b"CE\x1c\x01" + b"".join(both)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (iso((DESCRIPTOR + 128, b"\x00\x04")), "the logical blocks are 1024 bytes long, not 2048"),
        (iso((DESCRIPTOR, ISO[END : END + 7])), "no primary volume"),
        (iso((DESCRIPTOR, b"\0"), (JOLIET, bytes(2048))), "no volume descriptor"),
        (iso((DESCRIPTOR + 166, b"\1\0\x10\0")), "the root folder is 1048577 bytes long"),
        (iso((RECORD + 26, b"\1")), "interleaved files are not supported"),
        (iso((RECORD + 27, b"\1")), "interleaved files are not supported"),
        (iso((RECORD, b"\x21")), "a record that is too short for its content"),
        (iso((RECORD + 32, b"\xff")), "a record that is too short for its content"),
        (plain(record(b"OVF_ENV.XML;1", 2**20 + 1)), "a file is 1048577 bytes long"),
    ],
)
def test_iso_structures_that_cannot_be_used_say_why(image: bytes, says: str) -> None:
    with pytest.raises(iso9660.Iso9660Error, match=says):
        read(iso9660.read_files, image)


def test_an_iso_descriptor_set_may_lack_its_terminator() -> None:
    assert read(iso9660.read_files, iso((END, bytes(7)))) == {"ovf-env.xml": CONTENT}


def test_an_iso_descriptor_set_that_does_not_end_is_read_as_far_as_64() -> None:
    boot = b"\0CD001\1"  # a boot record, which says nothing about files
    image = bytearray(ISO + bytes(64 * 2048))
    for sector in range(17, 16 + 64):
        image[sector * 2048 : sector * 2048 + 7] = boot
    image[DESCRIPTOR + 158 : DESCRIPTOR + 162] = struct.pack("<I", 90)
    image[90 * 2048 : 91 * 2048] = ISO[ROOT : ROOT + 68] + record(
        b"OVF_ENV.XML;1", 5, at=91 * 2048
    ).ljust(2048 - 68, b"\0")
    image[91 * 2048 : 91 * 2048 + 5] = b"<xml>"
    assert read(iso9660.read_files, bytes(image)) == {"ovf-env.xml": b"<xml>"}


def test_an_iso_file_in_two_extents_is_joined() -> None:
    first = record(b"OVF_ENV.XML;1", 2048, flags=128)
    second = record(b"OVF_ENV.XML;1", 952, at=FILE + 2 * 2048)
    assert read(iso9660.read_files, plain(first, second)) == {
        "ovf-env.xml": CONTENT[:2048] + CONTENT[4096:] + bytes(48)
    }


@pytest.mark.parametrize(
    ("use", "more"),
    [
        (named(b"ovf-env.xml"), b""),
        (named(b"ovf-") + named(b"env.xml"), b""),
        (named(b"ovf-") + continued(0, 12), named(b"env.xml")),
        (named(b"ovf-env.xml") + b"ST\4\1" + named(b"after the end"), b""),
        (named(b"ovf-env.xml") + b"XX\3\1" + named(b"after an entry too short"), b""),
        (named(b"ovf-env.xml") + b"NM\xff\1\0", b""),  # longer than the area
        (b"NM\4\1" + b"CE\4\1" + named(b"ovf-env.xml"), b""),  # too short for their kind
    ],
)
def test_a_rock_ridge_name_is_collected_from_its_entries(use: bytes, more: bytes) -> None:
    image = plain(record(b"OTHER.;1", 5000, use=use), more=more)
    assert read(iso9660.read_files, image) == {"ovf-env.xml": CONTENT}


def test_continuations_of_a_name_that_do_not_end_are_refused() -> None:
    image = plain(record(b"OTHER.;1", 5000, use=continued(0, 28)), more=continued(0, 28))
    with pytest.raises(iso9660.Iso9660Error, match="continuations of a name do not end"):
        read(iso9660.read_files, image)


# UDF


def volume(change: Callable[[maker.Image], None]) -> bytes:
    """A volume with one small file, changed by `change`."""
    image = maker.Image()
    image.data[:] = maker.simple({"ovf-env.xml": (maker.short(5000, 100), CONTENT, 0)})
    image.block(100, CONTENT)
    change(image)
    return bytes(image.data)


def described(maps: bytes) -> Callable[[maker.Image], None]:
    return lambda image: image.describe(maps, 1, maker.long(maker.BLOCK, 0))


def poke(sector: int, at: int, new: bytes) -> Callable[[maker.Image], None]:
    """Change a descriptor, and its checksum and CRC with it."""

    def change(image: maker.Image) -> None:
        start = sector * maker.BLOCK
        old = bytearray(image.data[start : start + maker.BLOCK])
        old[at : at + len(new)] = new
        image.sector(sector, maker.sign_again(bytes(old)))

    return change


def sparable(packet: int, tables: int, size: int = 72, sectors: tuple[int, ...] = ()) -> bytes:
    rest = struct.pack("<HBxI", packet, tables, size)
    rest += b"".join(struct.pack("<I", sector) for sector in sectors)
    return maker.special_map(b"*UDF Sparable Partition", rest)


def metadata(main: int, mirror: int) -> bytes:
    rest = struct.pack("<III", main, mirror, 0xFFFFFFFF)
    return maker.special_map(b"*UDF Metadata Partition", rest)


def metadata_file(kind: int, descriptors: bytes) -> Callable[[maker.Image], None]:
    def change(image: maker.Image) -> None:
        described(metadata(50, 50))(image)
        image.block(50, maker.file_entry(50, 2048, descriptors, kind, file_type=250))

    return change


def endless_descriptors(image: maker.Image) -> None:
    """A pointer that leads to itself, in both sequences."""
    pointer = bytes(16) + struct.pack("<III", 1, 2048, 32) + bytes(480)
    image.sector(32, maker.sign(pointer, 3, 32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (poke(33, 212, b"\0\4"), "the logical blocks are 1024 bytes long"),
        (poke(33, 0, b"\7"), "no logical volume"),
        (endless_descriptors, "more than 64 volume descriptors"),
        (described(struct.pack("<BBH", 1, 4, 0)), "a partition map has the type 1 and 4 bytes"),
        (described(b"\3\6" + bytes(4)), "a partition map has the type 3 and 6 bytes"),
        (described(maker.plain_map(9)), "partition 9 is used, but no descriptor says where it is"),
        (poke(303, 20, b"\0\x10"), "a file entry has the strategy 4096, not 4"),
        (poke(303, 0, b"\7\1"), "a file entry has the tag 263"),
        (described(sparable(0, 1)), "packets of 0 blocks"),
        (described(sparable(32, 0)), "0 sparing tables of 72 bytes"),
        (described(sparable(32, 5)), "5 sparing tables of 72 bytes"),
        (described(sparable(32, 1, 2**20 + 1)), "1 sparing tables of 1048577 bytes"),
        (metadata_file(3, b"inside"), "allocation descriptors of the kind 3"),
        (metadata_file(0, b""), "after the end of the metadata partition"),
    ],
)
def test_udf_structures_that_cannot_be_used_say_why(
    change: Callable[[maker.Image], None], says: str
) -> None:
    with pytest.raises(UdfError, match=says):
        read(udf.read_files, volume(change))


def test_a_volume_descriptor_pointer_is_followed() -> None:
    def change(image: maker.Image) -> None:
        logical = bytes(image.data[33 * 2048 : 34 * 2048])
        image.sector(60, logical)
        image.sector(
            33, maker.sign(bytes(16) + struct.pack("<III", 1, 4096, 60) + bytes(480), 3, 33)
        )

    assert read(udf.read_files, volume(change)) == {"ovf-env.xml": CONTENT}


def test_a_volume_descriptor_sequence_may_fill_its_extent() -> None:
    extent = struct.pack("<II", 2 * 2048, 32)  # the partition and the logical volume, no terminator
    anchor = maker.sign(bytes(16) + extent + extent + bytes(480), 2, 256)
    image = volume(lambda image: image.sector(256, anchor))
    assert read(udf.read_files, image) == {"ovf-env.xml": CONTENT}


def test_the_reserve_sequence_is_read_if_the_main_one_is_damaged() -> None:
    def change(image: maker.Image) -> None:
        for sector in (32, 33, 34):
            start = sector * 2048
            image.sector(sector + 30, bytes(image.data[start : start + 2048]))
        image.data[32 * 2048 + 200] ^= 1
        extents = struct.pack("<IIII", 16 * 2048, 32, 16 * 2048, 62)
        image.sector(256, maker.sign(bytes(16) + extents + bytes(480), 2, 256))

    assert read(udf.read_files, volume(change)) == {"ovf-env.xml": CONTENT}


def test_a_damaged_anchor_leads_to_the_next_one() -> None:
    def change(image: maker.Image) -> None:
        at = len(image.data) // 2048 - 1
        anchor = image.data[256 * 2048 + 16 : 256 * 2048 + 512]
        image.sector(at, maker.sign(bytes(16) + anchor, 2, at))
        image.data[256 * 2048 + 100] ^= 1

    assert read(udf.read_files, volume(change)) == {"ovf-env.xml": CONTENT}


def test_an_extent_of_no_bytes_ends_a_file() -> None:
    ends = maker.short(2048, 100) + maker.short(0, 0) + maker.short(2952, 110)
    image = maker.simple({"ovf-env.xml": (ends, CONTENT, 0)}, more={100: CONTENT[:2048]})
    with pytest.raises(UdfError, match="a file is 5000 bytes long, but 2048 are on the medium"):
        read(udf.read_files, image)


def sparing_table(*pairs: tuple[int, int]) -> bytes:
    body = b"".join(struct.pack("<II", block, sector) for block, sector in pairs)
    head = (
        bytes(16) + b"\0*UDF Sparing Table".ljust(32, b"\0") + struct.pack("<HHI", len(pairs), 0, 1)
    )
    return maker.sign(head + body, 0, 0)


@pytest.mark.parametrize("first", [b"damaged", bytes(2048)])
def test_a_packet_that_went_bad_is_read_from_its_substitute(first: bytes) -> None:
    """Blocks 96 to 127 lie in sectors 400 to 431 no longer; the first table is damaged."""

    def change(image: maker.Image) -> None:
        described(sparable(32, 2, sectors=(50, 51)))(image)
        image.sector(50, first)
        image.sector(51, sparing_table((96, 500), (0xFFFFFFFF, 540)))
        image.sector(500 + 4, CONTENT)
        image.block(100, b"bad".ljust(5000, b"?"))

    assert read(udf.read_files, volume(change)) == {"ovf-env.xml": CONTENT}


def test_without_a_readable_sparing_table_no_packet_is_moved() -> None:
    def change(image: maker.Image) -> None:
        described(sparable(32, 2, sectors=(50, 2**31)))(image)
        image.sector(50, b"damaged")

    assert read(udf.read_files, volume(change)) == {"ovf-env.xml": CONTENT}


def test_udf_names_of_16_bit_characters_are_decoded() -> None:
    files = {"Ωmega": (b"<xml>", b"<xml>", 3)}
    assert read(udf.read_files, maker.simple(files), ("ωMEGA",)) == {"ωMEGA": b"<xml>"}


def test_a_descriptor_with_a_wrong_checksum_is_refused() -> None:
    image = bytearray(volume(lambda image: None))
    image[300 * 2048 + 4] ^= 1  # the file set's
    with pytest.raises(UdfError, match="the checksum of a descriptor with the tag 256 is wrong"):
        read(udf.read_files, bytes(image))


@pytest.mark.parametrize(
    ("identifiers", "truth"),
    [
        ((b"BEA01", b"NSR02", b"TEA01"), True),
        ((b"CD001", b"BEA01", b"NSR03"), True),
        ((b"CD001", b"junk."), False),
        ((b"CD001",) * 16, False),  # the sequence does not end
    ],
)
def test_udf_is_announced_in_the_recognition_sequence(
    identifiers: tuple[bytes, ...], truth: bool
) -> None:
    sectors = b"".join((b"\0" + identifier).ljust(2048, b"\0") for identifier in identifiers)
    image = bytes(32768) + sectors + bytes(2048)
    assert udf.is_udf(lambda offset, length: image[offset : offset + length], len(image)) is truth
