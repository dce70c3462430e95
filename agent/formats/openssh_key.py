"""A private key in OpenSSH's own format (PROTOCOL.key of its source)."""

from binascii import Error as Base64Error
from binascii import a2b_base64

_BEGIN, _END = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"-----END OPENSSH PRIVATE KEY-----\n"
_MAGIC = b"openssh-key-v1\0"
_BLOCK = 8  # bytes, of an unencrypted key


def is_usable(content: bytes) -> "bool | None":
    """Tell whether the key is whole and needs no passphrase; None for another format.

    What is whole was written by ssh-keygen: lengths and the two equal numbers are compared, not the
    numbers of the key itself.
    """
    if not content.startswith(_BEGIN):
        return None
    body, end, rest = content[len(_BEGIN) :].partition(_END)
    if not end or rest:
        return False
    try:
        data = a2b_base64(b"".join(body.split()), strict_mode=True)
        at = len(_MAGIC)
        cipher, at = _string(data, at)
        _, at = _string(data, at)  # how the key of the cipher is derived, and with what
        _, at = _string(data, at)
        count, at = data[at : at + 4], at + 4
        public, at = _string(data, at)
        private, at = _string(data, at)
        kind, _ = _string(public, 0)
        same, _ = _string(private, 8)
    except (Base64Error, ValueError):
        return False
    return (
        data.startswith(_MAGIC)
        and at == len(data)
        and (cipher, count) == (b"none", b"\0\0\0\1")
        and private[:4] == private[4:8]
        and len(private) % _BLOCK == 0
        and kind == same
    )


def _string(data: bytes, at: int) -> "tuple[bytes, int]":
    """Return (a string of RFC 4251, where it ends). Raises ValueError if data ends before it."""
    start = at + 4
    end = start + int.from_bytes(data[at:start], "big")
    if start > len(data) or end > len(data):
        raise ValueError
    return data[start:end], end
