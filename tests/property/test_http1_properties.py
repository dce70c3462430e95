"""The response reader against any bytes, any cut, and against http.client.

Where both accept an answer they agree on status, body and headers. These are the known differences,
in which this reader is the stricter one:

- bytes behind the end of the answer: refused here, ignored there
- informational answers: all are skipped here, only 100 there (the one difference that has to be
  excluded from the comparison)
- a bare CR inside a line, folded lines, spaces before the colon: refused here
- lengths and chunk sizes with signs, underscores, spaces or 0x: refused here, taken by int() there
- a length beside chunked coding, equal lengths given twice, chunked in HTTP/1.0: refused here
"""

import http.client
import io
import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.http1 import MAX_BODY, MAX_HEADER, HttpError, Response, ResponseReader

_LINE_ENDS = st.sampled_from([b"\r\n", b"\n"])
_STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 404 Not Found",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 503",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 304 x",
        b"HTTP/1.1  200",
    ]
)
_HEADERS = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length:11",
        b"Content-Length: -1",
        b"content-length: +5",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: Chunked",
        b"Transfer-Encoding: gzip",
        b"X-A: 1",
        b"x-a:  2 ",
        b"X-B:",
        b"X-\xe4: 3",
        b" folded",
        b"Retry-After: 3",
        b"Connection: close",
    ]
)
_CHUNKS = st.lists(
    st.sampled_from(
        [
            b"5\r\nhello\r\n",
            b"1;a=b\r\nx\r\n",
            b"B\r\nhello world\r\n",
            b"0\r\n\r\n",
            b"0\r\nT: x\r\n\r\n",
            b"+1\r\nx\r\n",
            b"4\r\nhello\r\n",
            b"5\r\nhello\n",
        ]
    ),
    max_size=5,
).map(b"".join)
_BODIES = st.one_of(st.binary(max_size=20), st.just(b"hello"), st.just(b"hello world"), _CHUNKS)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Answers that are nearly right: most parts are as they should be."""
    end = draw(_LINE_ENDS)
    lines = [draw(_STATUS_LINES), *draw(st.lists(_HEADERS, max_size=5)), b"", b""]
    before = draw(st.sampled_from([b"", b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    data = bytearray(before + end.join(lines) + draw(_BODIES))
    for at, byte in draw(
        st.lists(st.tuples(st.integers(0, max(0, len(data) - 1)), st.integers(0, 255)), max_size=1)
    ):
        data[at : at + 1] = bytes([byte])
    return bytes(data)


def ours(data: bytes, cuts: list[int]) -> Response | None:
    reader = ResponseReader()
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    try:
        for start, stop in itertools.pairwise(places):
            if (response := reader.feed(data[start:stop])) is not None:
                return response if stop == len(data) else None
        return reader.end()
    except HttpError:
        return None


class _Socket:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self.data)


def theirs(data: bytes) -> tuple[int, bytes, http.client.HTTPMessage] | None:
    response = http.client.HTTPResponse(_Socket(data))  # type: ignore[arg-type]
    try:
        response.begin()
        return response.status, response.read(), response.headers
    except (http.client.HTTPException, ValueError, OSError):
        return None


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_any_bytes_give_a_response_or_our_own_error(data: bytes, cuts: list[int]) -> None:
    response = ours(data, cuts)
    assert response is None or len(response.body) <= MAX_BODY


@given(answers(), st.lists(st.integers(0, 400), max_size=8))
def test_where_the_answer_is_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    whole, pieces = ours(data, []), ours(data, cuts)
    if pieces is not None:
        assert whole is not None
        assert (whole.status, whole.body, whole.headers) == (
            pieces.status,
            pieces.body,
            pieces.headers,
        )


@given(answers())
def test_agrees_with_the_standard_client_on_what_both_accept(data: bytes) -> None:
    mine, other = ours(data, []), theirs(data)
    if mine is None or other is None or 100 <= other[0] < 200:
        return
    status, body, headers = other
    assert (mine.status, mine.body) == (status, body)
    for name, value in mine.headers.items():
        assert ", ".join(part.strip(" \t") for part in headers.get_all(name, [])) == value


@given(st.integers(0, 3 * MAX_HEADER), st.sampled_from([b"x", b"X: y\r\n", b"\r\n", b"1;"]))
def test_no_state_holds_more_than_the_caps(size: int, unit: bytes) -> None:
    reader = ResponseReader()
    try:
        reader.feed(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + unit * (size // len(unit))
        )
    except HttpError:
        return
    assert len(reader._buffer) <= MAX_HEADER
