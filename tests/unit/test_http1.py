"""The response reader, answer by answer (RFC 9112)."""

import tracemalloc
from collections.abc import Iterator

import pytest

from agent.protocol.http1 import (
    MAX_BODY,
    MAX_HEADER,
    HttpError,
    Response,
    ResponseReader,
    request,
    retry_after,
)


def read(data: bytes, piece: int = 0, *, close: bool = True) -> Response:
    reader = ResponseReader()
    for at in range(0, len(data), piece or len(data) or 1):
        response = reader.feed(data[at : at + (piece or len(data))])
        if response is not None:
            return response
    if not close:
        raise AssertionError("the response is not complete")
    return reader.end()


@pytest.mark.parametrize("piece", [0, 1, 7])
def test_body_of_announced_length(piece: int) -> None:
    response = read(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello", piece, close=False
    )
    assert (response.status, response.reason, response.body, response.headers["x-a"]) == (
        200,
        "OK",
        b"hello",
        "b",
    )


@pytest.mark.parametrize("piece", [0, 1, 3])
def test_chunks_with_extensions_and_trailers(piece: int) -> None:
    data = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n1 ; c="d"\r\n!\r\n000\r\nX-T: 1\r\nY: 2\r\n\r\n'
    response = read(data, piece, close=False)
    assert response.body == b"hello!"
    assert "x-t" not in response.headers


def test_body_until_close() -> None:
    assert read(b"HTTP/1.0 200 OK\r\n\r\nall of it").body == b"all of it"


def test_informational_responses_are_skipped() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    response = read(data, 1, close=False)
    assert (response.status, response.body, response.headers) == (
        200,
        b"ok",
        {"content-length": "2"},
    )


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_where_none_can_be(status: int) -> None:
    assert read(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status, close=False).body == b""


def test_bare_line_feeds_and_a_missing_reason_are_tolerated() -> None:
    response = read(b"HTTP/1.1 200\nContent-Length: 1\n\nx", close=False)
    assert (response.reason, response.body) == ("", b"x")


def test_equal_headers_are_joined() -> None:
    assert (
        read(b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 0\r\na:2\r\n\r\n").headers["a"] == "1, 2"
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "closed before an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "cut short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "cut short"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "cut short"),
        (b"SSH-2.0-OpenSSH", "not HTTP"),
        (b"HTTP/2 200 OK\r\n\r\n", "not HTTP/1.x"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "not HTTP/1.x"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "not HTTP/1.x"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "not HTTP/1.x"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "twice"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "content-length of '5, 5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "content-length of '-5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "content-length of"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nhello", "content-length of"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", "content-length of ''"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "content-length of"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "is 1048577 bytes long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "not supported"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "twice",
        ),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "not supported"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
            "malformed chunk size",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
            "malformed chunk size",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "malformed chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n", "longer than"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
            "longer than 1048576",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
            "malformed trailer",
        ),
        (b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\nA : x\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "stray control"),
        (b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", "stray control"),
    ],
)
@pytest.mark.parametrize("piece", [0, 1])
def test_what_is_refused_and_why(data: bytes, says: str, piece: int) -> None:
    with pytest.raises(HttpError, match=says.replace("(", r"\(")):
        read(data, piece)


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello", b"HTTP/1.1 204 No Content\r\n\r\nx"],
)
def test_bytes_after_the_end_are_refused_when_they_come_with_it(data: bytes) -> None:
    with pytest.raises(HttpError, match="goes on for 1 bytes"):
        read(data)


def endless(start: bytes, more: bytes) -> Iterator[bytes]:
    yield start
    while True:
        yield more


def feed_all(reader: ResponseReader, pieces: Iterator[bytes]) -> None:
    for number, piece in enumerate(pieces):
        assert number < 2000, "an endless answer was not refused"
        reader.feed(piece)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"T: x\r\n" * 10000),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n",
            b"x" * 65536 + b"\r\n10000\r\n",
        ),
    ],
)
def test_memory_stays_within_the_caps_however_long_the_answer(start: bytes, more: bytes) -> None:
    reader = ResponseReader()
    tracemalloc.start()
    try:
        with pytest.raises(HttpError):
            feed_all(reader, endless(start, more))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A bytearray grows by an eighth at a time and is copied when it moves.
    assert peak < 3 * (MAX_BODY + MAX_HEADER)


def test_request_is_written_as_http() -> None:
    assert request("POST", "/a?b=c", "127.0.0.1:80", {"X-Y": "z"}, b"body") == (
        b"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX-Y: z\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
    )
    assert b"Content-Length" not in request("GET", "/", "127.0.0.1", {})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 50}, 999999999),
        (
            {
                "retry-after": "Mon, 02 Nov 2026 10:00:02 GMT",
                "date": "Mon, 02 Nov 2026 09:59:00 GMT",
            },
            62,
        ),
        (
            {
                "retry-after": "Fri, 01 Mar 2024 00:00:00 GMT",
                "date": "Thu, 29 Feb 2024 23:59:50 GMT",
            },
            10,
        ),
        (
            {
                "retry-after": "Mon, 02 Nov 2026 10:00:02 GMT",
                "date": "Mon, 02 Nov 2026 11:00:00 GMT",
            },
            0,
        ),
        ({"retry-after": "Mon, 02 Nov 2026 10:00:02 GMT"}, None),
        (
            {"retry-after": "Mon, 02 Nov 2026 10:00 GMT", "date": "Mon, 02 Nov 2026 09:59:00 GMT"},
            None,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: int | None) -> None:
    assert retry_after(headers) == seconds
