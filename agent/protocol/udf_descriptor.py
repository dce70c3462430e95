"""The descriptors of UDF: their tags, and the fields that file entries and extents share.

Tags are checked by checksum and CRC, which tells junk from UDF early (ECMA-167 3rd edition; OSTA
UDF 2.60).
"""

from binascii import crc_hqx

from agent.protocol.medium import MediumError, number

# Tag identifiers: ECMA-167 3/7.2.1 and 4/7.2.1.
ANCHOR, POINTER, PARTITION, LOGICAL_VOLUME, TERMINATOR = 2, 3, 5, 6, 8
FILE_SET, NAME, ALLOCATION, FILE, EXTENDED_FILE = 256, 257, 258, 261, 266
SPARING_TABLE = 0
# Kinds of allocation descriptors, the low three bits of the ICB flags (4/14.6.8): descriptors of
# these sizes in bytes, or the content itself.
DESCRIPTOR_SIZE = {0: 8, 1: 16, 2: 20}
EMBEDDED = 3

_TAG = 16  # bytes


class UdfError(MediumError):
    """The medium is not UDF, or it cannot be read."""


def checked(data: bytes, tag: int) -> bytes:
    """Return `data` if it starts with a valid descriptor tag of the kind `tag` (ECMA-167 3/7.2).

    Raises UdfError if the tag, its checksum or the CRC is wrong.
    """
    head = data[:_TAG]
    if len(head) < _TAG or number(head, 0, 2) != tag:
        raise UdfError(f"expected a descriptor with the tag {tag}")
    if (sum(head) - head[4]) & 255 != head[4]:
        raise UdfError(f"the checksum of a descriptor with the tag {tag} is wrong")
    length = number(head, 10, 2)
    crc = number(head, 8, 2)
    if _TAG + length > len(data) or crc_hqx(data[_TAG : _TAG + length], 0) != crc:
        raise UdfError(f"the CRC of a descriptor with the tag {tag} is wrong")
    return data


def allocation(entry: bytes) -> "tuple[int, bytes]":
    """Return (kind, bytes) of the allocation descriptors of a file entry, plain or extended.

    The layouts are those of ECMA-167 4/14.9 and 4/14.17. Raises MediumError.
    """
    fixed, lengths = (176, 168) if number(entry, 0, 2) == FILE else (216, 208)
    start = fixed + number(entry, lengths, 4)
    return number(entry, 34, 2) & 7, entry[start : start + number(entry, lengths + 4, 4)]


def text(identifier: bytes) -> str:
    """Decode OSTA compressed Unicode (UDF 2.1.1): a byte for 8 or 16 bits, then the characters."""
    kind, characters = identifier[:1], identifier[1:]
    if kind == b"\x10":
        pairs = zip(characters[::2], characters[1::2], strict=False)
        return "".join(chr(high << 8 | low) for high, low in pairs)
    return characters.decode("latin-1")
