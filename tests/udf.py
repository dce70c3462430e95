"""Writes small UDF images with the structures that no tool at hand writes.

These are a metadata partition, files in several extents, and continued descriptors. Blocks have
2048 bytes; the partition starts at sector 300. Everything is laid out as ECMA-167 and UDF 2.60 say,
with right checksums, which `sign` renews after a change.
"""

import binascii
import struct

BLOCK = 2048
START = 300  # first sector of the partition
FILE_ENTRY, EXTENDED_FILE_ENTRY = 261, 266


def sign(descriptor: bytes, tag: int, at: int) -> bytes:
    """A descriptor with its tag in front.

    `descriptor` starts with 16 bytes of room for it; `at` is the block it lies in.
    """
    body = descriptor[16:]
    head = struct.pack("<HHBBHHHI", tag, 3, 0, 0, 1, binascii.crc_hqx(body, 0), len(body), at)
    return head[:4] + bytes([(sum(head) - head[4]) & 255]) + head[5:] + body


def sign_again(descriptor: bytes) -> bytes:
    """A descriptor whose body was changed, with a checksum and CRC that agree."""
    tag, length, at = (
        *struct.unpack_from("<H", descriptor),
        struct.unpack_from("<H", descriptor, 10)[0],
        struct.unpack_from("<I", descriptor, 12)[0],
    )
    return (
        sign(descriptor[: 16 + min(length, len(descriptor) - 16)], tag, at)
        + descriptor[16 + length :]
    )


def short(length: int, block: int, kind: int = 0) -> bytes:
    return struct.pack("<II", length | kind << 30, block)


def long(length: int, block: int, partition: int = 0, kind: int = 0) -> bytes:
    return struct.pack("<IIH6x", length | kind << 30, block, partition)


def extended(length: int, block: int, partition: int = 0) -> bytes:
    return struct.pack("<IIIIH2x", length, length, length, block, partition)


def file_entry(
    at: int,
    size: int,
    descriptors: bytes,
    kind: int,
    *,
    tag: int = FILE_ENTRY,
    file_type: int = 5,
    attributes: bytes = b"",
) -> bytes:
    """A file entry whose allocation descriptors are of `kind`.

    0 is short, 1 long, 2 extended, 3 the content itself.
    """
    fixed, lengths = (176, 168) if tag == FILE_ENTRY else (216, 208)
    entry = bytearray(fixed)
    entry[16:36] = struct.pack("<IHHHBB6sH", 0, 4, 0, 1, 0, file_type, bytes(6), kind)
    struct.pack_into("<Q", entry, 56, size)
    struct.pack_into("<II", entry, lengths, len(attributes), len(descriptors))
    return sign(bytes(entry) + attributes + descriptors, tag, at)


def name_entry(
    at: int, name: str, block: int, partition: int = 0, characteristics: int = 0
) -> bytes:
    wide = any(ord(character) > 255 for character in name)
    identifier = (
        (b"\x10" + name.encode("utf-16-be") if wide else b"\x08" + name.encode("latin-1"))
        if name
        else b""
    )
    entry = (
        bytes(16)
        + struct.pack("<HBB", 1, characteristics, len(identifier))
        + long(BLOCK, block, partition)
        + struct.pack("<H", 0)
        + identifier
    )
    return sign(entry + bytes(-len(entry) % 4), 257, at)


class Image:
    """An image under construction: put blocks into the partition, then `build`."""

    def __init__(self, sectors: int = 600) -> None:
        self.data = bytearray(sectors * BLOCK)

    def sector(self, number: int, content: bytes) -> None:
        self.data[number * BLOCK : number * BLOCK + len(content)] = content

    def block(self, number: int, content: bytes) -> None:
        self.sector(START + number, content)

    def describe(self, maps: bytes, count: int, file_set: bytes) -> None:
        """Recognition sequence, anchor, and the volume descriptors with these partition maps.

        `file_set` is the file set's long_ad.
        """
        for number, identifier in enumerate((b"BEA01", b"NSR03", b"TEA01")):
            self.sector(16 + number, b"\0" + identifier + b"\1")
        extent = struct.pack("<II", 16 * BLOCK, 32)
        self.sector(256, sign(bytes(16) + extent + extent + bytes(480), 2, 256))
        partition = bytearray(512)
        struct.pack_into("<IHH", partition, 16, 1, 1, 0)
        struct.pack_into("<III", partition, 184, 1, START, len(self.data) // BLOCK - START)
        self.sector(32, sign(bytes(partition), 5, 32))
        logical = bytearray(440)
        struct.pack_into("<I", logical, 16, 2)
        struct.pack_into("<I", logical, 212, BLOCK)
        logical[248:264] = file_set
        struct.pack_into("<II", logical, 264, len(maps), count)
        self.sector(33, sign(bytes(logical) + maps, 6, 33))
        self.sector(34, sign(bytes(512), 8, 34))

    def file_set(self, at: int, root: bytes) -> bytes:
        """A file set descriptor whose root folder's ICB is the long_ad `root`."""
        descriptor = bytearray(512)
        descriptor[400:416] = root
        return sign(bytes(descriptor), 256, at)


def plain_map(partition: int = 0) -> bytes:
    return struct.pack("<BBHH", 1, 6, 1, partition)


def special_map(name: bytes, rest: bytes = b"") -> bytes:
    return (
        struct.pack("<BB2x", 2, 64)
        + b"\0"
        + name.ljust(23, b"\0")
        + bytes(8)
        + struct.pack("<HH", 1, 0)
        + rest
    ).ljust(64, b"\0")


def simple(
    files: dict[str, tuple[bytes, bytes, int]],
    *,
    more: dict[int, bytes] | None = None,
    tag: int = FILE_ENTRY,
) -> bytes:
    """An image with one plain partition; `more` holds further blocks.

    Files are name -> (allocation descriptors, the content that they lead to, their kind).
    """
    image = Image()
    image.describe(plain_map(), 1, long(BLOCK, 0))
    image.block(0, image.file_set(0, long(BLOCK, 1)))
    names = name_entry(2, "", 1, characteristics=10)
    for number, name in enumerate(files):
        names += name_entry(2, name, 3 + number)
    image.block(1, file_entry(1, len(names), short(len(names), 2), 0, file_type=4))
    image.block(2, names)
    for number, (descriptors, content, kind) in enumerate(files.values()):
        image.block(3 + number, file_entry(3 + number, len(content), descriptors, kind, tag=tag))
    for number, content in (more or {}).items():
        image.block(number, content)
    return bytes(image.data)


def with_metadata_partition(files: dict[str, bytes]) -> bytes:
    """An image as UDF 2.50 and later lay it out.

    Descriptors are in a metadata partition whose file has two extents, contents in the plain one.
    """
    image = Image()
    rest = struct.pack("<IIIIHB5x", 10, 11, 0xFFFFFFFF, 32, 32, 0)
    image.describe(
        plain_map() + special_map(b"*UDF Metadata Partition", rest), 2, long(BLOCK, 0, 1)
    )
    # Metadata blocks 0 and 1 are blocks 20 and 21 of the plain partition; those from 2 on are
    # blocks 40 and following.
    where = {block: 20 + block if block < 2 else 38 + block for block in range(12)}
    extents = short(2 * BLOCK, 20) + short(10 * BLOCK, 40)
    image.block(10, b"not the main metadata file")
    image.block(11, file_entry(11, 12 * BLOCK, extents, 0, tag=EXTENDED_FILE_ENTRY, file_type=251))
    image.block(where[0], image.file_set(0, long(BLOCK, 1, 1)))
    names = name_entry(2, "", 1, 1, characteristics=10)
    for number, name in enumerate(files):
        names += name_entry(2, name, 3 + number, 1)
    image.block(where[1], file_entry(1, len(names), names, 3, tag=EXTENDED_FILE_ENTRY, file_type=4))
    for number, content in enumerate(files.values()):
        image.block(
            where[3 + number],
            file_entry(
                3 + number,
                len(content),
                long(len(content), 100 + 10 * number, 0),
                1,
                tag=EXTENDED_FILE_ENTRY,
            ),
        )
        image.block(100 + 10 * number, content)
    return bytes(image.data)
