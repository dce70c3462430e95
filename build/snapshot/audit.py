"""What the snapshot changes in CPython's variables: everything on the list has been looked at.

`baked-variables` names the object files and their variables, static types among them, that are not
what the linker left when the snapshot is taken. A variable that is new on it may hold something of
the machine or the process that built the file: an address, a time, a descriptor. Whoever adds it
has made sure that it does not, or that dump.c and resume.c see to it.
"""

import bisect
import io
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from elftools.elf.elffile import ELFFile

from build.snapshot import image

LIST = pathlib.Path(__file__).with_name("baked-variables")
# A line of LLVM's map for an input section, or for a symbol in it: address, size, name.
_SECTION = re.compile(r" *([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+) +\d+ {9}(\S.*):\(\S+\)")
_SYMBOL = re.compile(r" *([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+) +\d+ {17}(\S.*)")
_MARKS = (
    ("begin.o:azready_data_begin", "end.o:azready_data_end"),
    ("begin.o:azready_bss_begin", "end.o:azready_bss_end"),
)
# The only variable of CPython in a section of its own.
_APART = "pylifecycle.o:_PyRuntime"
_C_LIBRARY = ("libc.a", "libcompiler_rt.a")


class Variable(NamedTuple):
    """A variable of the linked file: `name` is "object.o:variable", `archive` may be ""."""

    address: int
    size: int
    name: str
    archive: str


def listed() -> set[str]:
    """Return the names on the list."""
    return set(LIST.read_text().split())


def variables(link_map: str) -> list[Variable]:
    """Return the variables and functions in a map of the linker, by address."""
    found = []
    place = archive = ""
    for line in link_map.splitlines():
        if match := _SECTION.fullmatch(line):
            path, _, member = match[3].partition("(")
            archive = pathlib.Path(path).name if member else ""
            place = pathlib.Path(member.removesuffix(")") or path).name
        elif match := _SYMBOL.fullmatch(line):
            address, size = int(match[1], 16), int(match[2], 16)
            if size:
                found.append(Variable(address, size, f"{place}:{match[3]}", archive))
    return sorted(found)


def changed(known: Sequence[Variable], file: bytes, memory: bytes) -> set[str]:
    """Return the names of the variables that `memory` changes against `file`.

    `known` are those of `file`. The heap has no variables.
    """
    before = _reader(file)
    found = set()
    for address, data in image.records(memory):
        first, last = (bisect.bisect_left(known, (at,)) for at in (address, address + len(data)))
        for one in known[first:last]:
            now = data[one.address - address : one.address - address + one.size]
            if now != before(one.address, one.size):
                found.add(one.name)
    return found


def misplaced(known: Sequence[Variable]) -> list[str]:
    """Return variables that the snapshot holds although they are the C library's.

    And those of CPython's library that it does not hold. Names are as of `changed`.
    """
    names = [one.name for one in known]
    ranges = [(names.index(first), names.index(last)) for first, last in _MARKS]
    start = known[ranges[0][0]].address
    found = []
    for at, one in enumerate(known):
        inside = any(first <= at <= last for first, last in ranges) or one.name == _APART
        if one.address >= start and (
            (inside and one.archive in _C_LIBRARY)
            or (not inside and one.archive.startswith("libpython"))
        ):
            found.append(one.name)
    return found


def _reader(file: bytes) -> Callable[[int, int], bytes]:
    """Return a function that reads what an executable has at an address when it starts."""
    loaded = [
        (segment["p_vaddr"], segment["p_memsz"], segment.data())
        for segment in ELFFile(io.BytesIO(file)).iter_segments()
        if segment["p_type"] == "PT_LOAD"
    ]

    def read(address: int, size: int) -> bytes:
        for start, length, data in loaded:
            if start <= address < start + length:
                return bytes(data[address - start : address - start + size]).ljust(size, b"\0")
        raise image.UnsuitableError(f"{address:#x} is in no segment")

    return read
