"""One HTTP exchange over a plain TCP connection to an IP address.

No name is resolved, no proxy used, no redirect followed: the addresses are fixed, and a proxy from
the environment would break the exchange. Three limits hold at once: on the connect, on silence, and
on the whole exchange, so that a peer that drips a byte a second loses. `_socket` is the C half of
`socket`; the Python half costs every start 7 ms.
"""

import _socket

from agent.azure.retry import Deadline
from agent.errors import Transient, UsageError, reason
from agent.protocol.http1 import HttpError, Response, ResponseReader, request
from agent.record import record

CONNECT_LIMIT = 10.0  # seconds
SILENCE_LIMIT = 15.0  # seconds between two pieces of an answer
EXCHANGE_LIMIT = 30.0  # seconds for all of it


@record
class Endpoint:
    """Where a service is: `http://IP[:PORT][/PREFIX]`, taken apart.

    `family` is of `_socket`, `authority` the value of the header Host, `prefix` "" or "/...".
    """

    family: int
    address: str
    port: int
    authority: str
    prefix: str


def endpoint(url: str) -> Endpoint:
    """Return the endpoint at `url`.

    Raises UsageError if it is not of that form. A host name is refused: nothing depends on DNS.
    """
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, port = authority, ""
    if host.startswith("["):
        host, closed, port = host[1:].partition("]")
        port = port if closed else ":"
    elif ":" in host:
        host, _, port = host.partition(":")
        port = ":" + port
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    number = _port(port)
    is_path = path.isascii() and path.isprintable() and not set(path) & set(" ?#")
    if scheme != "http" or not number or not is_path or not _is_address(family, host):
        raise UsageError(
            f"{url!r} is not the address of a service: give http://IP, http://IP:PORT or "
            "http://IP:PORT/PREFIX"
        )
    return Endpoint(family, host, number, authority, (slash + path).rstrip("/"))


def _port(text: str) -> int:
    """Return the number in ":PORT", 80 for "", 0 if it is not a port."""
    if not text:
        return 80
    digits = text[1:]
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
    return number if number < 65536 else 0


def _is_address(family: int, host: str) -> bool:
    try:
        _socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def exchange(
    endpoint: Endpoint,
    method: str,
    target: str,
    headers: dict[str, str],
    body: "bytes | None",
    deadline: Deadline,
) -> Response:
    """Send one request and return its response, within EXCHANGE_LIMIT and `deadline`.

    `target` is path and query below the endpoint's prefix. Raises Transient if there was no
    connection, it broke, or a limit was reached (exit status 3), or the answer is not acceptable
    HTTP (exit status 4).
    """
    limit = deadline.within(EXCHANGE_LIMIT)
    what = f"{endpoint.address}:{endpoint.port}"
    data = request(method, endpoint.prefix + target, endpoint.authority, headers, body)
    step = f"opening a socket for {what}"
    connection = None
    try:
        connection = _socket.socket(endpoint.family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        step = f"connecting to {what}"
        connection.settimeout(_within(CONNECT_LIMIT, limit))
        connection.connect((endpoint.address, endpoint.port))
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        step = f"sending to {what}"
        connection.settimeout(_within(SILENCE_LIMIT, limit))
        connection.sendall(data)
        step = f"waiting for the answer of {what}"
        reader = ResponseReader()
        while True:
            connection.settimeout(_within(SILENCE_LIMIT, limit))
            piece = connection.recv(16384)
            response = reader.feed(piece) if piece else reader.end()
            if response is not None:
                return response
    except TimeoutError:
        raise Transient(f"time ran out {step}") from None
    except OSError as error:
        from errno import EADDRNOTAVAIL, EHOSTUNREACH, ENETDOWN, ENETUNREACH

        no_way = error.errno in (EADDRNOTAVAIL, EHOSTUNREACH, ENETDOWN, ENETUNREACH)
        raise Transient(f"{reason(error)} {step}", no_way=no_way) from None
    except HttpError as error:
        raise Transient(f"{error} (from {what})", exit_code=error.exit_code) from None
    finally:
        if connection is not None:
            connection.close()


def _within(seconds: float, limit: Deadline) -> float:
    left = limit.left()
    if left <= 0:
        raise TimeoutError
    return min(seconds, left)
