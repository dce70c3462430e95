"""Answers of a DHCP server made by hand, for tests: honest and lying ones."""

import socket

MAC, XID = bytes.fromhex("000d3a010203"), 0x12345678


def address(text: str) -> bytes:
    """An IPv4 address as its 4 bytes."""
    return socket.inet_aton(text)


def option(code: int, value: bytes) -> bytes:
    """One option of RFC 2132."""
    return bytes((code, len(value))) + value


SERVER = address("10.0.0.1")
LEASE = (option(54, SERVER), option(1, address("255.255.255.0")))


def answer(
    kind: int,
    *options: bytes,
    xid: int = XID,
    mac: bytes = MAC,
    host: str = "10.0.0.4",
    sname: bytes = b"",
    file: bytes = b"",
) -> bytes:
    """A server's message of the kind `kind`, offering `host`."""
    start = b"\2\1\6\0" + xid.to_bytes(4, "big") + bytes(8) + address(host) + bytes(8)
    start += mac.ljust(16, b"\0") + sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return start + b"\x63\x82\x53\x63" + option(53, bytes((kind,))) + b"".join(options) + b"\xff"
