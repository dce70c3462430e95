"""Makes an executable of another one and of what it had in memory (elf(5)).

The file stays what the linker made, but for its last segment, which is longer: it holds what the
variables and the heap had become. No segment is added, and none changes its protection.
"""

import io
import struct
from collections.abc import Iterator

from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import Segment

PAGE = 4096


class UnsuitableError(Exception):
    """The file or the memory is not as it must be; `str(error)` says why."""


def records(memory: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the addresses and contents that dump.c wrote; an empty one ends the memory."""
    at = 0
    while at < len(memory):
        address, size = struct.unpack_from("<QQ", memory, at)
        yield address, memory[at + 16 : at + 16 + size]
        at += 16 + size


def put(memory: bytes, file: bytes) -> bytes:
    """Return `file`, a static executable, with `memory` in its last segment.

    Section headers are left out. Raises UnsuitableError.
    """
    elf = ELFFile(io.BytesIO(file))
    if elf["e_type"] != "ET_EXEC" or elf.elfclass != 64 or not elf.little_endian:
        raise UnsuitableError("it is not an executable of 64 bits for fixed addresses")
    at, segment = _last(elf)
    start, size = segment["p_offset"], segment["p_filesz"]
    first, limit = segment["p_vaddr"], segment["p_vaddr"] + segment["p_memsz"]
    content = bytearray(file[start : start + size])
    for address, data in records(memory):
        if not first <= address <= address + len(data) <= limit:
            raise UnsuitableError(f"{address:#x} is outside of the writable segment")
        if not data:
            limit = address
            break
        content.extend(bytes(max(0, address - first + len(data) - len(content))))
        content[address - first : address - first + len(data)] = data
    else:
        raise UnsuitableError("the memory is cut off")
    while content.endswith(bytes(PAGE)):
        del content[-PAGE:]
    result = bytearray(file[:start] + content)
    header = elf["e_phoff"] + at * elf["e_phentsize"]
    # struct Elf64_Phdr: p_filesz and p_memsz; struct Elf64_Ehdr: e_shoff, e_shentsize to e_shstrndx
    struct.pack_into("<QQ", result, header + 32, len(content), limit - first)
    struct.pack_into("<Q", result, 40, 0)
    struct.pack_into("<HHH", result, 58, 64, 0, 0)
    return bytes(result)


def _last(elf: ELFFile) -> tuple[int, Segment]:
    """Return number and segment of the writable one that ends the file."""
    loaded = [
        (at, segment)
        for at, segment in enumerate(elf.iter_segments())
        if segment["p_type"] == "PT_LOAD"
    ]
    at, last = max(loaded, key=lambda pair: pair[1]["p_offset"])
    if not last["p_flags"] & P_FLAGS.PF_W or last["p_flags"] & P_FLAGS.PF_X:
        raise UnsuitableError("its last segment is not the one of the variables")
    if last["p_vaddr"] != max(segment["p_vaddr"] for _, segment in loaded):
        raise UnsuitableError("its segments are not in the order of their addresses")
    return at, last
