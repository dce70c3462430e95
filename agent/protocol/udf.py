"""UDF 1.02 to 2.60, read just so far as to get a few files out of the root folder (ECMA-167 3rd edition; OSTA UDF 2.60).

Strategy: anchor -> volume descriptors -> partitions and file set -> root folder -> files, each structure read once through a counting `Medium`. An
extent is resolved to bytes in one place (`_Volume.read`), which knows plain, sparable and metadata partitions; a virtual partition (packet-written
CD-R) is refused by name. Descriptor tags are checked by checksum and CRC, so junk is told from UDF early.
"""

from binascii import crc_hqx

from agent.protocol.medium import MAX_FILE, Medium, MediumError, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # What a partition is: from (block, blocks) to pieces of the medium, (offset, length) in bytes.
    Pieces = Callable[[int, int], Iterator[tuple[int, int]]]

_SECTOR_SIZES = (2048, 512, 4096)
_MAX_DESCRIPTORS = 64  # in a volume descriptor sequence
_MAX_EXTENTS = 2048
_MAX_DIRECTORY = 1024 * 1024  # bytes
_TAG = 16  # bytes

# Tag identifiers: ECMA-167 3/7.2.1 and 4/7.2.1.
_ANCHOR, _POINTER, _PARTITION, _LOGICAL_VOLUME, _TERMINATOR = 2, 3, 5, 6, 8
_FILE_SET, _NAME, _ALLOCATION, _FILE, _EXTENDED_FILE = 256, 257, 258, 261, 266
_SPARING_TABLE = 0
# Kinds of allocation descriptors, the low three bits of the ICB flags (4/14.6.8), and their sizes in bytes.
_EMBEDDED = 3
_DESCRIPTOR_SIZE = {0: 8, 1: 16, 2: 20}
# Kinds of extents, the high two bits of their length (4/14.14.1.1).
_RECORDED, _CONTINUED = 0, 3
_IS_DIRECTORY, _IS_DELETED, _IS_PARENT = 2, 4, 8


class UdfError(MediumError):
    """This is no UDF, or one that cannot be read."""


def read_files(
    read: "Callable[[int, int], bytes]", size: int, names: "tuple[str, ...]"
) -> "dict[str, bytes]":
    """The files of the root folder that are in `names` (compared without case), name as in `names` -> content.

    `read(offset, length)` gives bytes of the medium, `size` is its length in bytes. Raises MediumError.
    """
    medium = Medium(read, size)
    volume = _Volume(medium)
    wanted = {name.lower(): name for name in names}
    found: dict[str, bytes] = {}
    for name, block, partition in volume.root_folder():
        wanted_name = wanted.get(name.lower())
        if wanted_name is not None and wanted_name not in found:
            found[wanted_name] = volume.file(block, partition, MAX_FILE)
    return found


def is_udf(read: "Callable[[int, int], bytes]", size: int) -> bool:
    """Whether the volume recognition sequence announces UDF (ECMA-167 2/8.3 and 3/9.1)."""
    for offset in range(32768, min(32768 + 16 * 2048, size - 5), 2048):
        identifier = read(offset, 6)[1:]
        if identifier in (b"NSR02", b"NSR03"):
            return True
        if identifier not in (b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01"):
            return False
    return False


class _Volume:
    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._sector, anchor = _anchor(medium)
        starts: dict[int, int] = {}
        logical = b""
        for descriptor in self._descriptors(anchor):
            tag = number(descriptor, 0, 2)
            if tag == _PARTITION:
                starts[number(descriptor, 22, 2)] = number(descriptor, 188, 4)
            elif tag == _LOGICAL_VOLUME:
                logical = descriptor
        if not logical:
            raise UdfError("there is no logical volume on the medium")
        self._block = number(logical, 212, 4)
        if self._block not in _SECTOR_SIZES:
            raise UdfError(f"the logical blocks have {self._block} bytes")
        self._partitions: "list[Pieces]" = []
        self._map_partitions(logical, starts)
        file_set_block, file_set_partition = number(logical, 252, 4), number(logical, 256, 2)
        file_set = _checked(self._read(file_set_partition, file_set_block, 512), _FILE_SET)
        self._root = (number(file_set, 404, 4), number(file_set, 408, 2))

    def root_folder(self) -> "Iterator[tuple[str, int, int]]":
        """(name, block, partition) of every file in the root folder."""
        data = self.file(*self._root, _MAX_DIRECTORY)
        at = 0
        while at < len(data):
            entry = data[at:]
            length = 38 + number(entry, 19, 1) + number(entry, 36, 2)
            padded = (length + 3) // 4 * 4
            _checked(entry[:padded], _NAME)
            kind = entry[18]
            if not kind & (_IS_DIRECTORY | _IS_DELETED | _IS_PARENT):
                yield (
                    _name(entry[length - entry[19] : length]),
                    number(entry, 24, 4),
                    number(entry, 28, 2),
                )
            at += padded

    def file(self, block: int, partition: int, limit: int) -> bytes:
        """The content of the file whose ICB is at `block`. Raises UdfError if it has more than `limit` bytes."""
        entry = self._entry(partition, block)
        size = number(entry, 56, 8)
        if size > limit:
            raise UdfError(f"a file has {size} bytes; the limit is {limit}")
        kind, descriptors = _allocation(entry)
        if kind == _EMBEDDED:
            content = descriptors
        elif kind in _DESCRIPTOR_SIZE:
            content = b"".join(self._content(descriptors, kind, partition, size))
        else:
            raise UdfError(f"a file has allocation descriptors of kind {kind}")
        if len(content) < size:
            raise UdfError(f"a file has {size} bytes, of which {len(content)} are on the medium")
        return content[:size]

    def _entry(self, partition: int, block: int) -> bytes:
        """The file entry, plain or extended, in a block."""
        entry = self._read(partition, block, self._block)
        tag = number(entry, 0, 2)
        if tag not in (_FILE, _EXTENDED_FILE):
            raise UdfError(f"a file entry has the tag {tag}")
        if number(entry, 20, 2) != 4:
            raise UdfError(f"a file entry has the strategy {number(entry, 20, 2)}, not 4")
        return _checked(entry, tag)

    def _content(
        self, descriptors: bytes, kind: int, partition: int, size: int
    ) -> "Iterator[bytes]":
        for extent_kind, length, block, home in self._extents(descriptors, kind, partition):
            if size <= 0:
                return
            here = min(length, size)
            size -= here
            yield self._read(home, block, here) if extent_kind == _RECORDED else bytes(here)

    def _extents(
        self, descriptors: bytes, kind: int, partition: int
    ) -> "Iterator[tuple[int, int, int, int]]":
        """(kind, bytes, block, partition) of each extent that allocation descriptors list, across their continuations."""
        step, at = _DESCRIPTOR_SIZE[kind], 0
        for _ in range(_MAX_EXTENTS):
            if at + step > len(descriptors):
                return
            word = number(descriptors, at, 4)
            length = word & 0x3FFFFFFF
            place = at + (12 if kind == 2 else 4)
            block = number(descriptors, place, 4)
            home = number(descriptors, place + 4, 2) if kind else partition
            if not length:
                return
            at += step
            if word >> 30 == _CONTINUED:
                data = _checked(self._read(home, block, min(length, self._block)), _ALLOCATION)
                descriptors, at = data[24 : 24 + number(data, 20, 4)], 0
            else:
                yield word >> 30, length, block, home
        raise UdfError(f"a file has more than {_MAX_EXTENTS} extents")

    def _read(self, partition: int, block: int, length: int) -> bytes:
        if partition >= len(self._partitions):
            raise UdfError(f"there is no partition {partition}")
        pieces = self._partitions[partition](block, -(-length // self._block))
        return b"".join(self._medium.at(offset, size) for offset, size in pieces)[:length]

    def _descriptors(self, anchor: bytes) -> "Iterator[bytes]":
        """The volume descriptors of the main sequence, or of the reserve one if the main one cannot be read; the newest of a kind comes last."""
        try:
            found = list(self._sequence(number(anchor, 20, 4), number(anchor, 16, 4)))
        except MediumError:
            found = list(self._sequence(number(anchor, 28, 4), number(anchor, 24, 4)))
        return iter(sorted(found, key=lambda descriptor: number(descriptor, 16, 4)))

    def _sequence(self, sector: int, length: int) -> "Iterator[bytes]":
        left = length // self._sector
        for _ in range(_MAX_DESCRIPTORS):
            if left <= 0:
                return
            descriptor = self._medium.at(sector * self._sector, self._sector)
            tag = number(descriptor, 0, 2)
            if tag in (0, _TERMINATOR):  # unrecorded, or the end
                return
            _checked(descriptor, tag)
            sector, left = sector + 1, left - 1
            if tag == _POINTER:
                left, sector = number(descriptor, 20, 4) // self._sector, number(descriptor, 24, 4)
            else:
                yield descriptor
        raise UdfError(f"there are more than {_MAX_DESCRIPTORS} volume descriptors")

    def _map_partitions(self, logical: bytes, starts: "dict[int, int]") -> None:
        """The partition maps (ECMA-167 3/10.7, UDF 2.2.8 to 2.2.10)."""
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
                raise UdfError(f"a partition map has type {kind} and {length} bytes")
            at += length

    def _plain(self, starts: "dict[int, int]", partition: int) -> "Pieces":
        if partition not in starts:
            raise UdfError(f"partition {partition} is used, but nothing says where it is")
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
        """Blocks of the metadata partition are blocks of the metadata file, which lies in the plain partition (UDF 2.2.10)."""
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
                raise UdfError("a block lies behind the end of the metadata partition")

        return pieces

    def _metadata_extents(self, block: int, home: int) -> "list[tuple[int, int]]":
        """(block, blocks) of each extent of the metadata file, in the plain partition."""
        entry = self._entry(home, block)
        kind, descriptors = _allocation(entry)
        if kind not in _DESCRIPTOR_SIZE:
            raise UdfError(f"the metadata file has allocation descriptors of kind {kind}")
        return [
            (extent, -(-length // self._block))
            for _, length, extent, _ in self._extents(descriptors, kind, home)
        ]

    def _sparable(self, plain: "Pieces", entry: bytes) -> "Pieces":
        """Packets that went bad are elsewhere; the sparing table says where (UDF 2.2.9, 2.2.12)."""
        packet, tables, size = number(entry, 40, 2), number(entry, 42, 1), number(entry, 44, 4)
        if not packet or not 1 <= tables <= 4 or size > _MAX_DIRECTORY:
            raise UdfError("the sparing tables are described in a way that cannot be")
        moved: dict[int, int] = {}
        for index in range(tables):
            try:
                table = _checked(
                    self._medium.at(number(entry, 48 + 4 * index, 4) * self._sector, size),
                    _SPARING_TABLE,
                )
            except MediumError:
                continue
            for at in range(56, min(56 + 8 * number(table, 48, 2), len(table) - 7), 8):
                if number(table, at, 4) < 0xFFFFFFF0:
                    moved[number(table, at, 4)] = number(table, at + 4, 4)
            break

        def pieces(block: int, blocks: int) -> "Iterator[tuple[int, int]]":
            while blocks > 0:
                first = block // packet * packet
                here = min(first + packet - block, blocks)
                if first in moved:
                    yield (moved[first] + block - first) * self._sector, here * self._block
                else:
                    yield from plain(block, here)
                block, blocks = block + here, blocks - here

        return pieces


def _allocation(entry: bytes) -> "tuple[int, bytes]":
    """(kind, bytes) of the allocation descriptors of a file entry or an extended one (ECMA-167 4/14.9, 4/14.17)."""
    fixed, lengths = (176, 168) if number(entry, 0, 2) == _FILE else (216, 208)
    start = fixed + number(entry, lengths, 4)
    return number(entry, 34, 2) & 7, entry[start : start + number(entry, lengths + 4, 4)]


def _anchor(medium: Medium) -> "tuple[int, bytes]":
    """(sector size, anchor volume descriptor pointer); ECMA-167 3/8.4.2.1 and UDF 2.2.3: at sector 256, N - 256 or N."""
    for sector_size in _SECTOR_SIZES:
        sectors = medium.size // sector_size
        for sector in (256, sectors - 257, sectors - 256, sectors - 1):
            if 0 <= sector < sectors:
                data = medium.at(sector * sector_size, 512)
                if number(data, 0, 2) == _ANCHOR and number(data, 12, 4) == sector:
                    try:
                        return sector_size, _checked(data, _ANCHOR)
                    except MediumError:
                        continue
    raise UdfError("there is no anchor of a UDF volume")


def _checked(data: bytes, tag: int) -> bytes:
    """`data` if it starts with a descriptor tag of the kind `tag` whose checksum and CRC are right (ECMA-167 3/7.2)."""
    head = data[:_TAG]
    if len(head) < _TAG or number(head, 0, 2) != tag:
        raise UdfError(f"a descriptor with the tag {tag} was expected")
    if (sum(head) - head[4]) & 255 != head[4]:
        raise UdfError(f"the checksum of a descriptor with the tag {tag} is wrong")
    length = number(head, 10, 2)
    if _TAG + length > len(data) or crc_hqx(data[_TAG : _TAG + length], 0) != number(head, 8, 2):
        raise UdfError(f"the CRC of a descriptor with the tag {tag} is wrong")
    return data


def _name(identifier: bytes) -> str:
    """OSTA compressed Unicode (UDF 2.1.1): one byte that says 8 or 16 bits, then the characters."""
    kind, characters = identifier[:1], identifier[1:]
    if kind == b"\x10":
        pairs = zip(characters[::2], characters[1::2], strict=False)
        return "".join(chr(high << 8 | low) for high, low in pairs)
    return characters.decode("latin-1")
