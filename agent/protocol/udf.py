"""A few files from the root folder of a UDF medium, revisions 1.02 to 2.60.

Strategy: volume -> root folder -> files, each structure read once through a counting `Reader`.
Paragraphs are those of ECMA-167 3rd edition and OSTA UDF 2.60.
"""

from agent.protocol.medium import MAX_FILE, Reader, number
from agent.protocol.udf_descriptor import (
    DESCRIPTOR_SIZE,
    EMBEDDED,
    NAME,
    UdfError,
    allocation,
    checked,
    text,
)
from agent.protocol.udf_volume import RECORDED, Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_DIRECTORY = 256 * 1024  # bytes: some thousand entries; a provisioning medium has five
_IS_DIRECTORY, _IS_DELETED, _IS_PARENT = 2, 4, 8


def read_files(
    read: "Callable[[int, int], bytes]", size: int, names: "tuple[str, ...]"
) -> "dict[str, bytes]":
    """Return name -> content of the files in the root folder that are in `names`.

    Names are compared without case and returned as in `names`. `read(offset, length)` gives bytes
    of the medium, `size` is its length in bytes. Raises MediumError.
    """
    volume = Volume(Reader(read, size))
    wanted = {name.lower(): name for name in names}
    found: dict[str, bytes] = {}
    for name, block, partition in _root_folder(volume):
        wanted_name = wanted.get(name.lower())
        if wanted_name is not None and wanted_name not in found:
            found[wanted_name] = _file(volume, block, partition, MAX_FILE)
    return found


def is_udf(read: "Callable[[int, int], bytes]", size: int) -> bool:
    """Return whether the volume recognition sequence announces UDF (ECMA-167 2/8.3 and 3/9.1)."""
    for offset in range(32768, min(32768 + 16 * 2048, size - 5), 2048):
        identifier = read(offset, 6)[1:]
        if identifier in (b"NSR02", b"NSR03"):
            return True
        if identifier not in (b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01"):
            return False
    return False


def _root_folder(volume: Volume) -> "Iterator[tuple[str, int, int]]":
    """Yield (name, block, partition) of every file in the root folder."""
    data = _file(volume, *volume.root, _MAX_DIRECTORY)
    at = 0
    while at < len(data):
        length = 38 + number(data, at + 19, 1) + number(data, at + 36, 2)
        padded = (length + 3) // 4 * 4
        entry = checked(data[at : at + padded], NAME)
        if not entry[18] & (_IS_DIRECTORY | _IS_DELETED | _IS_PARENT):
            name = text(entry[length - entry[19] : length])
            yield name, number(entry, 24, 4), number(entry, 28, 2)
        at += padded


def _file(volume: Volume, block: int, partition: int, limit: int) -> bytes:
    """Return the content of the file whose ICB is at `block`, at most `limit` bytes."""
    entry = volume.entry(partition, block)
    size = number(entry, 56, 8)
    if size > limit:
        raise UdfError(f"a file is {size} bytes long; the limit is {limit}")
    kind, listed = allocation(entry)
    if kind == EMBEDDED:
        content = listed
    elif kind in DESCRIPTOR_SIZE:
        content = b"".join(_content(volume, listed, kind, partition, size))
    else:
        raise UdfError(f"a file has allocation descriptors of the kind {kind}")
    if len(content) < size:
        raise UdfError(f"a file is {size} bytes long, but {len(content)} are on the medium")
    return content[:size]


def _content(
    volume: Volume, listed: bytes, kind: int, partition: int, size: int
) -> "Iterator[bytes]":
    for extent_kind, length, block, home in volume.extents(listed, kind, partition):
        if size <= 0:
            return
        here = min(length, size)
        size -= here
        yield volume.read(home, block, here) if extent_kind == RECORDED else bytes(here)
