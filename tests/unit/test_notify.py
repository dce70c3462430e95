"""What systemd is told, over a socket like its own."""

import pathlib
import socket
import threading
from collections.abc import Iterator

import pytest

from agent import notify
from agent.boot import Boot
from agent.commands import common, early, provision
from agent.log import Log
from agent.root import Root
from agent.steps import LOGIN, host_keys
from scripts.simulator import scenario
from scripts.simulator.server import Simulator


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(name if request.param == "path" else "\0" + name)
        environ = {b"NOTIFY_SOCKET": (name if request.param == "path" else "@" + name).encode()}
        monkeypatch.setattr("posix.environ", environ)
        yield listener


def received(manager: socket.socket) -> list[str]:
    manager.setblocking(False)
    found = []
    while True:
        try:
            found.append(manager.recv(65536).decode())
        except BlockingIOError:
            return found


def test_it_is_one_message_and_one_line(manager: socket.socket) -> None:
    notify.status("one\ntwo\nREADY=1 ü" + "x" * 1000)
    notify.ready()
    status, ready = received(manager)
    assert status.startswith("STATUS=one\\x0atwo\\x0aREADY=1 üxx")
    assert len(status) < 600
    assert ready == "READY=1"


def test_a_manager_that_does_not_listen_stops_nothing(manager: socket.socket) -> None:
    for _ in range(2000):  # more than any queue holds
        notify.status("busy")
    manager.close()
    notify.ready()


@pytest.mark.parametrize(
    "address", [b"", b"relative", b"vsock:2:1", b"/missing", b"@" + b"x" * 200]
)
def test_an_address_that_cannot_be_used_stops_nothing(
    address: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posix.environ", {b"NOTIFY_SOCKET": address})
    notify.ready()


def test_a_first_boot_says_step_and_try_and_is_ready_before_the_report(
    manager: socket.socket, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/azready.toml").write_text("steps.user = false\nsteps.media = false\n")
    told: list[str] = []

    def listen() -> None:
        while told[-1:] != ["STATUS=the end"]:
            told.append(manager.recv(65536).decode())

    listener = threading.Thread(target=listen)
    listener.start()
    with Simulator(scenario.parse("refusing", "[[goalstate]]\nstatus = 503")) as platform:
        urls = {f"--{name}": platform.url(name) for name in ("wireserver", "imds")}
        provision.run({"--root": str(tmp_path), "--force": "", **urls}, Log(priority=True))
    notify.status("the end")
    listener.join()
    ready = told.index("READY=1")
    steps = [at for at, text in enumerate(told) if text.startswith("STATUS=step ")]
    tries = [at for at, text in enumerate(told) if text.startswith("STATUS=reporting Ready: try ")]
    assert max(steps) < ready < min(tries)
    assert (
        "STATUS=step host_name: Set the host name in kernel, /etc/hostname and /etc/hosts." in told
    )
    assert "next try in " in told[tries[0]]
    assert told[-2] == "READY=1"


def test_whatever_ends_well_is_ready(manager: socket.socket, tmp_path: pathlib.Path) -> None:
    provision.run({"--root": str(tmp_path), "--wireserver": "http://127.0.0.1:9"}, Log())
    status, ready = received(manager)
    assert status.startswith("STATUS=not a VM on Azure")
    assert ready == "READY=1"


def run_of(root: pathlib.Path) -> Boot:
    return common.boot(Root(str(root)), {}, None, Log())


def test_people_are_let_in_once(manager: socket.socket, tmp_path: pathlib.Path) -> None:
    """Not in each pause again."""
    boot = run_of(tmp_path)
    early._use_keys(boot)
    assert received(manager) == []
    boot.done.add(LOGIN.name)
    for _ in range(3):
        early._use_keys(boot)
    assert received(manager) == ["READY=1"]


@pytest.mark.usefixtures("manager")
def test_a_pause_does_not_read_the_files_of_sshd(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc/ssh").mkdir(parents=True)
    (tmp_path / "etc/ssh/sshd_config").write_text("HostKey /etc/ssh/ssh_host_rsa_key\n")
    boot = run_of(tmp_path)
    boot.keys = host_keys.Keys(boot, "/no/ssh-keygen")
    monkeypatch.setattr(Root, "_read", lambda *_: pytest.fail("a file is read"))
    for _ in range(3):
        assert host_keys.due(boot) is None
    assert boot.keys.soon() == ["rsa", "ecdsa", "ed25519"], "sshd uses the slow one alone"
