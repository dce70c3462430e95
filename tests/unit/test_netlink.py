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


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(value), kind) + value).ljust(
        (7 + len(value)) // 4 * 4, b"\0"
    )


def route(*attributes: bytes, table: int = 254, kind: int = 1) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, table, 3, 0, kind, 0)
    return message(24, body + b"".join(attributes))


def test_messages_of_other_kinds_are_skipped() -> None:
    noop = message(1, b"")
    link = message(16, struct.pack("=BxHiII", 0, 1, 2, 65, 0) + attribute(3, b"eth0\0"))
    assert netlink.parse(noop + link) == ([netlink.Link(2, "eth0", b"", True, True)], False)


@pytest.mark.parametrize(
    "data",
    [
        route(table=255),  # RT_TABLE_LOCAL
        route(kind=3),  # RTN_BROADCAST
        route(attribute(15, struct.pack("=I", 1000))),  # RTA_TABLE says more than the byte can
        route(attribute(1, b"\x0a\0\0")),  # RTA_DST of 3 bytes
        route(attribute(5, b"\x0a\0\0\1\0")),  # RTA_GATEWAY of 5 bytes
    ],
)
def test_routes_that_are_not_ours_are_skipped(data: bytes) -> None:
    assert netlink.parse(data) == ([], False)


def test_a_route_without_a_link_has_the_index_0() -> None:
    (found,), _ = netlink.parse(route(attribute(1, b"\x0a\0\0\0")))
    assert found == netlink.Route(b"\x0a\0\0\0", 24, b"", 0)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_message_whose_length_lies_is_refused(length: int) -> None:
    with pytest.raises(netlink.NetlinkError, match=f"of 16 bytes says that it has {length}"):
        netlink.parse(struct.pack("=IHHII", length, 16, 0, 1, 0))


@pytest.mark.parametrize("length", [3, 9])
def test_an_attribute_whose_length_lies_is_refused(length: int) -> None:
    with pytest.raises(netlink.NetlinkError, match=f"of 8 bytes says that it has {length}"):
        netlink.parse(route(struct.pack("=HHI", length, 4, 2)))


def test_a_message_cut_short_is_refused() -> None:
    with pytest.raises(netlink.NetlinkError, match="ends before its field at byte 4"):
        netlink.parse(struct.pack("=I", 16))


def test_a_link_says_what_it_is_and_for_whom_it_works() -> None:
    info = attribute(18, attribute(1, b"veth\0"))
    body = struct.pack("=BxHiII", 0, 1, 7, 1, 0) + attribute(10, struct.pack("=I", 3)) + info
    (link,), _ = netlink.parse(message(16, body))
    assert link == netlink.Link(7, "", b"", True, False, True, 3, "veth")
    (link,), _ = netlink.parse(message(16, struct.pack("=BxHiII", 0, 772, 1, 65, 0)))
    assert isinstance(link, netlink.Link)
    assert not link.is_ethernet


def test_the_answer_to_a_change_is_its_error() -> None:
    assert netlink.error(message(2, struct.pack("=i", 0) + bytes(16))) == 0
    assert netlink.error(message(2, struct.pack("=i", -17) + bytes(16))) == 17
    with pytest.raises(netlink.NetlinkError, match="a change with a message 3"):
        netlink.error(message(3, bytes(4)))


def test_a_link_is_switched_on_with_its_mtu() -> None:
    """rtnetlink(7): struct ifinfomsg, IFF_UP as flag and mask, IFLA_MTU."""
    for mtu, attributes in ((0, b""), (1400, struct.pack("=HHI", 8, 4, 1400))):
        data = netlink.switch_on(3, mtu)
        length, kind, flags = struct.unpack_from("=IHH", data)
        assert (length, kind, flags & 5) == (len(data), 16, 5)  # NLM_F_REQUEST, NLM_F_ACK
        assert struct.unpack_from("=BxHiII", data, 16) == (0, 0, 3, 1, 1)
        assert data[32:] == attributes


def test_an_address_is_taken_from_a_link() -> None:
    """rtnetlink(7): struct ifaddrmsg, IFA_LOCAL."""
    data = netlink.remove_address(3, bytes((10, 0, 0, 4)), 24)
    length, kind = struct.unpack_from("=IH", data)
    assert (length, kind) == (len(data), 21)
    assert struct.unpack_from("=BBBBI", data, 16) == (2, 24, 0, 0, 3)
    assert data[24:] == struct.pack("=HH4B", 8, 2, 10, 0, 0, 4)
