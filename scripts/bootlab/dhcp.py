"""A DHCP server that hands out leases as Azure does, and writes down what it was asked.

Written apart from agent/protocol/dhcp.py, so that a mistake is not made twice. Sources: RFC 2131,
2132, 3442; option 245 and the server's id 168.63.129.16 are facts of agent/README.md.
"""

import contextlib
import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable

from scripts.simulator import platform

GATEWAY = "10.0.0.1"
FIRST = 4  # Azure keeps the first three addresses of a subnet
_ANY = "0.0.0.0"  # noqa: S104 (an address in a message)
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _ACK, _RELEASE = 1, 2, 3, 5, 7
_NAMES = {1: "discover", 3: "request", 4: "decline", 7: "release", 8: "inform"}
_PORT = 67
_SO_BINDTODEVICE = 25


@dataclasses.dataclass
class Settings:
    """How the server answers; may be changed while it runs.

    `silent_until` is a time of the monotonic clock, before which nothing is answered; `lease` is
    in seconds; `routes` are destination, prefix length and gateway, of options 121 and 249, which
    the MACs of `without_routes` do not get.
    """

    silent_until: float = 0.0
    lease: int = 0xFFFFFFFF
    wireserver: str = platform.WIRESERVER
    routes: tuple[tuple[str, int, str], ...] = (
        (_ANY, 0, GATEWAY),
        (platform.WIRESERVER, 32, GATEWAY),
        (platform.IMDS, 32, GATEWAY),
    )
    mtu: int = 0
    without_routes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Asked:
    """A client's message: what it is, from which MAC, its host name, and whether it was answered.

    `at` is of the monotonic clock.
    """

    at: float
    kind: str
    mac: str
    host_name: str
    address: str
    answered: bool


class Server:
    """Serves one interface, in the thread of `serve`, until the socket is closed."""

    def __init__(self, interface: str, settings: Settings, heard: Callable[[Asked], None]) -> None:
        self.settings = settings
        self._heard = heard
        self._leases: dict[bytes, str] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode())
        self._socket.bind(("", _PORT))
        threading.Thread(target=self._serve, daemon=True).start()

    def address(self, mac: str) -> str:
        """Return the address that this MAC has or will get."""
        return self._lease(bytes.fromhex(mac.replace(":", "")))

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):  # not connected; but recv() returns
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _lease(self, mac: bytes) -> str:
        return self._leases.setdefault(mac, f"10.0.0.{FIRST + len(self._leases)}")

    def _serve(self) -> None:
        while True:
            try:
                data = self._socket.recv(4096)
            except OSError:
                return
            if not data:
                return
            if len(data) < 244 or data[236:240] != _COOKIE:
                continue
            options = _options(data[240:])
            kind = options.get(53, b"\0")[0]
            mac, client = data[28:34], socket.inet_ntoa(data[12:16])
            address = self._lease(mac)
            reply = {_DISCOVER: _OFFER, _REQUEST: _ACK}.get(kind)
            answered = bool(reply) and time.monotonic() >= self.settings.silent_until
            if reply and answered:
                message = self._message(reply, data, address)
                target = client if client != _ANY else "255.255.255.255"
                self._socket.sendto(message, (target, 68))
            self._heard(
                Asked(
                    time.monotonic(),
                    _NAMES.get(kind, str(kind)),
                    mac.hex(":"),
                    options.get(12, b"").decode(errors="backslashreplace"),
                    address,
                    answered,
                )
            )

    def _message(self, kind: int, asked: bytes, address: str) -> bytes:
        settings = self.settings
        packed = socket.inet_aton
        ways = () if asked[28:34].hex(":") in settings.without_routes else settings.routes
        routes = b"".join(
            bytes([length]) + packed(place)[: -(-length // 8)] + packed(gateway)
            for place, length, gateway in ways
        )
        options = {
            53: bytes([kind]),
            54: packed(platform.WIRESERVER),
            51: struct.pack(">I", settings.lease),
            1: packed("255.255.255.0"),
            3: packed(GATEWAY) if ways else b"",
            6: packed(platform.WIRESERVER),
            15: b"example.internal.cloudapp.net",
            26: struct.pack(">H", settings.mtu) if settings.mtu else b"",
            121: routes,
            245: packed(settings.wireserver),
            249: routes,
        }
        head = bytes([2, 1, 6, 0]) + asked[4:8] + bytes(4) + asked[12:16] + packed(address)
        head += bytes(4) + asked[24:44] + bytes(192)
        return head + _COOKIE + _packed(options.items()) + b"\xff"


def _packed(options: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([code, len(value)]) + value for code, value in options if value)


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        end = at + 2 + data[at + 1]
        found[data[at]] = data[at + 2 : end]
        at = end
    return found
