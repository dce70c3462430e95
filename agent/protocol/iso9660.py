"""A few files from the root folder of an ISO 9660 medium (ECMA-119; Joliet; SUSP and RRIP 1.12).

Strategy: there is one descriptor set at sector 16, and one root folder each for plain and Joliet
names. A record counts if any of its names matches: the Rock Ridge name, the Joliet name, or the
plain one as ISO 9660 would spell the wanted name. Everything is read through a counting `Reader`.
"""

from agent.protocol.medium import MAX_FILE, MediumError, Reader, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECTOR = 2048  # bytes
_FIRST = 16  # sector of the first volume descriptor
_MAX_DESCRIPTORS = 16
_MAX_DIRECTORY = 256 * 1024  # bytes: some thousand entries; a provisioning medium has five
_MAX_CONTINUATIONS = 32
_PRIMARY, _SUPPLEMENTARY, _TERMINATOR = 1, 2, 255
_JOLIET = (b"%/@", b"%/C", b"%/E")
_IS_DIRECTORY, _IS_ASSOCIATED, _GOES_ON = 2, 4, 128


class Iso9660Error(MediumError):
    """The medium is not ISO 9660, or it cannot be read."""


def read_files(
    read: "Callable[[int, int], bytes]", size: int, names: "tuple[str, ...]"
) -> "dict[str, bytes]":
    """Return name -> content of the files in the root folder that are in `names`.

    Names are compared without case and returned as in `names`. `read(offset, length)` gives bytes
    of the medium, `size` is its length in bytes. Raises MediumError.
    """
    medium = Reader(read, size)
    spellings = {spelling: name for name in names for spelling in _spellings(name)}
    found: dict[str, bytes] = {}
    for root, joliet in _roots(medium):
        for entry_names, extents in _files(medium, root, joliet=joliet):
            name = next(
                (spellings[spelling] for spelling in entry_names if spelling in spellings), None
            )
            if name is not None and name not in found:
                found[name] = _content(medium, extents)
    return found


def _roots(medium: Reader) -> "list[tuple[bytes, bool]]":
    """Return (root folder's record, whether its names are Joliet's) of each volume descriptor."""
    roots: list[tuple[bytes, bool]] = []
    for sector in range(_FIRST, _FIRST + _MAX_DESCRIPTORS):
        descriptor = medium.at(sector * _SECTOR, _SECTOR)
        if descriptor[1:6] != b"CD001":
            if sector == _FIRST or not roots:
                raise Iso9660Error("the medium has no volume descriptor of ISO 9660")
            break  # the set should end with a terminator; some do not
        if descriptor[0] == _TERMINATOR:
            break
        joliet = descriptor[0] == _SUPPLEMENTARY and descriptor[88:91] in _JOLIET
        if descriptor[0] == _PRIMARY or joliet:
            block = number(descriptor, 128, 2)
            if block != _SECTOR:
                raise Iso9660Error(f"the logical blocks are {block} bytes long, not {_SECTOR}")
            roots.append((descriptor[156:190], joliet))
    if not roots:
        raise Iso9660Error("the medium has no primary volume")
    return roots


def _files(
    medium: Reader, root: bytes, *, joliet: bool
) -> "Iterator[tuple[list[str], list[tuple[int, int]]]]":
    """Yield (spellings of the name, [(offset, length) in bytes]) of each file in a folder."""
    size = number(root, 10, 4)
    if size > _MAX_DIRECTORY:
        raise Iso9660Error(f"the root folder is {size} bytes long; the limit is {_MAX_DIRECTORY}")
    skip = 0
    pending: list[tuple[int, int]] = []
    for index, record in enumerate(_records(medium.at(_extent(root), size))):
        name = record[33 : 33 + record[32]]
        use = record[33 + record[32] + (record[32] % 2 == 0) :]
        if index == 0:
            skip = use[6] if use[:2] == b"SP" and len(use) >= 7 else 0
        flags = record[25]
        if flags & (_IS_DIRECTORY | _IS_ASSOCIATED) or name in (b"\0", b"\1"):
            continue
        if record[26] or record[27]:
            raise Iso9660Error("interleaved files are not supported")
        pending.append((_extent(record), number(record, 10, 4)))
        if flags & _GOES_ON:
            continue
        extents, pending = pending, []
        plain = _joliet_name(name) if joliet else name.decode("latin-1")
        names = [plain.partition(";")[0].rstrip(".").lower()]
        if not joliet and (long_name := _rock_ridge_name(medium, use[skip:])):
            names.insert(0, long_name.lower())
        yield names, extents


def _records(folder: bytes) -> "Iterator[bytes]":
    """Yield the records of a folder; none crosses a sector, whose rest is zeros."""
    at = 0
    while at < len(folder):
        length = folder[at]
        if not length:
            at = (at // _SECTOR + 1) * _SECTOR
            continue
        record = folder[at : at + length]
        if length < 34 or len(record) < length or 33 + record[32] > length:
            raise Iso9660Error("a folder holds a record that is too short for its content")
        yield record
        at += length


def _content(medium: Reader, extents: "list[tuple[int, int]]") -> bytes:
    size = sum(length for _, length in extents)
    if size > MAX_FILE:
        raise Iso9660Error(f"a file is {size} bytes long; the limit is {MAX_FILE}")
    return b"".join(medium.at(offset, length) for offset, length in extents)


def _extent(record: bytes) -> int:
    return (number(record, 2, 4) + number(record, 1, 1)) * _SECTOR


def _rock_ridge_name(medium: Reader, use: bytes) -> str:
    """Return the name in the NM entries of a record's system use area, "" without any.

    The area may be continued elsewhere (SUSP 5.1, RRIP 4.1.4).
    """
    pieces = []
    for _ in range(_MAX_CONTINUATIONS):
        following: "tuple[int, int] | None" = None
        at = 0
        while at + 4 <= len(use):
            kind, length = use[at : at + 2], use[at + 2]
            if length < 4 or at + length > len(use):
                break
            if kind == b"NM" and length >= 5:
                pieces.append(use[at + 5 : at + length])
            elif kind == b"CE" and length >= 28:
                offset = number(use, at + 4, 4) * _SECTOR + number(use, at + 12, 4)
                following = (offset, number(use, at + 20, 4))
            elif kind == b"ST":
                break
            at += length
        if following is None:
            return b"".join(pieces).decode("utf-8", "replace")
        use = medium.at(following[0], min(following[1], _SECTOR))
    raise Iso9660Error("the continuations of a name do not end")


def _joliet_name(name: bytes) -> str:
    pairs = zip(name[::2], name[1::2], strict=False)
    return "".join(chr(high << 8 | low) for high, low in pairs)


def _spellings(name: str) -> "set[str]":
    """Return how a name may be spelled on the medium, in lower case.

    That is as it is, in the characters of ISO 9660, and truncated to 8.3 (ECMA-119 7.5).
    """
    mapped = "".join(
        character if character.isalnum() or character == "." else "_" for character in name.lower()
    )
    base, _, extension = mapped.rpartition(".")
    return {name.lower(), mapped, f"{base[:8]}.{extension[:3]}"}
