"""rtnetlink dumps: requests out, links, addresses and routes in (rtnetlink(7), netlink(7)).

The layouts are the structs of linux/netlink.h, linux/rtnetlink.h and linux/if_link.h.
"""

import sys

from agent.errors import ProtocolError
from agent.record import record

LINKS, ADDRESSES, ROUTES = 18, 22, 26  # RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE
MAX_DUMP = 4 * 1024 * 1024  # bytes

_HEADER = 16  # bytes of struct nlmsghdr
_FIXED = {LINKS: 16, ADDRESSES: 8, ROUTES: 12}  # bytes after it: ifinfomsg, ifaddrmsg, rtmsg
_ANSWER = {16: LINKS, 20: ADDRESSES, 24: ROUTES}  # RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_UP, _RUNNING = 1, 64  # IFF_UP, IFF_RUNNING
_MAC, _NAME = 1, 3  # IFLA_ADDRESS, IFLA_IFNAME
_ADDRESS, _LOCAL = 1, 2  # IFA_ADDRESS, IFA_LOCAL
_DESTINATION, _DEVICE, _GATEWAY, _TABLE = 1, 4, 5, 15  # RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE
_MAIN_TABLE, _UNICAST = 254, 1  # RT_TABLE_MAIN, RTN_UNICAST


class NetlinkError(ProtocolError):
    """The kernel answered with an error or something else than a dump."""


@record
class Link:
    """A network interface: `up` if it is switched on, `running` if it has a carrier."""

    index: int
    name: str
    mac: bytes
    up: bool
    running: bool


@record
class Address:
    """An address of the link `index`: `packed` is 4 or 16 bytes, `prefix` a length in bits."""

    index: int
    packed: bytes
    prefix: int


@record
class Route:
    """A unicast route of the main table, through the link `index`.

    `destination` and `gateway` are 4 or 16 bytes; b"" is the default route, or no gateway. `prefix`
    is a length in bits.
    """

    destination: bytes
    prefix: int
    gateway: bytes
    index: int


def request(kind: int) -> bytes:
    """Return the message that asks for all LINKS, ADDRESSES or ROUTES, of every address family."""
    length = _HEADER + _FIXED[kind]
    header = _u(length, 4) + _u(kind, 2) + _u(_REQUEST_DUMP, 2) + _u(1, 4) + bytes(4)
    return header + bytes(_FIXED[kind])


def parse(data: bytes) -> "tuple[list[Link | Address | Route], bool]":
    """Return (the values in one datagram, whether the dump is complete). Raises NetlinkError."""
    found: "list[Link | Address | Route]" = []
    at = 0
    while (left := len(data) - at) > 0:
        length, kind = _number(data, at, 4), _number(data, at + 4, 2)
        if not _HEADER <= length <= left:
            raise NetlinkError(f"a netlink message of {left} bytes says that it has {length}")
        if kind == _DONE:
            return found, True
        if kind == _ERROR:
            code = 2**32 - _number(data, at + _HEADER, 4)
            raise NetlinkError(f"the kernel refused a netlink request with error {code}")
        asked = _ANSWER.get(kind)
        if asked is not None:
            body = data[at + _HEADER : at + length]
            value = _READERS[asked](body, _attributes(body[_FIXED[asked] :]))
            if value is not None:
                found.append(value)
        at += (length + 3) // 4 * 4
    return found, False


def _link(body: bytes, attributes: "dict[int, bytes]") -> Link:
    flags = _number(body, 8, 4)
    name = attributes.get(_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")
    mac = attributes.get(_MAC, b"")
    return Link(_number(body, 4, 4), name, mac, bool(flags & _UP), bool(flags & _RUNNING))


def _address(body: bytes, attributes: "dict[int, bytes]") -> "Address | None":
    packed = attributes.get(_LOCAL) or attributes.get(_ADDRESS, b"")
    return Address(_number(body, 4, 4), packed, body[1]) if len(packed) in (4, 16) else None


def _route(body: bytes, attributes: "dict[int, bytes]") -> "Route | None":
    table = _number(attributes[_TABLE], 0, 4) if _TABLE in attributes else _number(body, 4, 1)
    if table != _MAIN_TABLE or _number(body, 7, 1) != _UNICAST:
        return None
    destination, gateway = attributes.get(_DESTINATION, b""), attributes.get(_GATEWAY, b"")
    if len(destination) not in (0, 4, 16) or len(gateway) not in (0, 4, 16):
        return None
    index = _number(attributes[_DEVICE], 0, 4) if _DEVICE in attributes else 0
    return Route(destination, body[1], gateway, index)


_READERS = {LINKS: _link, ADDRESSES: _address, ROUTES: _route}


def _attributes(data: bytes) -> "dict[int, bytes]":
    """Read struct rtattr after struct rtattr, each padded to 4 bytes."""
    attributes: dict[int, bytes] = {}
    at = 0
    while (left := len(data) - at) >= 4:
        length, kind = _number(data, at, 2), _number(data, at + 2, 2)
        if not 4 <= length <= left:
            raise NetlinkError(f"a netlink attribute of {left} bytes says that it has {length}")
        attributes[kind] = data[at + 4 : at + length]
        at += (length + 3) // 4 * 4
    return attributes


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise NetlinkError(f"a netlink message ends before its field at byte {at}")
    return int.from_bytes(data[at : at + size], sys.byteorder)


def _u(value: int, size: int) -> bytes:
    return value.to_bytes(size, sys.byteorder)
