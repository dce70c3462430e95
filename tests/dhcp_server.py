"""Answers of a DHCP server made by hand, for tests: honest and lying ones."""

import socket
import sys
from collections.abc import Callable

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


MASK, TIME = option(1, address("255.255.255.0")), option(51, b"\0\0\0\x78")
HERE = option(54, address("10.9.0.1"))
LOOP = option(52, b"\3") * 20
LIES: "tuple[Callable[[int, int, bytes], bytes], ...]" = (
    lambda kind, xid, mac: answer(kind, HERE, MASK, TIME, xid=xid ^ 1, mac=mac, host="10.9.0.66"),
    lambda kind, xid, mac: answer(kind, HERE, MASK, TIME, xid=xid, mac=b"\2" * 6, host="10.9.0.66"),
    lambda kind, xid, mac: answer(kind, HERE, MASK, TIME, xid=xid, mac=mac, host="10.9.0.66")[:250],
    lambda kind, xid, mac: answer(kind, HERE, MASK, TIME, xid=xid, mac=mac, host="127.0.0.1"),
    lambda kind, xid, mac: answer(kind, HERE, MASK, xid=xid, mac=mac, host="10.9.0.66"),
    lambda kind, xid, mac: answer(kind, HERE, MASK, TIME, xid=xid, mac=mac) + bytes(40000),
    lambda kind, xid, mac: answer(kind, LOOP, xid=xid, mac=mac, sname=LOOP, file=LOOP * 2),
    lambda kind, xid, mac: b"",
    lambda kind, xid, mac: b"\xff" * 1000,
)


def serve(mode: str) -> None:
    """Answer on p0: honest, nak (once), liar, silent, used (an address that somebody has)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"p0")
        server.bind(("", 67))
        print("up", flush=True)
        refused = False
        while True:
            data = server.recv(2000)
            xid, mac, kind = int.from_bytes(data[4:8], "big"), data[28:34], data[242]
            print({1: "discover", 3: "request", 4: "decline"}[kind], flush=True)
            kind = {1: 2, 3: 5, 4: 0}[kind]
            messages = []
            host = "10.9.0.1" if mode == "used" and not refused else "10.9.0.50"
            if kind == 0:
                refused = True
            elif mode == "nak" and kind == 5 and not refused:
                refused = True
                messages = [answer(6, HERE, xid=xid, mac=mac, host="0.0.0.0")]
            elif mode == "liar":
                messages = [lie(kind, xid, mac) for lie in LIES]
            elif mode != "silent":
                routes = option(121, b"\x20\xa8\x3f\x81\x10\x0a\x09\0\1\x10\x0a\x0a\0\0\0\0")
                more = (routes, option(26, b"\x05\x78"), option(6, address("10.9.0.1")))
                messages = [answer(kind, HERE, MASK, TIME, *more, xid=xid, mac=mac, host=host)]
            for message in messages:
                server.sendto(message, ("255.255.255.255", 68))


if __name__ == "__main__":
    serve(sys.argv[1])
