"""rtnetlink: dumps of links, addresses and routes, and changes of them (rtnetlink(7), netlink(7)).

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
_CHANGE = 0x5  # NLM_F_REQUEST | NLM_F_ACK
_CREATE, _REPLACE = 0x400, 0x100  # NLM_F_CREATE, NLM_F_REPLACE
_NEW_LINK, _NEW_ADDRESS, _REMOVE_ADDRESS, _NEW_ROUTE = 16, 20, 21, 24  # RTM_*
_ERROR, _DONE = 2, 3
_UP, _RUNNING, _CARRIER = 1, 64, 1 << 16  # IFF_UP, IFF_RUNNING, IFF_LOWER_UP
_MAC, _NAME, _MTU, _MASTER, _INFO = 1, 3, 4, 10, 18  # IFLA_*: ADDRESS to MASTER, LINKINFO
_KIND = 1  # IFLA_INFO_KIND
_ADDRESS, _LOCAL, _CACHE = 1, 2, 6  # IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO
_DESTINATION, _DEVICE, _GATEWAY, _TABLE = 1, 4, 5, 15  # RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE
_METRIC, _SOURCE = 6, 7  # RTA_PRIORITY, RTA_PREFSRC
_INET, _ETHERNET = 2, 1  # AF_INET, ARPHRD_ETHER
_DHCP, _ON_LINK = 16, 4  # RTPROT_DHCP, RTNH_F_ONLINK
_GLOBAL, _LINK = 0, 253  # RT_SCOPE_UNIVERSE, RT_SCOPE_LINK
_MAIN_TABLE, _UNICAST = 254, 1  # RT_TABLE_MAIN, RTN_UNICAST


class NetlinkError(ProtocolError):
    """The kernel answered with an error or something else than a dump."""


@record
class Link:
    """A network interface: `up` if it is switched on, `running` if the kernel calls it operational.

    Right after it was switched on, that says nothing about its `carrier`; sending takes both.
    `master` is the index of the link that it works for (a bridge, a bond, hv_netvsc), 0 without;
    `kind` is what a virtual link is ("veth"), "" for a device; `mtu` is in bytes.
    """

    index: int
    name: str
    mac: bytes
    up: bool
    running: bool
    is_ethernet: bool = True
    master: int = 0
    kind: str = ""
    mtu: int = 0
    carrier: bool = False


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
    is a length in bits. Of two routes the one with the lower `metric` is taken.
    """

    destination: bytes
    prefix: int
    gateway: bytes
    index: int
    metric: int = 0


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


def switch_on(index: int, mtu: int = 0) -> bytes:
    """Return the message that switches the link `index` on, and sets its MTU if it is not 0."""
    body = bytes(4) + _u(index, 4) + _u(_UP, 4) + _u(_UP, 4)
    return _change(_NEW_LINK, 0, body, _attribute(_MTU, _u(mtu, 4)) if mtu else b"")


def add_address(index: int, packed: bytes, prefix: int, seconds: int) -> bytes:
    """Return the message that gives a link an IPv4 address for `seconds`, 2**32 - 1 for ever.

    An address that is there gets the new time.
    """
    cache = _u(seconds, 4) * 2 + bytes(8)  # preferred and valid
    rest = _attribute(_LOCAL, packed) + _attribute(_ADDRESS, packed) + _attribute(_CACHE, cache)
    body = bytes((_INET, prefix, 0, _GLOBAL)) + _u(index, 4)
    return _change(_NEW_ADDRESS, _CREATE | _REPLACE, body, rest)


def remove_address(index: int, packed: bytes, prefix: int) -> bytes:
    """Return the message that takes an IPv4 address, and the routes that need it, from a link."""
    body = bytes((_INET, prefix, 0, _GLOBAL)) + _u(index, 4)
    return _change(_REMOVE_ADDRESS, 0, body, _attribute(_LOCAL, packed))


def add_route(route: Route, source: bytes, *, on_link: bool) -> bytes:
    """Return the message that adds an IPv4 route for packets from `source`.

    `on_link` tells that no other route leads to its gateway. A route that is there stays.
    """
    scope = _GLOBAL if route.gateway else _LINK
    body = bytes((_INET, route.prefix, 0, 0, _MAIN_TABLE, _DHCP, scope, _UNICAST))
    body += _u(_ON_LINK if on_link and route.gateway else 0, 4)
    rest = _attribute(_DESTINATION, route.destination) if route.prefix else b""
    rest += _attribute(_GATEWAY, route.gateway) if route.gateway else b""
    rest += _attribute(_DEVICE, _u(route.index, 4)) + _attribute(_METRIC, _u(route.metric, 4))
    return _change(_NEW_ROUTE, _CREATE, body, rest + _attribute(_SOURCE, source))


def _change(kind: int, flags: int, body: bytes, attributes: bytes) -> bytes:
    length = _HEADER + len(body) + len(attributes)
    header = _u(length, 4) + _u(kind, 2) + _u(_CHANGE | flags, 2) + _u(1, 4) + bytes(4)
    return header + body + attributes


def _attribute(kind: int, value: bytes) -> bytes:
    return (_u(4 + len(value), 2) + _u(kind, 2) + value).ljust((7 + len(value)) // 4 * 4, b"\0")


def error(data: bytes) -> int:
    """Return errno in the answer to a change, 0 if it was made. Raises NetlinkError."""
    if _number(data, 4, 2) != _ERROR:
        raise NetlinkError(f"the kernel answered a change with a message {_number(data, 4, 2)}")
    return -_number(data, _HEADER, 4) & 0xFFFFFFFF


def _link(body: bytes, attributes: "dict[int, bytes]") -> Link:
    flags = _number(body, 8, 4)
    return Link(
        _number(body, 4, 4),
        _text(attributes.get(_NAME, b"")),
        attributes.get(_MAC, b""),
        bool(flags & _UP),
        bool(flags & _RUNNING),
        _number(body, 2, 2) == _ETHERNET,
        _number(attributes[_MASTER], 0, 4) if _MASTER in attributes else 0,
        _text(_attributes(attributes.get(_INFO, b"")).get(_KIND, b"")),
        _number(attributes[_MTU], 0, 4) if _MTU in attributes else 0,
        bool(flags & _CARRIER),
    )


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


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
    metric = _number(attributes[_METRIC], 0, 4) if _METRIC in attributes else 0
    return Route(destination, body[1], gateway, index, metric)


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
