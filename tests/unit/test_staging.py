"""Two processes replace the same file; some of them are killed, or told to end, in the middle."""

import errno
import fcntl
import multiprocessing
import os
import pathlib
import posix
import signal
import subprocess
import sys
import time

import pytest

from agent import staging
from agent.errors import GuestError
from agent.root import Root
from tests.conftest import TOP

ROUNDS = 2000  # of each of the two processes
ONE, OTHER = b"a" * 3000, b"b" * 7000
FORK = multiprocessing.get_context("fork")


def replace_again_and_again(tree: str, content: bytes, rounds: int) -> None:
    root = Root(tree)
    for _ in range(rounds):
        root.replace("/etc/file", content)


@pytest.fixture
def etc(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of rounds would take minutes on a disk."""
    monkeypatch.setattr(posix, "fsync", lambda _: None)


@pytest.mark.usefixtures("unsynced")
def test_two_writers_leave_one_whole_file_and_nothing_else(etc: pathlib.Path) -> None:
    (etc / "file").write_bytes(ONE)
    writers = [
        FORK.Process(target=replace_again_and_again, args=(str(etc.parent), content, ROUNDS))
        for content in (ONE, OTHER)
    ]
    for writer in writers:
        writer.start()
    seen: dict[bytes, int] = {}
    while any(writer.is_alive() for writer in writers):
        content = (etc / "file").read_bytes()
        seen[content] = seen.get(content, 0) + 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert set(seen) == {ONE, OTHER}
    assert min(seen.values()) > 10
    assert os.listdir(etc) == ["file"]


@pytest.mark.usefixtures("unsynced")
def test_what_a_killed_writer_left_goes_and_what_a_live_one_has_stays(etc: pathlib.Path) -> None:
    (etc / ".file.1.azready").write_text("left by a killed run")
    (etc / ".file.2.azready").mkdir()
    (etc / ".file.2.azready/inside").touch()
    (etc / ".other.3.azready").touch()
    os.mkfifo(etc / ".file.4.azready")
    (etc / ".file.6.azready").symlink_to(etc.parent)
    with open(etc / ".file.5.azready", "w") as live:
        fcntl.flock(live, fcntl.LOCK_EX)
        Root(str(etc.parent)).replace("/etc/file", ONE)
        assert sorted(os.listdir(etc)) == [
            ".file.5.azready",
            ".file.6.azready",
            ".other.3.azready",
            "file",
        ]
    Root(str(etc.parent)).replace("/etc/file", OTHER)
    assert sorted(os.listdir(etc)) == [".file.6.azready", ".other.3.azready", "file"]


@pytest.mark.usefixtures("unsynced")
def test_writers_that_are_killed_hinder_nobody(etc: pathlib.Path) -> None:
    steady = FORK.Process(target=replace_again_and_again, args=(str(etc.parent), ONE, ROUNDS // 4))
    steady.start()
    kills = 0
    while steady.is_alive():
        victim = FORK.Process(target=replace_again_and_again, args=(str(etc.parent), OTHER, ROUNDS))
        victim.start()
        time.sleep(0.02 + kills % 10 / 1000)
        victim.kill()
        victim.join()
        kills += 1
    assert steady.exitcode == 0
    assert kills > 3
    replace_again_and_again(str(etc.parent), ONE, 1)
    assert os.listdir(etc) == ["file"]


def test_an_entry_taken_for_left_behind_is_given_up(
    etc: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock, another process may lock it, and remove it."""
    taken: list[int] = []
    real = fcntl.flock

    def flock(fd: int, how: int) -> None:
        if not taken:
            (entry,) = (path for path in etc.iterdir() if path.name != "file")
            taken.append(os.open(entry, os.O_RDONLY))
            real(taken[0], how)
            entry.unlink()
        real(fd, how)

    monkeypatch.setattr(staging, "flock", flock)
    Root(str(etc.parent)).replace("/etc/file", ONE)
    os.close(taken[0])
    assert (os.listdir(etc), (etc / "file").read_bytes()) == (["file"], ONE)


def test_an_entry_put_in_place_meanwhile_is_not_removed(
    etc: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (etc / ".file.1.azready").write_bytes(OTHER)
    real = fcntl.flock

    def flock(fd: int, how: int) -> None:
        if (etc / ".file.1.azready").exists():
            os.rename(etc / ".file.1.azready", etc / "other")
            (etc / ".file.1.azready").touch()  # the same name, but another file
            monkeypatch.setattr(staging, "flock", real)
        real(fd, how)

    monkeypatch.setattr(staging, "flock", flock)
    Root(str(etc.parent)).replace("/etc/file", ONE)
    assert sorted(os.listdir(etc)) == [".file.1.azready", "file", "other"]


def test_without_locks_files_are_replaced_and_nothing_is_swept(
    etc: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    (etc / ".file.1.azready").touch()
    monkeypatch.setattr(staging, "flock", flock)
    Root(str(etc.parent)).replace("/etc/file", ONE)
    assert sorted(os.listdir(etc)) == [".file.1.azready", "file"]


def test_a_folder_whose_owner_removes_everything_is_an_error(
    etc: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        for entry in etc.iterdir():
            entry.unlink()

    monkeypatch.setattr(staging, "flock", flock)
    with pytest.raises(GuestError, match="file: another process removes what is to become it"):
        Root(str(etc.parent)).replace("/etc/file", ONE)


SLOW = """
import posix, sys, time
from agent.root import Root
real = posix.fsync
def fsync(fd):
    posix.write(1, b".")
    time.sleep(0.3)
    real(fd)
posix.fsync = fsync
Root(sys.argv[1]).replace("/etc/file", b"new")
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_file_is_in_place(
    etc: pathlib.Path, number: signal.Signals
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", SLOW, etc.parent],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert writer.stdout is not None
    assert writer.stdout.read(1) == b"."
    writer.send_signal(number)
    assert writer.wait(10) == -number
    assert (os.listdir(etc), (etc / "file").read_bytes()) == (["file"], b"new")
    writer.stdout.close()
