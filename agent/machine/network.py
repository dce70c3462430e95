"""The kernel's links, addresses and routes: what there is, and changes (rtnetlink(7))."""

import _socket

from agent.errors import AzreadyError, reason
from agent.protocol import netlink

_NETLINK_ROUTE = 0
_LIMIT = 5.0  # seconds


class NetworkError(AzreadyError):
    """The kernel did not answer, or not as expected."""


def survey() -> "tuple[list[netlink.Link], list[netlink.Address], list[netlink.Route]]":
    """Return all links, addresses, and unicast routes of the main table. Raises NetworkError."""
    links = [item for item in _dump(netlink.LINKS) if isinstance(item, netlink.Link)]
    addresses = [item for item in _dump(netlink.ADDRESSES) if isinstance(item, netlink.Address)]
    routes = [item for item in _dump(netlink.ROUTES) if isinstance(item, netlink.Route)]
    return links, addresses, routes


def text(packed: bytes) -> str:
    """Return an address of 4 or 16 bytes as people write it."""
    return _socket.inet_ntop(_socket.AF_INET if len(packed) == 4 else _socket.AF_INET6, packed)


def change(message: bytes) -> int:
    """Have the kernel make a change; return errno, 0 if it was made. Raises NetworkError."""
    try:
        connection = _connect()
        try:
            connection.sendall(message)
            return netlink.error(connection.recv(65536))
        finally:
            connection.close()
    except OSError as error:
        raise NetworkError(f"cannot change the network settings: {reason(error)}") from None
    except netlink.NetlinkError as error:
        raise NetworkError(str(error)) from None


def _connect() -> "_socket.socket":
    kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
    connection = _socket.socket(_socket.AF_NETLINK, kind, _NETLINK_ROUTE)
    connection.settimeout(_LIMIT)
    connection.bind((0, 0))
    return connection


def _dump(kind: int) -> "list[netlink.Link | netlink.Address | netlink.Route]":
    found: "list[netlink.Link | netlink.Address | netlink.Route]" = []
    size = 0
    try:
        connection = _connect()
        try:
            connection.sendall(netlink.request(kind))
            complete = False
            while not complete:
                data = connection.recv(65536)
                size += len(data)
                if not data or size > netlink.MAX_DUMP:
                    raise NetworkError(
                        f"the kernel's list of network settings does not end ({size} bytes)"
                    )
                items, complete = netlink.parse(data)
                found += items
        finally:
            connection.close()
    except OSError as error:
        raise NetworkError(
            f"cannot ask the kernel for its network settings: {reason(error)}"
        ) from None
    except netlink.NetlinkError as error:
        raise NetworkError(str(error)) from None
    return found
