"""Bounded reading of a medium that may lie, for the readers of optical file systems.

A medium is a function `read(offset, length) -> bytes`, which gives fewer bytes only at its end.
`Reader` counts the reads through it, so that loops and wrong lengths end in an error, whatever the
structure that causes them.
"""

from agent.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FILE = 1024 * 1024  # bytes of one wanted file
MAX_READS = 4096
MAX_BYTES = 8 * 1024 * 1024  # bytes in all: many times what a provisioning medium holds


class MediumError(ProtocolError):
    """The medium cannot be read as this file system."""


class Reader:
    """Reads through `read`, within MAX_READS and MAX_BYTES; `size` is the medium's, in bytes."""

    def __init__(self, read: "Callable[[int, int], bytes]", size: int) -> None:
        self.size = size
        self._read = read
        self._reads = 0
        self._bytes = 0

    def at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises MediumError if they are not on the medium, or if more is read than any honest medium
        needs.
        """
        self._reads += 1
        self._bytes += length
        if self._reads > MAX_READS or self._bytes > MAX_BYTES:
            raise MediumError("the structure of the medium does not end: a loop, or wrong lengths")
        if offset < 0 or length < 0 or offset + length > self.size:
            raise MediumError(
                f"the medium points to byte {offset + length}, but it ends at byte {self.size}"
            )
        data = self._read(offset, length)
        if len(data) != length:
            raise MediumError(
                f"the medium ends {length - len(data)} bytes early, at byte {offset + len(data)}"
            )
        return data


def number(data: bytes, at: int, size: int) -> int:
    """Return the unsigned little-endian number of `size` bytes at `at`.

    Raises MediumError if `data` ends before it.
    """
    if at < 0 or at + size > len(data):
        raise MediumError(
            f"a field at byte {at} lies after the end of its structure of {len(data)} bytes"
        )
    return int.from_bytes(data[at : at + size], "little")
