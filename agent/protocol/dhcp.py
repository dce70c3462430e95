"""DHCP for IPv4, the client's side: messages out, answers in (RFC 2131, RFC 2132).

A server may be broken or hostile: an answer that lacks what RFC 2131 demands is a DhcpError, an
option of a wrong length is as good as absent. The fields `file` and `sname` are read as options
where option 52 says so, once each, and pieces of an option are put together first (RFC 3396).
Option 245 holds the wireserver's address, and 249 is 121 under an older number; "seen" in Azure
(agent/README.md).
"""

from agent.errors import ProtocolError
from agent.record import record

SERVER_PORT, CLIENT_PORT = 67, 68
FOREVER = 0xFFFFFFFF  # seconds of a lease that does not end
OFFER, ACK, NAK = 2, 5, 6  # kinds of answers
NOWHERE, EVERYBODY = bytes(4), b"\xff" * 4
MAX_SIZE = 16384  # bytes of an answer
MAX_ROUTES = 64

_DISCOVER, _REQUEST, _DECLINE = 1, 3, 4
_TO_SERVER, _TO_CLIENT = 1, 2
_ETHERNET = b"\1\6"  # htype, hlen
_BROADCAST = b"\x80\0"
_COOKIE = b"\x63\x82\x53\x63"
_FIELDS = 240  # bytes before the options, cookie included
_SNAME, _FILE = slice(44, 108), slice(108, 236)
_SHORTEST = 300  # bytes: relays drop less, as BOOTP had it (RFC 1542, 2.1)
_PAD, _END = 0, 255
_MASK, _ROUTER, _DNS, _HOST_NAME, _MTU, _ADDRESS, _TIME = 1, 3, 6, 12, 26, 50, 51
_OVERLOAD, _KIND, _SERVER, _WANTED, _LARGEST, _RENEWAL = 52, 53, 54, 55, 57, 58
_CLIENT, _ROUTES, _WIRESERVER, _OLD_ROUTES = 61, 121, 245, 249
# RFC 3442: 121 stands before 3, or some servers leave it out.
_ASKED = bytes((_MASK, _ROUTES, _OLD_ROUTES, _ROUTER, _DNS, _MTU, _TIME, _SERVER, _WIRESERVER))
_SMALLEST_MTU = 576  # bytes that every host must take (RFC 791)
_MAX_DNS = 3  # resolv.conf(5)


class DhcpError(ProtocolError):
    """The answer is not one, is for somebody else, or lacks what it must have."""


@record
class Hop:
    """A route: `destination` of 4 bytes with `prefix` bits, by `gateway`, b"" for the link."""

    destination: bytes
    prefix: int
    gateway: bytes


@record
class Answer:
    """What a server said: `kind` is OFFER, ACK or NAK; a NAK has nothing else but `server`.

    Addresses have 4 bytes. `seconds` is the time of the lease, FOREVER for no end; `renewal` is
    when to ask again. `mtu` is 0 and `wireserver` b"" where the server is silent.
    """

    kind: int
    server: bytes
    address: bytes = b""
    prefix: int = 0
    seconds: int = 0
    renewal: int = 0
    routes: "tuple[Hop, ...]" = ()
    dns: "tuple[bytes, ...]" = ()
    mtu: int = 0
    wireserver: bytes = b""


def discover(xid: int, mac: bytes, seconds: int, host_name: str) -> bytes:
    """Return the message that looks for a server; `seconds` have passed since the first one."""
    return _message(_DISCOVER, xid, mac, seconds, host_name)


def request(xid: int, mac: bytes, seconds: int, host_name: str, offer: Answer) -> bytes:
    """Return the message that accepts an offer."""
    options = _option(_ADDRESS, offer.address) + _option(_SERVER, offer.server)
    return _message(_REQUEST, xid, mac, seconds, host_name, options)


def renew(
    xid: int,
    mac: bytes,
    seconds: int,
    host_name: str,
    address: bytes,
    identifier: "bytes | None" = None,
) -> bytes:
    """Return the message that asks every server to prolong the lease of `address`.

    `identifier` is how the client has named itself (option 61), None for its MAC, b"" for nothing.
    """
    return _message(_REQUEST, xid, mac, seconds, host_name, address=address, identifier=identifier)


def decline(xid: int, mac: bytes, offer: Answer) -> bytes:
    """Return the message that an address turned out to be in use."""
    options = _option(_ADDRESS, offer.address) + _option(_SERVER, offer.server)
    return _message(_DECLINE, xid, mac, 0, "", options)


def _message(
    kind: int,
    xid: int,
    mac: bytes,
    seconds: int,
    host_name: str,
    options: bytes = b"",
    address: bytes = NOWHERE,
    identifier: "bytes | None" = None,
) -> bytes:
    data = bytes((_TO_SERVER,)) + _ETHERNET + b"\0" + xid.to_bytes(4, "big")
    # Who has an address gets the answer there; the others ask for a broadcast.
    flags = _BROADCAST if address == NOWHERE else b"\0\0"
    data += min(seconds, 0xFFFF).to_bytes(2, "big") + flags + address + bytes(12)
    data += mac.ljust(16, b"\0") + bytes(192) + _COOKIE
    named = _ETHERNET[:1] + mac if identifier is None else identifier[:255]
    data += _option(_KIND, bytes((kind,))) + (_option(_CLIENT, named) if named else b"") + options
    if kind != _DECLINE:  # RFC 2131, table 5
        name = host_name.encode("ascii", "ignore")[:63]
        data += _option(_HOST_NAME, name) if name else b""
        data += _option(_LARGEST, (1500).to_bytes(2, "big")) + _option(_WANTED, _ASKED)
    return (data + bytes((_END,))).ljust(_SHORTEST, b"\0")


def _option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def parse(data: bytes, xid: int, mac: bytes) -> Answer:
    """Return the answer in a datagram's payload. Raises DhcpError."""
    if not _FIELDS <= len(data) <= MAX_SIZE:
        raise DhcpError(f"a DHCP answer has {len(data)} bytes; must be {_FIELDS} to {MAX_SIZE}")
    if data[:3] != bytes((_TO_CLIENT,)) + _ETHERNET or data[236:240] != _COOKIE:
        raise DhcpError("a packet to the DHCP port is no DHCP answer over Ethernet")
    if data[4:8] != xid.to_bytes(4, "big") or data[28:34] != mac:
        raise DhcpError("a DHCP answer is for somebody else")
    options = _options(data)
    kind, server = options.get(_KIND, b""), options.get(_SERVER, b"")
    if kind not in (b"\2", b"\5", b"\6"):
        raise DhcpError(f"a DHCP answer is of the kind {kind[:8].hex() or 'none'}")
    if not is_host(server):
        raise DhcpError(f"a DHCP answer names {server[:8].hex() or 'no address'} as its server")
    if kind[0] == NAK:
        return Answer(NAK, server)
    address, time = data[16:20], options.get(_TIME, b"")
    if not is_host(address):
        raise DhcpError(f"a DHCP server offers {address.hex()}, which no host can have")
    seconds = int.from_bytes(time, "big")
    if len(time) != 4 or not seconds:
        raise DhcpError(f"a DHCP server offers a lease for {time[:8].hex() or 'no time'}")
    renewal = options.get(_RENEWAL, b"")
    early = int.from_bytes(renewal, "big") if len(renewal) == 4 else 0
    mtu = options.get(_MTU, b"")
    size = int.from_bytes(mtu, "big") if len(mtu) == 2 else 0
    wireserver = options.get(_WIRESERVER, b"")
    return Answer(
        kind[0],
        server,
        address,
        _prefix(options.get(_MASK, b""), address),
        seconds,
        early if 0 < early < seconds else seconds // 2,
        _routes(options),
        tuple(host for host in _addresses(options.get(_DNS, b"")) if is_host(host))[:_MAX_DNS],
        size if size >= _SMALLEST_MTU else 0,
        wireserver if is_host(wireserver) else b"",
    )


def is_host(address: bytes) -> bool:
    """Tell whether one host can have it: 4 bytes, not 0/8, not loopback, not above unicast."""
    return len(address) == 4 and address[0] not in (0, 127) and address[0] < 224


def _options(data: bytes) -> "dict[int, bytes]":
    """Return every option, its pieces put together. Raises DhcpError if a length lies."""
    found: "dict[int, bytearray]" = {}
    _collect(data[_FIELDS:], found)
    # Read once: an option 52 in these fields says nothing.
    overload = bytes(found.get(_OVERLOAD, b""))
    for bit, field in ((1, _FILE), (2, _SNAME)):
        if len(overload) == 1 and overload[0] in (1, 2, 3) and overload[0] & bit:
            _collect(data[field], found)
    return {code: bytes(value) for code, value in found.items()}


def _collect(data: bytes, found: "dict[int, bytearray]") -> None:
    at = 0
    while at < len(data) and data[at] != _END:
        code = data[at]
        at += 1
        if code == _PAD:
            continue
        end = at + 1 + (data[at] if at < len(data) else 0)
        if not at < end <= len(data):
            raise DhcpError(f"DHCP option {code} is longer than the answer")
        found.setdefault(code, bytearray()).extend(data[at + 1 : end])
        at = end


def _prefix(mask: bytes, address: bytes) -> int:
    """Return the length of a mask; without a valid one, that of the address's class (RFC 950)."""
    ones = int.from_bytes(mask, "big")
    length = ones.bit_count()
    if len(mask) == 4 and length and ones == (0xFFFFFFFF << 32 - length) & 0xFFFFFFFF:
        return length
    return 8 if address[0] < 128 else 16 if address[0] < 192 else 24


def _addresses(value: bytes) -> "list[bytes]":
    """Return the addresses in an option, none if its length is wrong."""
    return [] if len(value) % 4 else [value[at : at + 4] for at in range(0, len(value), 4)]


def _routes(options: "dict[int, bytes]") -> "tuple[Hop, ...]":
    """Return the routes: 121 wins over 249, and both over the router of 3 (RFC 3442)."""
    for code in (_ROUTES, _OLD_ROUTES):
        if hops := _classless(options.get(code, b"")):
            return hops
    routers = [host for host in _addresses(options.get(_ROUTER, b"")) if is_host(host)]
    return (Hop(NOWHERE, 0, routers[0]),) if routers else ()


def _classless(value: bytes) -> "tuple[Hop, ...]":
    """Return the routes of RFC 3442, () if there are none, too many, or something else."""
    hops: "list[Hop]" = []
    at = 0
    while at < len(value):
        prefix = value[at]
        size = (prefix + 7) // 8
        end = at + 5 + size
        if prefix > 32 or end > len(value) or len(hops) == MAX_ROUTES:
            return ()
        number = int.from_bytes(value[at + 1 : at + 1 + size].ljust(4, b"\0"), "big")
        network = number >> 32 - prefix << 32 - prefix  # the kernel refuses bits of hosts
        gateway = value[end - 4 : end]
        if gateway != NOWHERE and not is_host(gateway):
            return ()
        hops.append(Hop(network.to_bytes(4, "big"), prefix, b"" if gateway == NOWHERE else gateway))
        at = end
    return tuple(hops)
