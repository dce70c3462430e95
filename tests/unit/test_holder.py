"""Who holds a lease, and what happens if the server does not take the new name."""

import _socket
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from agent.errors import GuestError
from agent.machine import holder, outside
from agent.root import Root
from agent.steps import publish_host_name
from tests.network import WHY_NOT, Network, network

namespaces = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
LOOPBACK = socket.if_nametoindex("lo")
TELL = """
import socket, sys
from agent.azure.retry import Deadline
from agent.errors import AzreadyError
from agent.log import Log
from agent.machine import holder
from agent.root import Root
index = socket.if_nametoindex("eth0")
print(holder.find(Root(sys.argv[1]), index), flush=True)
try:
    holder.tell(Root(sys.argv[1]), index, Log(verbose=True), Deadline(2))
except AzreadyError as error:
    print(error)
"""


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        made.ip("addr add 10.9.0.50/24 dev eth0")
        made.ip("link set eth0 up")
        yield made


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "_clients", lambda: iter(()))


def write(tree: pathlib.Path, path: str, text: str) -> None:
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(text)


def test_run_time_state_names_the_client(tmp_path: pathlib.Path) -> None:
    root = Root(str(tmp_path))
    assert holder.find(root, LOOPBACK) == ""
    device = f"run/NetworkManager/devices/{LOOPBACK}"
    write(tmp_path, device, "[device]\nmanaged=true\n")
    assert holder.find(root, LOOPBACK) == "", "managed, without a lease"
    write(tmp_path, device, "[device]\nmanaged=true\n\n[dhcp4]\ndhcp4.host_name=old\n")
    assert holder.find(root, LOOPBACK) == "NetworkManager"
    write(tmp_path, f"run/systemd/netif/leases/{LOOPBACK}", "CLIENTID=ff01\n")
    assert holder.find(root, LOOPBACK) == "systemd-networkd"


def test_no_process_is_looked_at_for_a_lease_that_networkd_holds(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    words = {"-x", "hostname:old", "-i", "lo"}

    def clients() -> Iterator[tuple[str, str, set[str]]]:
        looks.append("all")
        yield "udhcpc", "7", words

    monkeypatch.setattr(holder, "_clients", clients)
    root = Root(str(tmp_path))
    assert holder.is_told(root, LOOPBACK, "old")
    write(tmp_path, f"run/systemd/netif/leases/{LOOPBACK}", "CLIENTID=ff01\n")
    assert not holder.is_told(root, LOOPBACK, "old")
    assert looks == ["all"]


@pytest.mark.parametrize("slice_", ["system.slice", "systemd/system.slice"])
def test_what_systemd_runs_may_be_at_work_on_a_link(tmp_path: pathlib.Path, slice_: str) -> None:
    root, groups = Root(str(tmp_path)), tmp_path / "sys/fs/cgroup" / slice_
    (groups / "ssh.service").mkdir(parents=True)
    assert not holder.is_at_work(root, LOOPBACK)
    (groups / "systemd-networkd.service").mkdir()
    assert holder.is_at_work(root, LOOPBACK), "networkd starts"
    for state, expected in {
        "pending": True,
        "initialized": True,
        "configuring": True,
        "configured": False,  # without an address, or nobody would ask
        "unmanaged": False,
        "failed": False,
    }.items():
        text = f"# private data\nADMIN_STATE={state}\nOPER_STATE=off\n"
        write(tmp_path, f"run/systemd/netif/links/{LOOPBACK}", text)
        assert holder.is_at_work(root, LOOPBACK) is expected, state
    (groups / "networking.service").mkdir()
    assert holder.is_at_work(root, LOOPBACK), "ifupdown does all links"


def test_a_client_that_runs_is_at_work_on_its_link(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: set[str] = set()
    monkeypatch.setattr(holder, "_clients", lambda: iter([("udhcpc", "1", words)]))
    monkeypatch.setattr(_socket, "if_nameindex", lambda: [(LOOPBACK, "lo"), (9, "eth9")])
    assert holder.is_at_work(Root(str(tmp_path)), LOOPBACK), "no link is named"
    words |= {"-i", "eth9"}
    assert not holder.is_at_work(Root(str(tmp_path)), LOOPBACK)


@pytest.mark.parametrize(
    ("client", "words", "told"),
    [
        ("udhcpc", {"-x", "hostname:old"}, True),
        ("udhcpc", {"-xhostname:old", "-i", "lo"}, True),
        ("udhcpc", {"-x", "hostname:new"}, False),
        ("udhcpc", {"-x", "hostname:old", "-i", "other"}, False),
        ("dhcpcd", {"hostname:old"}, False),
    ],
)
def test_a_lease_that_came_after_the_name_may_carry_the_old_one(
    client: str,
    words: set[str],
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
) -> None:
    monkeypatch.setattr(_socket, "if_nameindex", lambda: [(LOOPBACK, "lo"), (9, "other")])
    monkeypatch.setattr(holder, "_clients", lambda: iter([(client, "7", words)]))
    monkeypatch.setattr(holder, "addresses", lambda: frozenset({(LOOPBACK, b"\x0a\0\0\4")}))
    root = Root(str(tmp_path))
    assert holder.is_told(root, LOOPBACK, "old") == told
    boot = SimpleNamespace(
        client=None,
        root=SimpleNamespace(is_live=True, exists=lambda _: False, read=lambda _: None),
        config=SimpleNamespace(steps={"host_name": True}),
        profile=SimpleNamespace(host_names=("new",)),
        old_name="old",
        unnamed=frozenset(),
    )
    said = [change.text for change in publish_host_name.changes(boot)]  # type: ignore[arg-type]
    assert said == ["renew the lease of lo (udhcpc) under the new host name"] * told


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({"udhcpc", "-i", "lo"}, "udhcpc"),
        ({"udhcpc"}, "udhcpc"),
        ({"udhcpc", "-i", "other"}, ""),
    ],
)
def test_a_process_is_the_client_of_the_links_that_it_names(
    words: set[str], found: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "_clients", lambda: iter([("udhcpc", "1", words)]))
    monkeypatch.setattr(outside, "is_confined", lambda: False)
    monkeypatch.setattr(_socket, "if_nameindex", lambda: [(LOOPBACK, "lo"), (99, "other")])
    assert holder.find(Root(str(tmp_path)), LOOPBACK) == found


@pytest.mark.parametrize("confined", [True, False])
def test_a_file_names_a_client_only_where_processes_are_hidden(
    confined: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "is_confined", lambda: confined)
    write(tmp_path, "run/dhclient.eth0.pid", "1\n")
    assert holder.find(Root(str(tmp_path)), LOOPBACK) == ("dhclient" if confined else "")


def test_what_failed_is_told_for_each_link(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_root: Root, index: int, *_: object) -> None:
        raise GuestError(f"link {index} failed")

    monkeypatch.setattr(holder, "tell", fail)
    found = frozenset({(3, b"\1\2\3\4"), (2, b"\1\2\3\5"), (2, b"\1\2\3\6")})
    problems = holder.announce(Root(str(tmp_path)), found, None, None)  # type: ignore[arg-type]
    assert problems == ["link 2 failed", "link 3 failed"]


@namespaces
@pytest.mark.parametrize(
    ("mode", "said", "asked"),
    [
        ("honest", "udhcpc\n", ["request"]),
        ("nak", "the DHCP server refused to prolong the lease of 10.9.0.50 on eth0", ["request"]),
        ("silent", "the DHCP server did not answer about the lease of 10.9.0.50", ["request"]),
    ],
)
def test_an_answer_is_waited_for(
    mode: str, said: str, asked: list[str], net: Network, tmp_path: pathlib.Path
) -> None:
    server = net.start([sys.executable, "-m", "tests.dhcp_server", mode], net.platform)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    # Its command line is that of a udhcpc. The namespace shares /proc with all others.
    client = subprocess.Popen(["/sbin/udhcpc", "30"], executable="/bin/sleep")
    try:
        text = net.start([sys.executable, "-c", TELL, str(tmp_path)], net.guest).communicate(
            timeout=30
        )[0]
    finally:
        client.kill()
        client.wait()
    server.kill()
    assert text.startswith("udhcpc\n")
    assert said in text
    assert list(dict.fromkeys(server.communicate(timeout=10)[0].split())) == asked
    assert "10.9.0.50/24" in net.ip("addr show dev eth0")
