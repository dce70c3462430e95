"""Log lines reach whoever reads them, and nobody who does not can hold the run."""

import contextlib
import errno
import fcntl
import os
import pathlib
import pty
import socket
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from agent import log
from agent.log import Log


@contextlib.contextmanager
def as_standard_error(fd: int) -> Iterator[None]:
    """Make `fd` standard error; the open file must block afterwards as before."""
    kept = os.dup(2)
    os.dup2(fd, 2)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        yield
        assert fcntl.fcntl(fd, fcntl.F_GETFL) == flags
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@pytest.fixture(autouse=True)
def short_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PATIENCE", 0.5)
    monkeypatch.setattr(log, "LINE_WAIT", 0.1)


@pytest.fixture(params=["opened anew", "as it is"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether a terminal can be opened once more; without /proc it cannot."""
    if request.param == "as it is":

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOENT, "no /proc")

        monkeypatch.setattr("posix.open", refuse)
    return str(request.param)


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 4096)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x")
    os.set_blocking(fd, True)


def lines(count: int) -> tuple[Log, float]:
    """Write lines; return the log and how long that took."""
    written = Log(priority=False)
    started = time.monotonic()
    for number in range(count):
        written.info(f"line {number}")
    return written, time.monotonic() - started


def test_a_full_pipe_costs_no_more_than_the_patience() -> None:
    theirs, ours = os.pipe()
    fill(ours)
    with as_standard_error(ours):
        written, seconds = lines(200)
        assert log.PATIENCE <= seconds < log.PATIENCE + 0.5
        os.read(theirs, 1 << 20)
        written.info("somebody reads again")
        written.info("and again")
    assert os.read(theirs, 1 << 20).decode().split("] ", 1)[0].startswith("\nazready [")
    os.close(theirs)
    os.close(ours)


def test_a_line_after_dropped_ones_says_how_many() -> None:
    theirs, ours = os.pipe()
    fill(ours)
    with as_standard_error(ours):
        written, seconds = lines(3)
        assert seconds < 3 * log.LINE_WAIT + 0.3
        os.read(theirs, 1 << 20)
        written.info("read again")
        written.info("and again")
    said = os.read(theirs, 1 << 20).decode()
    assert "] (3 lines dropped: nobody read them in time) read again\n" in said
    assert said.endswith("] and again\n")
    assert said.count("dropped") == 1
    os.close(theirs)
    os.close(ours)


def test_a_full_socket_costs_no_more_than_the_patience() -> None:
    """As the journal's, if the journal hangs: poll(2) is asked."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fill(ours.fileno())
        with as_standard_error(ours.fileno()):
            _, seconds = lines(200)
    assert seconds < log.PATIENCE + 0.5


def test_a_socket_gets_every_line() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with as_standard_error(ours.fileno()):
            lines(2)
        assert theirs.recv(4096).decode().count("] line ") == 2


def test_nobody_at_the_other_end_costs_nothing() -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    with as_standard_error(ours):
        _, seconds = lines(200)
    assert seconds < 0.5
    os.close(ours)


def test_a_terminal_stopped_by_control_s_costs_no_more_than_the_patience(way: str) -> None:
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    with as_standard_error(slave):
        written, seconds = lines(200)
        assert seconds < log.PATIENCE + 0.5
        termios.tcflow(slave, termios.TCOON)
        written.info("on again")
    said = b""
    while b"on again" not in said:
        said += os.read(master, 1 << 16)
    os.close(slave)
    os.close(master)


def test_a_terminal_that_nobody_reads_costs_no_more_than_the_patience(way: str) -> None:
    master, slave = pty.openpty()
    with as_standard_error(slave):
        _, seconds = lines(4000)
    assert seconds < log.PATIENCE + 1
    os.close(slave)
    os.close(master)


def test_a_slow_reader_gets_every_line() -> None:
    theirs, ours = os.pipe()
    said = bytearray()

    def read_slowly() -> None:
        while piece := os.read(theirs, 4096):
            said.extend(piece)
            time.sleep(0.001)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    with as_standard_error(ours):
        lines(4000)
    os.close(ours)
    reader.join()
    os.close(theirs)
    assert [line.split("] ")[1] for line in said.decode().splitlines()] == [
        f"line {number}" for number in range(4000)
    ]


def test_a_file_keeps_what_others_wrote(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "log"
    with open(place, "wb", buffering=0) as file, as_standard_error(file.fileno()):
        file.write(b"before\n")
        lines(1)
        file.write(b"after\n")
    assert [line[-6:] for line in place.read_text().splitlines()] == ["before", "line 0", "after"]


@pytest.mark.parametrize("character", ["x", "\u20ac", "\U0001f680", "\x1b", "\ud800"])
def test_a_line_fits_into_one_atomic_write(character: str, tmp_path: pathlib.Path) -> None:
    place = tmp_path / "log"
    with open(place, "wb", buffering=0) as file, as_standard_error(file.fileno()):
        Log(priority=False).error(character * 100000)
        Log(priority=False).error(character * 10)
    long, short = place.read_bytes().splitlines()
    assert 1000 < len(long) < 4096
    assert long.endswith(b"...")
    assert not short.endswith(b"...")
