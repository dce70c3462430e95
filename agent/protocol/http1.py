"""HTTP/1.1, the client's half: one request out, one response in (RFC 9110, RFC 9112).

Strategy: `ResponseReader` is a machine without I/O. The owner of the socket calls `feed()` with the
bytes that arrive and `end()` when the peer closes. Each state is a method that takes what it needs
from the buffer and says whether it made progress. Anything ambiguous is rejected: two lengths, a
length with a transfer coding, folded header lines, bytes after the end. Header block and body are
capped, which bounds the memory that a hostile peer can fill.
"""

from agent.errors import ProtocolError
from agent.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEADER = 64 * 1024  # bytes of all lines: status, headers, 1xx responses, chunks, trailers
MAX_BODY = 1024 * 1024  # bytes
MAX_HEADERS = 100  # header lines, as in Python's http.client

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset(b"0123456789")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class HttpError(ProtocolError):
    """The peer's answer is not HTTP/1.x as this module accepts it."""


@record
class Response:
    """One final (not 1xx) response.

    `status` is 200 to 999; `reason` has up to 100 characters. The names in `headers` are in
    lower case, values of equal names are joined by ", ". `body` is at most MAX_BODY bytes, without
    transfer coding.
    """

    status: int
    reason: str
    headers: "dict[str, str]"
    body: bytes


def request(
    method: str, target: str, host: str, headers: "dict[str, str]", body: "bytes | None" = None
) -> bytes:
    """Return the bytes of the only request on a connection (`Connection: close`).

    `target` is path and query as they go on the wire, `host` the authority, such as
    "127.0.0.1:8080". The caller ensures that nothing holds a line break. `headers` come after Host
    and before the length.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close\r\n\r\n")
    return "\r\n".join(lines).encode("ascii") + (body or b"")


class ResponseReader:
    """Reads one response to a GET or POST from pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer in which no line ends
        self._header_bytes = 0
        self._header_lines = 0
        self._body = bytearray()
        self._remaining = 0  # bytes of the body or the chunk
        self._chunked = False
        self._status = 0
        self._reason = ""
        self._headers: dict[str, str] = {}
        self._version = b""
        self._state: Callable[[], bool] = self._status_line

    def feed(self, data: bytes) -> "Response | None":
        """Take the next bytes; return the response once it is complete. Raises HttpError."""
        self._buffer += data
        while self._state():
            pass
        if self._state != self._complete:
            return None
        if self._buffer:
            raise HttpError(f"the HTTP answer goes on for {len(self._buffer)} bytes after its end")
        return self._response()

    def end(self) -> Response:
        """Return the response that the peer's close ends. Raises HttpError if it was cut short."""
        if self._state in (self._until_close, self._complete):
            return self._response()
        if not self._header_bytes and not self._buffer:
            raise HttpError("the connection was closed before an HTTP answer came")
        size = self._header_bytes + len(self._body) + len(self._buffer)
        raise HttpError(f"the HTTP answer was cut short after {size} bytes")

    def _response(self) -> Response:
        return Response(self._status, self._reason, self._headers, bytes(self._body))

    def _line(self) -> "bytes | None":
        """Return the next line without its end, None if it is not complete yet.

        The end is CRLF; a bare LF is tolerated (RFC 9112 2.2). All lines share one budget.
        """
        left = MAX_HEADER - self._header_bytes
        end = self._buffer.find(b"\n", self._searched, left)
        if end < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) >= left:
                raise HttpError(
                    f"the header block of the HTTP answer is longer than {MAX_HEADER} bytes, "
                    "chunk lines and trailers included"
                )
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._header_bytes += end + 1
        self._searched = 0
        if line.endswith(b"\r"):
            line = line[:-1]
        if b"\r" in line or b"\0" in line:
            raise HttpError(f"the HTTP answer holds a stray control character: {_shown(line)}")
        return line

    # The states. Each returns True when it made progress, False when it needs more bytes.

    def _status_line(self) -> bool:
        line = self._line()
        if line is None:
            # Reject the first wrong byte: a peer with another protocol may never end a line.
            start = bytes(self._buffer[:40])
            if not start.startswith(b"HTTP/"[: len(start)]):
                raise HttpError(f"the answer is not HTTP: it starts with {_shown(start)}")
            return False
        version, _, rest = line.partition(b" ")
        code, _, reason = rest.partition(b" ")
        is_status = len(code) == 3 and _DIGITS.issuperset(code) and code >= b"100"
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not is_status:
            raise HttpError(f"the answer is not HTTP/1.x: its first line is {_shown(line)}")
        self._status = int(code)
        if self._status == 101:
            raise HttpError("the HTTP answer switches to another protocol, unasked (101)")
        self._reason = reason[:100].decode("latin-1").strip()
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
        self._header_lines += 1
        if self._header_lines > MAX_HEADERS:
            raise HttpError(f"the HTTP answer has more than {MAX_HEADERS} header lines")
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not raw_name or not _TOKEN.issuperset(raw_name):
            raise HttpError(f"the HTTP answer holds a malformed header line: {_shown(line)}")
        name = raw_name.decode("ascii").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        before = self._headers.get(name)
        if before is not None:
            if name in ("content-length", "transfer-encoding"):
                raise HttpError(
                    f"the HTTP answer gives {name} twice: {before[:40]!r} and {value[:40]!r}"
                )
            value = f"{before}, {value}"
        self._headers[name] = value

    def _choose_body(self) -> "Callable[[], bool]":
        length = self._headers.get("content-length")
        coding = self._headers.get("transfer-encoding")
        if coding is not None:
            if length is not None:
                raise HttpError("the HTTP answer gives both content-length and transfer-encoding")
            if coding.lower() != "chunked" or self._version == b"HTTP/1.0":
                version = self._version.decode()
                raise HttpError(f"transfer-encoding {coding[:40]!r} in {version} is not supported")
        if length is not None:
            if not length.isascii() or not length.isdigit() or len(length) > 18:
                raise HttpError(f"the HTTP answer gives a content-length of {length[:40]!r}")
            if int(length) > MAX_BODY:
                raise HttpError(f"the HTTP answer is {length} bytes long; the limit is {MAX_BODY}")
        if self._status in (204, 304):
            return self._complete
        if coding is not None:
            self._chunked = True
            return self._chunk_size
        if length is None:
            return self._until_close
        self._remaining = int(length)
        return self._counted

    def _counted(self) -> bool:
        piece = self._buffer[: self._remaining]
        del self._buffer[: len(piece)]
        self._body += piece
        self._remaining -= len(piece)
        if self._remaining:
            return False
        self._state = self._chunk_end if self._chunked else self._complete
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
        self._state = self._counted if self._remaining else self._trailer
        return True

    def _chunk_end(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            raise HttpError(f"an HTTP chunk is longer than it says: {_shown(line)} follows")
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


def retry_after(headers: "dict[str, str]") -> "int | None":
    """Return the seconds that a Retry-After header asks for (RFC 9110 10.2.3), never negative.

    Return None if it is missing or malformed. A date is compared with the response's own Date,
    because the local clock cannot be trusted at first boot.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return int(value[:9])
    until, now = _date(value), _date(headers.get("date", ""))
    if until is None or now is None:
        return None
    return max(0, until - now)


def _date(text: str) -> "int | None":
    """Return an IMF-fixdate in seconds since 1970, None for any other text.

    RFC 9110 5.6.7 lets a server send no other form.
    """
    words = text.split()
    if len(words) != 6 or words[5] != "GMT" or words[2] not in _MONTHS:
        return None
    numbers = (words[1], words[3], *words[4].split(":"))
    if len(numbers) != 5 or not all(map(_is_number, numbers)):
        return None
    day, year, hour, minute, second = map(int, numbers)
    month = _MONTHS.index(words[2]) + 1
    # Days from the civil date, with the year beginning in March so that the leap day comes last.
    year, month = (year - 1, month + 9) if month <= 2 else (year, month - 3)
    leap_days = year // 4 - year // 100 + year // 400
    days = 365 * year + leap_days + (153 * month + 2) // 5 + day - 719469
    return days * 86400 + hour * 3600 + minute * 60 + second


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _shown(data: bytes) -> str:
    text = data[:60].decode("latin-1")
    return f"{text!r}" + ("..." if len(data) > 60 else "")
