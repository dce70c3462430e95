"""Netlink dumps, message by message."""

import struct

import pytest

from agent.protocol import netlink


def test_a_default_route_is_read() -> None:
    attributes = struct.pack("=HHIHHI", 8, 4, 2, 8, 5, 0x0100000A)
    body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attributes
    message = struct.pack("=IHHII", 16 + len(body), 24, 0, 1, 0) + body
    (route,), complete = netlink.parse(message)
    assert isinstance(route, netlink.Route)
    assert (route.destination, route.prefix, route.gateway, route.index, complete) == (
        b"",
        0,
        b"\x0a\x00\x00\x01",
        2,
        False,
    )
    assert netlink.parse(struct.pack("=IHHII", 20, 3, 0, 1, 0) + bytes(4)) == ([], True)
    with pytest.raises(netlink.NetlinkError, match="refused a netlink request with error 1"):
        netlink.parse(struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -1))
