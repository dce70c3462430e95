"""The wait for a way to the platform, in network namespaces of the kernel's own."""

import _socket
import contextlib
import errno
import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from agent.azure import http, retry
from agent.azure.retry import Deadline
from agent.errors import Transient
from agent.log import Quiet
from agent.machine.watch import Watch
from build.unshare import CLONE_NEWNET, unshare

namespace = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="a network namespace takes root and ip"
)


def apart(work: Callable[[], None]) -> None:
    """Run `work` in a process with a network of its own, whose only link is down."""

    def child() -> None:
        unshare(CLONE_NEWNET)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode == 0


@contextlib.contextmanager
def up_soon(seconds: float = 0.3) -> Iterator[list[float]]:
    """Switch the loopback link on after a while; the list holds when."""
    when: list[float] = []

    def switch() -> None:
        time.sleep(seconds)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        when.append(time.monotonic())

    thread = threading.Thread(target=switch)
    thread.start()
    yield when
    thread.join()


@namespace
def test_a_change_of_the_network_ends_the_wait() -> None:
    def work() -> None:
        with Watch() as watch:
            watch.wait(60)  # returns: something may have changed before
            with up_soon():
                watch.wait(60)
            for _ in range(10):
                watch.wait(0.02)  # what came with it
            started = time.monotonic()
            watch.wait(0.2)
            assert time.monotonic() - started >= 0.19

    apart(work)


@namespace
def test_what_was_lost_counts_as_a_change() -> None:
    def work() -> None:
        with Watch() as watch:
            watch.wait(0)
            assert watch._socket is not None
            watch._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, 1)
            for number in range(100):
                words = ["ip", "addr", "add", f"127.1.{number}.1/8", "dev", "lo"]
                subprocess.run(words, check=True)
            with pytest.raises(OSError, match="No buffer space"):
                _ = [watch._socket.recv(65536) for _ in range(1000)]
            subprocess.run(["ip", "addr", "flush", "dev", "lo"], check=True)
            watch.wait(60)
            started = time.monotonic()
            watch.wait(0.2)
            assert time.monotonic() - started >= 0.19

    apart(work)


def test_without_a_subscription_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    slept: list[float] = []
    monkeypatch.setattr("agent.machine.watch._socket.socket", refuse)
    monkeypatch.setattr("agent.machine.watch.sleep", slept.append)
    with Watch() as watch:
        watch.wait(1.5)
    assert slept == [1.5]


@namespace
def test_the_first_way_to_the_platform_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause would be a minute: only the kernel's word can end it."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 60.0)
    tries = 0

    def work() -> None:
        server = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        server.bind(("0.0.0.0", 8080))
        server.listen(1)
        endpoint = http.endpoint("http://127.0.0.1:8080")

        def once() -> float:
            nonlocal tries
            tries += 1
            connection = _socket.socket(endpoint.family, _socket.SOCK_STREAM)
            try:
                connection.connect((endpoint.address, endpoint.port))
            except OSError as error:
                raise Transient(str(error), no_way=error.errno == errno.ENETUNREACH) from None
            finally:
                connection.close()
            return time.monotonic()

        with up_soon() as when:
            arrived = retry.retry("connecting", once, Deadline(100), Quiet())
        assert arrived - when[0] < 20
        assert 3 <= tries < 20

    apart(work)
