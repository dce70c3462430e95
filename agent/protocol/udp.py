"""UDP over IPv4 as a packet socket carries it: a datagram in or out, checksums included.

Sources: RFC 791 (IPv4), RFC 768 (UDP), RFC 1071 (the checksum). Only what a host without an address
needs: no options are sent, and a fragment is not put together.
"""

_VERSION_4, _UDP = 0x40, 17
_HEADER, _UDP_HEADER = 20, 8  # bytes
_TIME_TO_LIVE = 64
_FRAGMENT = 0x3FFF  # more fragments, or an offset


def packet(
    payload: bytes, source: bytes, source_port: int, destination: bytes, destination_port: int
) -> bytes:
    """Return the IPv4 packet of one datagram; addresses have 4 bytes."""
    length = _UDP_HEADER + len(payload)
    ports = source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")
    head = ports + length.to_bytes(2, "big")
    pseudo = source + destination + _UDP.to_bytes(2, "big") + length.to_bytes(2, "big")
    # 0 would say that there is no checksum.
    check = _checksum(pseudo + head + b"\0\0" + payload) or 0xFFFF
    start = bytes((_VERSION_4 | 5, 0)) + (_HEADER + length).to_bytes(2, "big") + bytes(4)
    start += bytes((_TIME_TO_LIVE, _UDP))
    own = _checksum(start + b"\0\0" + source + destination)
    header = start + own.to_bytes(2, "big") + source + destination
    return header + head + check.to_bytes(2, "big") + payload


def payload(data: bytes, port: int, *, checked: bool = True) -> "bytes | None":
    """Return what the IPv4 packet `data` carries to UDP `port`.

    None for every other packet, a fragment, a lying length or a wrong checksum. `checked` False
    skips the checksum of UDP, which the kernel leaves to hardware that a local sender does not
    have (TP_STATUS_CSUMNOTREADY of packet(7)).
    """
    if len(data) < _HEADER or data[0] & 0xF0 != _VERSION_4 or data[9] != _UDP:
        return None
    header, total = (data[0] & 15) * 4, _u16(data, 2)
    if not _HEADER <= header <= total - _UDP_HEADER or total > len(data):
        return None
    if _u16(data, 6) & _FRAGMENT or _checksum(data[:header]):
        return None
    length = _u16(data, header + 4)
    if _u16(data, header + 2) != port or not _UDP_HEADER <= length <= total - header:
        return None
    datagram = data[header : header + length]
    if checked and _u16(datagram, 6):
        pseudo = data[12:20] + _UDP.to_bytes(2, "big") + length.to_bytes(2, "big")
        if _checksum(pseudo + datagram):
            return None
    return datagram[_UDP_HEADER:]


def _u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _checksum(data: bytes) -> int:
    """Return the one's complement of the one's complement sum of 16-bit words, 0 if it is right."""
    # 2**16 is 1 modulo 65535, so the number modulo 65535 is the sum of its words.
    total = int.from_bytes(data + b"\0" * (len(data) % 2), "big")
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))
