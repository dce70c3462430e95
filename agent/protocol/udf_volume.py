"""A UDF volume: from the anchor to its partitions and the blocks of its files.

Strategy: anchor -> volume descriptors -> partitions -> file set. An extent is resolved to bytes in
one place, `Volume.read`. It knows plain, sparable and metadata partitions; a virtual partition
(packet-written CD-R) is rejected by name. Paragraphs are those of ECMA-167 3rd edition and OSTA UDF
2.60.
"""

from agent.protocol import udf_descriptor as descriptors
from agent.protocol.medium import MediumError, Reader, number
from agent.protocol.udf_descriptor import DESCRIPTOR_SIZE, UdfError, allocation, checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # A partition: from (block, blocks) to pieces of the medium, (offset, length) in bytes.
    Pieces = Callable[[int, int], Iterator[tuple[int, int]]]

RECORDED = 0  # the kind of an extent whose content is on the medium (4/14.14.1.1)

_CONTINUED = 3  # the kind of an extent that holds more allocation descriptors
_SECTOR_SIZES = (2048, 512, 4096)
_MAX_DESCRIPTORS = 64  # in a volume descriptor sequence
_MAX_EXTENTS = 2048
_MAX_METADATA_EXTENTS = 16  # each read goes through all of them; a fresh medium has one
_MAX_SPARING_TABLE = 64 * 1024  # bytes: 8000 packets
_SPARING_TABLE = b"*UDF Sparing Table"


class Volume:
    """The logical volume of a medium; `root` is (block, partition) of the root folder's ICB.

    Raises MediumError if there is none, or it cannot be read.
    """

    def __init__(self, medium: Reader) -> None:
        self._medium = medium
        self._sector, anchor = _anchor(medium)
        starts: dict[int, int] = {}
        logical = b""
        for descriptor in self._descriptors(anchor):
            tag = number(descriptor, 0, 2)
            if tag == descriptors.PARTITION:
                starts[number(descriptor, 22, 2)] = number(descriptor, 188, 4)
            elif tag == descriptors.LOGICAL_VOLUME:
                logical = descriptor
        if not logical:
            raise UdfError("the medium has no logical volume")
        self._block = number(logical, 212, 4)
        if self._block not in _SECTOR_SIZES:
            raise UdfError(f"the logical blocks are {self._block} bytes long")
        self._partitions: "list[Pieces]" = []
        self._map_partitions(logical, starts)
        file_set = self.read(number(logical, 256, 2), number(logical, 252, 4), 512)
        checked(file_set, descriptors.FILE_SET)
        self.root = (number(file_set, 404, 4), number(file_set, 408, 2))

    def read(self, partition: int, block: int, length: int) -> bytes:
        """Return `length` bytes from the start of a block. Raises MediumError."""
        if partition >= len(self._partitions):
            raise UdfError(f"the volume has no partition {partition}")
        pieces = self._partitions[partition](block, -(-length // self._block))
        return b"".join(self._medium.at(offset, size) for offset, size in pieces)[:length]

    def entry(self, partition: int, block: int) -> bytes:
        """Return the file entry, plain or extended, in a block. Raises MediumError."""
        entry = self.read(partition, block, self._block)
        tag, strategy = number(entry, 0, 2), number(entry, 20, 2)
        if tag not in (descriptors.FILE, descriptors.EXTENDED_FILE):
            raise UdfError(f"a file entry has the tag {tag}")
        if strategy != 4:
            raise UdfError(f"a file entry has the strategy {strategy}, not 4")
        return checked(entry, tag)

    def extents(
        self, listed: bytes, kind: int, partition: int
    ) -> "Iterator[tuple[int, int, int, int]]":
        """Yield (kind, bytes, block, partition) of each extent in allocation descriptors.

        `kind` is that of the descriptors, a key of DESCRIPTOR_SIZE; `partition` is where they
        stand. Raises MediumError.
        """
        step, at = DESCRIPTOR_SIZE[kind], 0
        for _ in range(_MAX_EXTENTS):
            if at + step > len(listed):
                return
            word = number(listed, at, 4)
            length = word & 0x3FFFFFFF
            place = at + (12 if kind == 2 else 4)
            block = number(listed, place, 4)
            home = number(listed, place + 4, 2) if kind else partition
            if not length:
                return
            at += step
            if word >> 30 == _CONTINUED:
                data = self.read(home, block, min(length, self._block))
                checked(data, descriptors.ALLOCATION)
                listed, at = data[24 : 24 + number(data, 20, 4)], 0
            else:
                yield word >> 30, length, block, home
        raise UdfError(f"a file has more than {_MAX_EXTENTS} extents")

    def _descriptors(self, anchor: bytes) -> "list[bytes]":
        """Return the volume descriptors; the newest of a kind comes last.

        They are those of the main sequence, or of the reserve one if that cannot be read.
        """
        try:
            found = list(self._sequence(number(anchor, 20, 4), number(anchor, 16, 4)))
        except MediumError:
            found = list(self._sequence(number(anchor, 28, 4), number(anchor, 24, 4)))
        return sorted(found, key=lambda descriptor: number(descriptor, 16, 4))

    def _sequence(self, sector: int, length: int) -> "Iterator[bytes]":
        left = length // self._sector
        for _ in range(_MAX_DESCRIPTORS):
            if left <= 0:
                return
            descriptor = self._medium.at(sector * self._sector, self._sector)
            tag = number(descriptor, 0, 2)
            if tag in (0, descriptors.TERMINATOR):  # unrecorded, or the end
                return
            checked(descriptor, tag)
            sector, left = sector + 1, left - 1
            if tag == descriptors.POINTER:
                left, sector = number(descriptor, 20, 4) // self._sector, number(descriptor, 24, 4)
            else:
                yield descriptor
        raise UdfError(f"the medium has more than {_MAX_DESCRIPTORS} volume descriptors")

    def _map_partitions(self, logical: bytes, starts: "dict[int, int]") -> None:
        """Read the partition maps (ECMA-167 3/10.7, UDF 2.2.8 to 2.2.10)."""
        maps = logical[440 : 440 + number(logical, 264, 4)]
        at = 0
        while at + 2 <= len(maps):
            kind, length = maps[at], maps[at + 1]
            entry = maps[at : at + length]
            if kind == 1 and length == 6:
                self._partitions.append(self._plain(starts, number(entry, 4, 2)))
            elif kind == 2 and length == 64:
                self._partitions.append(self._special(starts, entry))
            else:
                raise UdfError(f"a partition map has the type {kind} and {length} bytes")
            at += length

    def _plain(self, starts: "dict[int, int]", partition: int) -> "Pieces":
        if partition not in starts:
            raise UdfError(f"partition {partition} is used, but no descriptor says where it is")
        base = starts[partition] * self._sector

        def pieces(block: int, blocks: int) -> "Iterator[tuple[int, int]]":
            yield base + block * self._block, blocks * self._block

        return pieces

    def _special(self, starts: "dict[int, int]", entry: bytes) -> "Pieces":
        name = entry[5:28].rstrip(b"\0").decode("latin-1")
        plain = self._plain(starts, number(entry, 38, 2))
        if name == "*UDF Metadata Partition":
            return self._metadata(plain, number(entry, 40, 4), number(entry, 44, 4))
        if name == "*UDF Sparable Partition":
            return self._sparable(plain, entry)
        raise UdfError(f"a partition of the kind {name!r} is not supported")

    def _metadata(self, plain: "Pieces", main: int, mirror: int) -> "Pieces":
        """Map the blocks of the metadata file, which lies in the plain partition (UDF 2.2.10)."""
        self._partitions.append(plain)
        home = len(self._partitions) - 1
        try:
            extents = self._metadata_extents(main, home)
        except MediumError:
            extents = self._metadata_extents(mirror, home)
        self._partitions.pop()

        def pieces(block: int, blocks: int) -> "Iterator[tuple[int, int]]":
            for start, count in extents:
                if block < count and blocks > 0:
                    here = min(count - block, blocks)
                    yield from plain(start + block, here)
                    block, blocks = block + here, blocks - here
                block = max(0, block - count)
            if blocks > 0:
                raise UdfError("a block lies after the end of the metadata partition")

        return pieces

    def _metadata_extents(self, block: int, home: int) -> "list[tuple[int, int]]":
        """Return (block, blocks) of each extent of the metadata file, in the plain partition."""
        kind, listed = allocation(self.entry(home, block))
        if kind not in DESCRIPTOR_SIZE:
            raise UdfError(f"the metadata file has allocation descriptors of the kind {kind}")
        extents = list(self.extents(listed, kind, home))
        if len(extents) > _MAX_METADATA_EXTENTS:
            raise UdfError(f"the metadata file has more than {_MAX_METADATA_EXTENTS} extents")
        return [(start, -(-length // self._block)) for _, length, start, _ in extents]

    def _sparable(self, plain: "Pieces", entry: bytes) -> "Pieces":
        """Map the packets that went bad to their substitutes (UDF 2.2.9, 2.2.12)."""
        packet = number(entry, 40, 2)
        if not packet:
            raise UdfError("a sparable partition has packets of 0 blocks")
        moved = self._moved(entry)

        def pieces(block: int, blocks: int) -> "Iterator[tuple[int, int]]":
            while blocks > 0:
                first = block // packet * packet
                here = min(first + packet - block, blocks)
                if first in moved:
                    offset = (moved[first] + block - first) * self._sector
                    yield offset, here * self._block
                else:
                    yield from plain(block, here)
                block, blocks = block + here, blocks - here

        return pieces

    def _moved(self, entry: bytes) -> "dict[int, int]":
        """Return first block -> sector of each packet in the first readable sparing table."""
        count, size = number(entry, 42, 1), number(entry, 44, 4)
        if not 1 <= count <= 4 or size > _MAX_SPARING_TABLE:
            raise UdfError(f"a sparable partition has {count} sparing tables of {size} bytes")
        for index in range(count):
            sector = number(entry, 48 + 4 * index, 4)
            try:
                table = self._medium.at(sector * self._sector, size)
                checked(table, descriptors.SPARING_TABLE)
                # The tag of a sparing table is 0, so a sector of zeros has a valid one.
                if table[17:40].rstrip(b"\0") != _SPARING_TABLE:
                    continue
                end = min(56 + 8 * number(table, 48, 2), len(table) - 7)
            except MediumError:
                continue
            pairs = ((number(table, at, 4), number(table, at + 4, 4)) for at in range(56, end, 8))
            return {packet: sector for packet, sector in pairs if packet < 0xFFFFFFF0}
        return {}


def _anchor(medium: Reader) -> "tuple[int, bytes]":
    """Return (sector size, anchor volume descriptor pointer).

    It is at sector 256, N - 256 or N (ECMA-167 3/8.4.2.1 and UDF 2.2.3).
    """
    for sector_size in _SECTOR_SIZES:
        sectors = medium.size // sector_size
        for sector in (256, sectors - 257, sectors - 256, sectors - 1):
            if 0 <= sector < sectors:
                data = medium.at(sector * sector_size, 512)
                if number(data, 0, 2) == descriptors.ANCHOR and number(data, 12, 4) == sector:
                    try:
                        return sector_size, checked(data, descriptors.ANCHOR)
                    except MediumError:
                        continue
    raise UdfError("the medium has no UDF anchor")
