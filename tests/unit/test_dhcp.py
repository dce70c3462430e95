"""DHCP messages, the packets that carry them, and what a lying server may send."""

import pytest

from agent.protocol import arp, dhcp, udp
from agent.protocol.dhcp import ACK, NAK, OFFER, Answer, DhcpError, Hop
from tests.dhcp_server import LEASE, MAC, SERVER, XID, address, answer, option

HERE, ROUTER = address("10.0.0.4"), address("10.0.0.1")
OFFERED = Answer(OFFER, SERVER, HERE, 24, 3600, 1800)


def test_discover_says_who_asks_and_for_what() -> None:
    data = dhcp.discover(XID, MAC, 3, "web-1")
    assert len(data) >= 300  # what relays may expect
    assert data[:12] == b"\1\1\6\0" + XID.to_bytes(4, "big") + b"\0\3\x80\0"
    assert data[28:34] == MAC
    rest = data[240:]
    assert rest.startswith(b"\x35\1\1\x3d\7\1" + MAC)
    assert option(12, b"web-1") in rest
    wanted = rest[rest.index(b"\x37\x09") + 2 :][:9]
    assert set(wanted) == {1, 3, 6, 26, 51, 54, 121, 245, 249}
    assert wanted.index(121) < wanted.index(3)


def test_the_messages_of_a_lease_name_what_rfc_2131_demands() -> None:
    request = dhcp.request(XID, MAC, 0, "", OFFERED)
    assert option(53, b"\3") in request
    assert option(50, HERE) + option(54, SERVER) in request
    assert request[12:16] == bytes(4)
    renewal = dhcp.renew(XID, MAC, 0, "", HERE)
    assert option(53, b"\3") in renewal
    assert renewal[12:16] == HERE
    assert renewal[10:12] == b"\0\0"
    assert option(50, HERE) not in renewal
    assert option(54, SERVER) not in renewal
    refusal = dhcp.decline(XID, MAC, OFFERED)
    assert option(53, b"\4") in refusal
    assert option(50, HERE) + option(54, SERVER) in refusal
    assert b"\x37\x09" not in refusal


def test_a_name_that_does_not_fit_is_cut_and_seconds_stop_at_their_field() -> None:
    data = dhcp.discover(XID, MAC, 10**6, "a" * 300 + "\xe4")
    assert option(12, b"a" * 63) in data
    assert data[8:10] == b"\xff\xff"


def test_an_answer_of_azure_is_read() -> None:
    # Shape of Azure's: the default route and the platform's addresses, for all of them a gateway.
    hops = b"\0" + ROUTER + b"\x20\xa8\x3f\x81\x10" + ROUTER + b"\x20\xa9\xfe\xa9\xfe" + ROUTER
    data = answer(
        ACK,
        *LEASE,
        option(3, address("10.0.0.9")),
        option(6, address("168.63.129.16")),
        option(26, b"\x05\xdc"),
        option(51, b"\xff" * 4),
        option(121, hops),
        option(245, address("168.63.129.16")),
    )
    assert dhcp.parse(data, XID, MAC) == Answer(
        ACK,
        SERVER,
        HERE,
        24,
        dhcp.FOREVER,
        dhcp.FOREVER // 2,
        (
            Hop(bytes(4), 0, ROUTER),
            Hop(address("168.63.129.16"), 32, ROUTER),
            Hop(address("169.254.169.254"), 32, ROUTER),
        ),
        (address("168.63.129.16"),),
        1500,
        address("168.63.129.16"),
    )


def read(*options: bytes) -> Answer:
    return dhcp.parse(answer(OFFER, *LEASE, *options, option(51, b"\0\0\x0e\x10")), XID, MAC)


DEFAULT, OLD, NEW = Hop(bytes(4), 0, ROUTER), b"\x08\x0b" + ROUTER, b"\x08\x0c" + ROUTER


@pytest.mark.parametrize(
    ("options", "routes"),
    [
        ([], ()),
        ([option(3, ROUTER * 2)], (DEFAULT,)),
        ([option(3, bytes(4) + ROUTER)], (DEFAULT,)),
        ([option(3, ROUTER + b"\1")], ()),
        ([option(3, ROUTER), option(249, OLD)], (Hop(b"\x0b\0\0\0", 8, ROUTER),)),
        ([option(249, OLD), option(121, NEW)], (Hop(b"\x0c\0\0\0", 8, ROUTER),)),
        # Pieces of one option, with another one between them (RFC 3396).
        (
            [option(121, NEW[:3]), option(3, ROUTER), option(121, NEW[3:])],
            (Hop(b"\x0c\0\0\0", 8, ROUTER),),
        ),
        # Bits of hosts, which the kernel refuses.
        ([option(121, b"\x09\x0a\xff" + ROUTER)], (Hop(b"\x0a\x80\0\0", 9, ROUTER),)),
        ([option(121, b"\x20\x0a\0\0\1" + bytes(4))], (Hop(address("10.0.0.1"), 32, b""),)),
        # Not routes: the next source counts.
        ([option(121, NEW[:-1]), option(249, OLD)], (Hop(b"\x0b\0\0\0", 8, ROUTER),)),
        ([option(121, b"\x21\0\0\0\0\0" + ROUTER), option(3, ROUTER)], (DEFAULT,)),
        ([option(121, b"\0\x7f\0\0\1"), option(3, ROUTER)], (DEFAULT,)),
        ([option(121, (b"\0" + ROUTER) * 50), option(121, (b"\0" + ROUTER) * 15)], ()),
    ],
)
def test_the_most_exact_routes_win(options: list[bytes], routes: tuple[Hop, ...]) -> None:
    assert read(*options).routes == routes


@pytest.mark.parametrize(
    ("mask", "prefix"),
    [
        ("255.255.255.0", 24),
        ("255.255.255.255", 32),
        ("128.0.0.0", 1),
        ("255.0.255.0", 8),
        ("0.0.0.0", 8),
    ],
)
def test_a_mask_that_is_none_gives_way_to_the_class(mask: str, prefix: int) -> None:
    data = answer(OFFER, option(54, SERVER), option(51, b"\0\0\1\0"), option(1, address(mask)))
    assert dhcp.parse(data, XID, MAC).prefix == prefix


@pytest.mark.parametrize(
    ("host", "prefix"), [("10.0.0.4", 8), ("172.16.0.4", 16), ("192.0.2.4", 24)]
)
def test_without_a_mask_the_class_decides(host: str, prefix: int) -> None:
    data = answer(OFFER, option(54, SERVER), option(51, b"\0\0\1\0"), host=host)
    assert dhcp.parse(data, XID, MAC).prefix == prefix


def test_what_is_no_value_is_as_good_as_absent() -> None:
    found = read(option(26, b"\0\x44"), option(245, b"\1"), option(58, b"\xff" * 4))
    assert (found.mtu, found.wireserver, found.renewal) == (0, b"", 1800)
    found = read(option(26, b"\x05"), option(6, bytes(4) + SERVER * 5), option(58, b"\0\0\0\x09"))
    assert (found.mtu, found.dns, found.renewal) == (0, (SERVER,) * 3, 9)


def test_options_in_sname_and_file_are_read_once() -> None:
    # Both fields say that there are options in the other one, and one overruns.
    more = option(52, b"\3") + option(3, ROUTER) + b"\xff"
    data = answer(OFFER, *LEASE, option(51, b"\0\0\1\0"), option(52, b"\2"), sname=more)
    assert dhcp.parse(data, XID, MAC).routes == (DEFAULT,)
    data = answer(OFFER, *LEASE, option(51, b"\0\0\1\0"), sname=more, file=more)
    assert dhcp.parse(data, XID, MAC).routes == ()
    data = answer(OFFER, *LEASE, option(51, b"\0\0"), option(52, b"\3"), file=option(51, b"\1\0"))
    assert dhcp.parse(data, XID, MAC).seconds == 256
    data = answer(OFFER, *LEASE, option(52, b"\1"), file=b"\x33\xff" + bytes(126))
    with pytest.raises(DhcpError, match="option 51 is longer than the answer"):
        dhcp.parse(data, XID, MAC)


def test_a_refusal_needs_nothing_but_its_server() -> None:
    data = answer(NAK, option(54, SERVER), host="0.0.0.0")
    assert dhcp.parse(data, XID, MAC) == Answer(NAK, SERVER)


GOOD = answer(OFFER, *LEASE, option(51, b"\0\0\1\0"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has 0 bytes; must be 240 to 16384"),
        (GOOD[:239], "has 239 bytes"),
        (GOOD + bytes(16384), "must be 240 to 16384"),
        (b"\1" + GOOD[1:], "no DHCP answer over Ethernet"),
        (GOOD[:236] + b"\x63\x82\x53\x62" + GOOD[240:], "no DHCP answer"),
        (answer(OFFER, *LEASE, xid=XID + 1), "for somebody else"),
        (answer(OFFER, *LEASE, mac=MAC[::-1]), "for somebody else"),
        (GOOD[:240], "of the kind none"),
        (answer(1, *LEASE), "of the kind 01"),
        (answer(OFFER, option(53, b"\2"), *LEASE), "of the kind 0202"),
        (answer(OFFER, option(51, b"\0\0\1\0")), "names no address as its server"),
        (answer(OFFER, *LEASE, option(54, SERVER)), "as its server"),
        (answer(OFFER, *LEASE), "a lease for no time"),
        (answer(OFFER, *LEASE, option(51, bytes(4))), "a lease for 00000000"),
        (answer(OFFER, *LEASE, host="127.0.0.1"), "offers 7f000001, which no host can have"),
        (answer(OFFER, *LEASE, host="224.0.0.1"), "no host can have"),
        (GOOD[:-1] + b"\x33", "option 51 is longer than the answer"),
        (GOOD[:-1] + b"\x33\4\0\0", "option 51 is longer than the answer"),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DhcpError, match=said) as error:
        dhcp.parse(data, XID, MAC)
    assert str(error.value).isprintable()


PACKET = udp.packet(b"hello", SERVER, 67, HERE, 68)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PACKET[:27],
        PACKET[:-1],
        b"\x65" + PACKET[1:],  # IPv6
        b"\x44" + PACKET[1:],  # a header of 16 bytes
        b"\x4f" + PACKET[1:],  # a header longer than the packet
        PACKET[:6] + b"\x20\0" + PACKET[8:],  # more fragments
        PACKET[:6] + b"\0\1" + PACKET[8:],  # a later fragment
        PACKET[:9] + b"\6" + PACKET[10:],  # TCP
        PACKET[:11] + bytes((PACKET[11] ^ 1,)) + PACKET[12:],  # checksum of the header
        PACKET[:27] + bytes((PACKET[27] ^ 1,)) + PACKET[28:],  # checksum of UDP
        PACKET[:-1] + b"O",
        PACKET[:24] + b"\0\7" + PACKET[26:],  # lengths of UDP
        PACKET[:24] + b"\0\x0e" + PACKET[26:],
        udp.packet(b"hello", SERVER, 67, HERE, 69),
    ],
)
def test_other_packets_are_dropped(data: bytes) -> None:
    assert udp.payload(data, 68) is None


def test_packets_for_us_are_taken() -> None:
    assert udp.payload(PACKET, 68) == b"hello"
    assert udp.payload(PACKET + bytes(18), 68) == b"hello"  # padding of short frames
    assert udp.payload(PACKET[:26] + b"\0\0" + PACKET[28:], 68) == b"hello"  # no checksum
    broken = PACKET[:27] + bytes((PACKET[27] ^ 1,)) + PACKET[28:]
    assert udp.payload(broken, 68, checked=False) == b"hello"


def test_arp_tells_whether_an_address_is_in_use() -> None:
    question = arp.probe(MAC, HERE)
    assert question.hex() == "0001080006040001" + MAC.hex() + "00" * 10 + HERE.hex()
    other = b"\2" * 6
    start = b"\0\1\x08\0\6\4"
    reply = start + b"\0\2" + other + HERE + MAC + bytes(4)
    assert arp.claims(reply, MAC, HERE)
    assert arp.claims(arp.probe(other, HERE), MAC, HERE)  # it wants it, too
    assert not arp.claims(question, MAC, HERE)
    assert not arp.claims(reply, other, HERE)
    assert not arp.claims(reply[:27], MAC, HERE)
    assert not arp.claims(reply, MAC, ROUTER)
    # Somebody only asks for the one who has it.
    assert not arp.claims(start + b"\0\1" + other + ROUTER + bytes(6) + HERE, MAC, HERE)
