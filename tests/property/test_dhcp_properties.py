"""DHCP, UDP and ARP: what goes in comes out, and any bytes are an answer or one short error."""

import socket

from hypothesis import given
from hypothesis import strategies as st

from agent.protocol import arp, dhcp, netlink, udp
from agent.protocol.dhcp import Answer, DhcpError, Hop
from tests import attacks
from tests.dhcp_server import LEASE, MAC, XID, answer, option

ADDRESS = st.binary(min_size=4, max_size=4)
HOST = ADDRESS.filter(dhcp.is_host)
GOOD = answer(dhcp.ACK, *LEASE, option(51, b"\0\0\1\0"))


def check(data: bytes) -> None:
    try:
        found = dhcp.parse(data, XID, MAC)
    except DhcpError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 200
        return
    if found.kind != dhcp.NAK:
        assert dhcp.is_host(found.address)
        assert 1 <= found.prefix <= 32
        assert 0 < found.seconds <= dhcp.FOREVER
        assert 0 <= found.renewal < found.seconds
        assert len(found.routes) <= dhcp.MAX_ROUTES
        for hop in found.routes:  # as the kernel takes them
            number = int.from_bytes(hop.destination, "big")
            assert number & (1 << 32 - hop.prefix) - 1 == 0
            assert not hop.gateway or dhcp.is_host(hop.gateway)


@given(st.binary(max_size=600))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    check(data)


@given(st.binary(max_size=300), st.binary(max_size=64), st.binary(max_size=128))
def test_any_options_are_an_answer_or_an_error(data: bytes, sname: bytes, file: bytes) -> None:
    check(answer(dhcp.OFFER, *LEASE, data, sname=sname, file=file))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 3, 6, 26, 51, 52, 54, 58, 121, 245, 249, 255]),
            st.binary(max_size=20),
        ),
        max_size=12,
    )
)
def test_any_values_of_known_options_are_an_answer_or_an_error(
    values: "list[tuple[int, bytes]]",
) -> None:
    check(answer(dhcp.ACK, *LEASE, *(option(*value) for value in values)))


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_broken_byte_is_an_answer_or_an_error(at: int, value: int) -> None:
    check(GOOD[:at] + bytes((value,)) + GOOD[at + 1 :])
    check(GOOD[:at])


def classless(hop: Hop) -> bytes:
    return (
        bytes((hop.prefix,))
        + hop.destination[: (hop.prefix + 7) // 8]
        + hop.gateway.rjust(4, b"\0")
    )


@st.composite
def hops(draw: st.DrawFn) -> Hop:
    prefix = draw(st.integers(0, 32))
    number = draw(st.integers(0, (1 << prefix) - 1)) << 32 - prefix
    return Hop(number.to_bytes(4, "big"), prefix, draw(st.one_of(st.just(b""), HOST)))


@given(
    HOST,
    HOST,
    st.integers(1, 32),
    st.integers(1, dhcp.FOREVER),
    st.lists(hops(), max_size=20),
    st.lists(HOST, max_size=3),
    st.integers(576, 65535),
    HOST,
    st.integers(1, 255),
)
def test_a_lease_comes_out_as_it_went_in(
    host: bytes,
    server: bytes,
    prefix: int,
    seconds: int,
    routes: "list[Hop]",
    dns: "list[bytes]",
    mtu: int,
    wireserver: bytes,
    piece: int,
) -> None:
    encoded = b"".join(map(classless, routes))
    data = answer(
        dhcp.ACK,
        option(1, ((1 << 32) - (1 << 32 - prefix)).to_bytes(4, "big")),
        option(54, server),
        option(51, seconds.to_bytes(4, "big")),
        *(option(121, encoded[at : at + piece]) for at in range(0, len(encoded), piece)),
        option(6, b"".join(dns)),
        option(26, mtu.to_bytes(2, "big")),
        option(245, wireserver),
        host=socket.inet_ntoa(host),
    )
    assert dhcp.parse(data, XID, MAC) == Answer(
        dhcp.ACK,
        server,
        host,
        prefix,
        seconds,
        seconds // 2,
        tuple(routes),
        tuple(dns),
        mtu,
        wireserver,
    )


@given(st.binary(max_size=600), ADDRESS, ADDRESS, st.integers(0, 65535), st.integers(0, 65535))
def test_a_datagram_comes_out_as_it_went_in(
    payload: bytes, source: bytes, destination: bytes, here: int, there: int
) -> None:
    data = udp.packet(payload, source, here, destination, there)
    assert udp.payload(data, there) == payload
    assert udp.payload(data + b"padding", there) == payload


@given(st.binary(max_size=200))
def test_any_bytes_are_a_datagram_or_none(data: bytes) -> None:
    for checked in (True, False):
        assert len(udp.payload(data, 68, checked=checked) or b"") <= len(data)
    arp.claims(data, MAC, bytes(4))


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_wrong_bit_is_noticed(payload: bytes, data: st.DataObject) -> None:
    packet = bytearray(udp.packet(payload, b"\x0a\0\0\1", 67, b"\x0a\0\0\4", 68))
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    packet[bit // 8] ^= 1 << bit % 8
    # A checksum of UDP that becomes 0 says that there is none.
    assert udp.payload(bytes(packet), 68) is None or packet[26:28] == b"\0\0"


@given(
    st.integers(100, 2000), st.sampled_from([b"\0", b"\3\0", b"\x79\1\0", b"\x79\x05\0\x0a\0\0\1"])
)
def test_twice_the_answer_is_at_most_twice_the_work(size: int, unit: bytes) -> None:
    def parse(data: bytes) -> object:
        return dhcp.parse(data, XID, MAC)

    once, twice = (attacks.lines(parse, GOOD[:-1] + unit * n) for n in (size, 2 * size))
    assert twice <= 2.3 * once + 1000


@given(hops(), HOST, st.integers(1, 1 << 31 - 1), st.integers(0, 0xFFFFFFFF))
def test_a_route_that_is_added_is_read_as_it_was_meant(
    hop: Hop, source: bytes, index: int, metric: int
) -> None:
    destination = hop.destination if hop.prefix else b""
    route = netlink.Route(destination, hop.prefix, hop.gateway, index, metric)
    assert netlink.parse(netlink.add_route(route, source, on_link=True)) == ([route], False)


@given(HOST, st.integers(0, 32), st.integers(1, 1 << 31 - 1), st.integers(0, 0xFFFFFFFF))
def test_an_address_that_is_added_is_read_as_it_was_meant(
    packed: bytes, prefix: int, index: int, seconds: int
) -> None:
    data = netlink.add_address(index, packed, prefix, seconds)
    assert netlink.parse(data) == ([netlink.Address(index, packed, prefix)], False)


@given(st.binary(max_size=60))
def test_any_bytes_answer_a_change_or_are_an_error(data: bytes) -> None:
    try:
        assert 0 <= netlink.error(data) < 1 << 32
    except netlink.NetlinkError:
        return
