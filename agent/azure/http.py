"""One HTTP exchange over a plain TCP connection to an IP literal.

No name is resolved, no proxy asked, no redirect followed: the addresses are fixed, and a proxy from the environment is a classic way to break this
job. Three limits hold at once: on the connect, on silence, and on the whole exchange, so that a peer that drips a byte a second loses. Works on
`_socket`, the C half of `socket`, because the Python half costs every start 7 ms.
"""

import _socket

from agent.azure.retry import Deadline
from agent.errors import Transient, UsageError, reason
from agent.protocol.http1 import HttpError, Response, ResponseReader, request

CONNECT_LIMIT = 10.0  # seconds
SILENCE_LIMIT = 15.0  # seconds between two pieces of an answer
EXCHANGE_LIMIT = 30.0  # seconds for all of it (azure-platform.md)


class Endpoint:
    """Where a service is: `http://IP[:PORT][/PREFIX]` taken apart into `address`, `port`, `authority` (for Host) and `prefix` ("" or "/...")."""

    __slots__ = ("address", "authority", "family", "port", "prefix")

    def __init__(self, url: str) -> None:
        """Raises UsageError if `url` is not of that form; a host name is refused, because nothing here may depend on DNS."""
        scheme, _, rest = url.partition("://")
        self.authority, slash, path = rest.partition("/")
        host, port = self.authority, ""
        if host.startswith("["):
            host, closed, port = host[1:].partition("]")
            port = port if closed else ":"
        elif ":" in host:
            host, _, port = host.partition(":")
            port = ":" + port
        self.family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
        try:
            _socket.inet_pton(self.family, host)
            self.port = (
                int(port.removeprefix(":") or "80")
                if not port or (port[1:].isascii() and port[1:].isdigit())
                else 0
            )
        except (OSError, ValueError):
            self.port = 0
        if (
            scheme != "http"
            or not 0 < self.port < 65536
            or port == ":"
            or not path.isascii()
            or not path.isprintable()
            or set(path) & set(" ?#")
        ):
            raise UsageError(
                f"{url!r} is no address of a service: give http://IP, http://IP:PORT or http://IP:PORT/PREFIX"
            )
        self.address = host
        self.prefix = (slash + path).rstrip("/")


def exchange(
    endpoint: Endpoint,
    method: str,
    target: str,
    headers: dict[str, str],
    body: "bytes | None",
    deadline: Deadline,
) -> Response:
    """Send one request and read its response within EXCHANGE_LIMIT and `deadline`, whichever is nearer.

    `target` is path and query below the endpoint's prefix. Raises Transient if no connection could be made, it broke, a limit was
    reached (exit code 3), or the answer is not acceptable HTTP (exit code 4).
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
        raise Transient(f"{reason(error)} {step}") from None
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
