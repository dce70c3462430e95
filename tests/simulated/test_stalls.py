"""`report ready --deadline 5` ends in 6 s, whatever arrives and whoever does not read its log.

The servers are on loopback and do their worst as long as they are asked to. The processor time of a run is limited, too: on a loaded machine it tells a slow parser from a slow machine.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import pty
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests import attacks
from tests.conftest import TOP, words

DEADLINE, MOST = 5.0, 7.0  # seconds; the machine may be busy
HOWS = ("source", "frozen")
Handler = Callable[[socket.socket], None]

HEAD = b"HTTP/1.1 200 OK\r\n"


def answer(body: bytes) -> Handler:
    data = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return lambda connection: connection.sendall(data)


def endless(first: bytes, piece: bytes, pause: float = 0.0) -> Handler:
    """Send `first`, then `piece` again and again until the peer goes away."""

    def handle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(first)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return handle


def silence(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def worst_goal_state(size: int) -> bytes:
    """As many elements as are allowed, with names and attributes as long as are allowed."""
    element = b"<p:" + b"a" * 10 + b' p:b="" p:c=""/>'
    head = b'<GoalState xmlns:p="' + b"u" * 240 + b'">'
    return head + element * min((size - 300) // len(element), 1360) + b"</GoalState>"


CASES: "dict[str, Handler]" = {
    "silence": silence,
    "the worst goal state": answer(worst_goal_state(1 << 16)),
    **{
        name: answer(attacks.ATTACKS[name][1](size))
        for name, size in (
            ("elements below a long name space", 1_000_000),
            ("attributes in a long name space", 900_000),
            ("a goal state of many elements", 60_000),
            ("a goal state of many role instances", 60_000),
            ("a goal state of deep trees", 60_000),
        )
    },
    "chunks of one byte, at once": endless(HEAD + b"Transfer-Encoding: chunked\n\n", b"1\nx\n"),
    "a body in single bytes": endless(HEAD + b"Content-Length: 1000000\n\n", b"x"),
    "a header in single bytes": endless(HEAD + b"a:", b"x"),
    "a header that never ends": endless(HEAD + b"a:", b"x" * 65536),
    "answers before the answer": endless(b"", b"HTTP/1.1 100 \n\n"),
    "a body that drips": endless(HEAD + b"Content-Length: 1000000\n\n", b"x", 0.2),
    "a status line that drips": endless(b"HTTP/1.1 200 ", b"x", 0.2),
}


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            handler(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@dataclasses.dataclass
class Outcome:
    code: int
    wall: float
    cpu: float
    said: str


def report(how: str, handler: Handler, stderr: int = subprocess.PIPE) -> Outcome:
    with serving(handler) as url:
        command = [*words(how), "report", "ready", "--deadline", "5", "--wireserver", url]
        started = time.monotonic()
        with subprocess.Popen(command, stderr=stderr, cwd=TOP, env={}) as process:
            said = process.stderr.read().decode() if process.stderr else ""
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
    return Outcome(process.returncode, seconds, usage.ru_utime + usage.ru_stime, said)


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(ours, b"x" * 4096)
    os.set_blocking(ours, True)
    yield ours
    os.close(theirs)
    os.close(ours)


@contextlib.contextmanager
def closed_pipe() -> Iterator[int]:
    theirs, ours = os.pipe()
    os.close(theirs)
    yield ours
    os.close(ours)


@contextlib.contextmanager
def stopped_terminal() -> Iterator[int]:
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)  # as ^S does
    yield slave
    os.close(slave)
    os.close(master)


READERS = (full_pipe, closed_pipe, stopped_terminal)


def unread(how: str, reader: "Callable[[], contextlib.AbstractContextManager[int]]") -> Outcome:
    with reader() as fd:
        return report(how, answer(b"not a goal state"), fd)


@pytest.fixture(scope="module")
def outcomes() -> "dict[tuple[str, str], concurrent.futures.Future[Outcome]]":
    """All runs, a few at a time: most of them wait."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        return {
            **{
                (name, how): pool.submit(report, how, handler)
                for name, handler in CASES.items()
                for how in HOWS
            },
            **{
                (reader.__name__, how): pool.submit(unread, how, reader)
                for reader in READERS
                for how in HOWS
            },
        }


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", CASES)
def test_no_answer_holds_a_run_beyond_its_deadline(
    outcomes: "dict[tuple[str, str], concurrent.futures.Future[Outcome]]", name: str, how: str
) -> None:
    outcome = outcomes[name, how].result()
    assert outcome.code in (3, 4), outcome.said
    last = outcome.said.splitlines()[-1]
    assert "] error: gave up reporting Ready after " in last
    assert len(last) < 500
    assert outcome.wall < MOST, outcome
    if "single" not in name and "answers" not in name and "at once" not in name:
        assert outcome.cpu < 2, outcome  # the others keep it busy until the deadline


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_of_the_log_holds_a_run_beyond_its_deadline(
    outcomes: "dict[tuple[str, str], concurrent.futures.Future[Outcome]]",
    reader: "Callable[[], contextlib.AbstractContextManager[int]]",
    how: str,
) -> None:
    outcome = outcomes[reader.__name__, how].result()
    assert outcome.code == 4
    assert outcome.wall < MOST, outcome
