"""ARP for IPv4 over Ethernet (RFC 826): is an address in use? (RFC 5227, 2.1)"""

_ETHERNET_IPV4 = b"\0\1\x08\0\6\4"  # hardware, protocol, lengths of their addresses
_REQUEST = b"\0\1"
_OPERATIONS = (b"\0\1", b"\0\2")  # request, reply
_LENGTH = 28  # bytes


def probe(mac: bytes, address: bytes) -> bytes:
    """Return the question who has `address`, from a host that has none."""
    return _ETHERNET_IPV4 + _REQUEST + mac + bytes(4) + bytes(6) + address


def claims(data: bytes, mac: bytes, address: bytes) -> bool:
    """Tell whether a packet shows that another host than `mac` has or probes for `address`."""
    if len(data) < _LENGTH or data[:6] != _ETHERNET_IPV4 or data[6:8] not in _OPERATIONS:
        return False
    sender, owner, target = data[8:14], data[14:18], data[24:28]
    probes = data[6:8] == _REQUEST and owner == bytes(4) and target == address
    return sender != mac and (owner == address or probes)
