"""HTTP/1.1, the client's half: one request out, one response in (RFC 9110, RFC 9112).

Strategy: `ResponseReader` is a machine without I/O. Whoever owns the socket calls `feed()` with what arrived and `end()` when the peer closed. Each
state is a method that takes what it needs from the buffer and says whether it got on. Whatever is ambiguous is refused rather than guessed at: two
lengths, a length beside a transfer coding, folded header lines, bytes behind the end. Header block and body are capped, so a hostile peer cannot make
us hold more.
"""

from agent.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEADER = (
    64 * 1024
)  # bytes: all lines of one answer together: status, headers, 1xx responses, chunk sizes, trailers
MAX_BODY = 1024 * 1024  # bytes

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset(b"0123456789")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class HttpError(ProtocolError):
    """The peer's answer is not HTTP/1.x as we accept it."""


class Response:
    """One final (not 1xx) response.

    `status`: int, 200..999; `reason`: str, may be empty; `headers`: dict of lower-case name -> value, equal names joined by ", ";
    `body`: bytes, at most MAX_BODY, transfer coding removed.
    """

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


def request(
    method: str, target: str, host: str, headers: dict[str, str], body: "bytes | None" = None
) -> bytes:
    """The bytes of one request on a connection of its own (`Connection: close`).

    `target` is path and query as they go on the wire, `host` the authority ("168.63.129.16" or "127.0.0.1:8080"). The caller vouches that none of them holds
    a line break; `headers` come after Host and before the length.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close\r\n\r\n")
    return "\r\n".join(lines).encode("ascii") + (body or b"")


class ResponseReader:
    """Reads one response to a GET or POST from pieces of any size.

    `feed(data)` takes the next bytes, `end()` says that the peer closed. Both return the `Response` once it is complete, None before, and raise
    `HttpError` for bytes that are not acceptable or end too early.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header_bytes = 0
        self._body = bytearray()
        self._remaining = 0
        self._status = 0
        self._reason = ""
        self._headers: dict[str, str] = {}
        self._version = b""
        self._state: Callable[[], bool] = self._status_line

    def feed(self, data: bytes) -> "Response | None":
        """Take the next bytes; the response once it is whole, else None. Raises HttpError."""
        self._buffer += data
        while self._state():
            pass
        if self._state == self._complete:
            if self._buffer:
                raise HttpError(
                    f"the HTTP answer goes on for {len(self._buffer)} bytes behind its end"
                )
            return self._response()
        return None

    def end(self) -> Response:
        """The peer closed: the response, if the close is how it ends. Raises HttpError if it was cut short."""
        if self._state in (self._until_close, self._complete):
            return self._response()
        if not self._header_bytes and not self._buffer:
            raise HttpError("the connection was closed before an HTTP answer came")
        raise HttpError(
            f"the HTTP answer was cut short after {self._header_bytes + len(self._body) + len(self._buffer)} bytes"
        )

    def _response(self) -> Response:
        return Response(self._status, self._reason, self._headers, bytes(self._body))

    def _line(self) -> "bytes | None":
        """The next line without its end (CRLF; a bare LF is tolerated, RFC 9112 2.2), or None if it is not there yet. All lines share one budget."""
        left = MAX_HEADER - self._header_bytes
        end = self._buffer.find(b"\n", 0, left)
        if end < 0:
            if len(self._buffer) >= left:
                raise HttpError(
                    f"the header block of the HTTP answer is longer than {MAX_HEADER} bytes, chunk lines and trailers included"
                )
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._header_bytes += end + 1
        if line.endswith(b"\r"):
            line = line[:-1]
        if b"\r" in line or b"\0" in line:
            raise HttpError(
                f"a line of the HTTP answer holds a stray control character: {_shown(line)}"
            )
        return line

    # The states. Each returns True when it got on, False when it needs more bytes.

    def _status_line(self) -> bool:
        line = self._line()
        if line is None:
            # Say it at the first wrong byte: a peer that speaks something else may never send a line end.
            start = bytes(self._buffer[:5])
            if start != b"HTTP/"[: len(start)]:
                raise HttpError(
                    f"the answer is not HTTP: it starts with {_shown(bytes(self._buffer[:40]))}"
                )
            return False
        version, _, rest = line.partition(b" ")
        code, _, reason = rest.partition(b" ")
        if (
            version not in (b"HTTP/1.1", b"HTTP/1.0")
            or len(code) != 3
            or not _DIGITS.issuperset(code)
            or code < b"100"
        ):
            raise HttpError(f"the answer is not HTTP/1.x: its first line is {_shown(line)}")
        self._status = int(code)
        if self._status == 101:
            raise HttpError(
                "the HTTP answer switches to another protocol (101), which was not asked for"
            )
        self._reason = reason.decode("latin-1").strip()
        self._version = version
        self._headers = {}
        self._state = self._header
        return True

    def _header(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            self._add_header(line)
        elif self._status < 200:
            self._state = self._status_line
        else:
            self._state = self._choose_body()
        return True

    def _add_header(self, line: bytes) -> None:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not raw_name or not _TOKEN.issuperset(raw_name):
            raise HttpError(f"the HTTP answer holds a malformed header line: {_shown(line)}")
        name = raw_name.decode("ascii").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if name in self._headers:
            if name in ("content-length", "transfer-encoding"):
                raise HttpError(
                    f"the HTTP answer gives {name} twice: {self._headers[name]!r} and {value!r}"
                )
            value = f"{self._headers[name]}, {value}"
        self._headers[name] = value

    def _choose_body(self) -> "Callable[[], bool]":
        length = self._headers.get("content-length")
        coding = self._headers.get("transfer-encoding")
        if coding is not None:
            if length is not None:
                raise HttpError("the HTTP answer gives both content-length and transfer-encoding")
            if coding.lower() != "chunked" or self._version == b"HTTP/1.0":
                raise HttpError(
                    f"the HTTP answer uses transfer-encoding {coding!r} ({self._version.decode()}), which is not supported"
                )
        if length is not None:
            if not length.isascii() or not length.isdigit() or len(length) > 18:
                raise HttpError(f"the HTTP answer gives a content-length of {length[:40]!r}")
            if int(length) > MAX_BODY:
                raise HttpError(
                    f"the HTTP answer announces {length} bytes; the limit is {MAX_BODY}"
                )
        if self._status in (204, 304):
            return self._complete
        if coding is not None:
            return self._chunk_size
        if length is None:
            return self._until_close
        self._remaining = int(length)
        return self._counted

    def _take(self) -> bool:
        piece = self._buffer[: self._remaining]
        del self._buffer[: len(piece)]
        self._body += piece
        self._remaining -= len(piece)
        return self._remaining == 0

    def _counted(self) -> bool:
        if not self._take():
            return False
        self._state = self._complete
        return True

    def _until_close(self) -> bool:
        if len(self._body) + len(self._buffer) > MAX_BODY:
            raise HttpError(f"the HTTP answer is longer than {MAX_BODY} bytes")
        self._body += self._buffer
        self._buffer.clear()
        return False

    def _chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        digits = line.partition(b";")[0].strip(b" \t")
        if not digits or len(digits) > 16 or not _HEX.issuperset(digits):
            raise HttpError(f"the HTTP answer holds a malformed chunk size: {_shown(line)}")
        self._remaining = int(digits, 16)
        if len(self._body) + self._remaining > MAX_BODY:
            raise HttpError(f"the HTTP answer is longer than {MAX_BODY} bytes")
        self._state = self._chunk if self._remaining else self._trailer
        return True

    def _chunk(self) -> bool:
        if not self._take():
            return False
        self._state = self._chunk_end
        return True

    def _chunk_end(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            raise HttpError(
                f"the HTTP answer holds a chunk that is longer than it says: {_shown(line)} follows"
            )
        self._state = self._chunk_size
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._state = self._complete
        elif b":" not in line:
            raise HttpError(f"the HTTP answer holds a malformed trailer line: {_shown(line)}")
        return True

    def _complete(self) -> bool:
        return False


def retry_after(headers: dict[str, str]) -> "int | None":
    """The seconds that a Retry-After header asks for (RFC 9110 10.2.3), never negative; None if there is none or it cannot be read.

    The date form is read against the response's own Date, because at first boot the local clock is not to be trusted.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return int(value[:9])
    until, now = _date(value), _date(headers.get("date", ""))
    if until is None or now is None:
        return None
    return max(0, until - now)


def _date(text: str) -> "int | None":
    """Seconds since 1970 of an IMF-fixdate, the one form that RFC 9110 5.6.7 lets a server send; None if it is not one."""
    words = text.split()
    if len(words) != 6 or words[5] != "GMT" or words[2] not in _MONTHS:
        return None
    numbers = (words[1], words[3], *words[4].split(":"))
    if len(numbers) != 5 or not all(
        number.isascii() and number.isdigit() and len(number) <= 4 for number in numbers
    ):
        return None
    day, year, hour, minute, second = map(int, numbers)
    month = _MONTHS.index(words[2]) + 1
    # Days from the civil date, with the year beginning in March so that the leap day comes last.
    year, month = (year - 1, month + 9) if month <= 2 else (year, month - 3)
    days = (
        365 * year
        + year // 4
        - year // 100
        + year // 400
        + (153 * month + 2) // 5
        + day
        - 1
        - 719468
    )
    return days * 86400 + hour * 3600 + minute * 60 + second


def _shown(data: bytes) -> str:
    text = data[:60].decode("latin-1")
    return f"{text!r}" + ("..." if len(data) > 60 else "")
