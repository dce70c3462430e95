"""The DHCP client on a cable of its own: two network namespaces, and servers of every kind."""

import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from agent import boot, programs
from agent.azure import http
from agent.azure.retry import Deadline
from agent.commands import common
from agent.errors import UsageError
from agent.machine import dhcp, holder, links, outside
from agent.machine import network as network_of_kernel
from agent.protocol.netlink import Address, Link, Route
from agent.root import Root
from agent.settings import Config
from tests.conftest import Lines
from tests.network import WHY_NOT, Network, network

namespaces = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
needs_dnsmasq = pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed")


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


# Runs in the guest's namespace; argv: the tree, and statements.
CLIENT = """
import sys, time
from agent.azure.retry import Deadline
from agent.log import Log
from agent.machine import dhcp, links, talk
from agent.root import Root
talk.AFTER_CONFLICT = 0.2
client = dhcp.Client(Root(sys.argv[1]), Log(verbose=True))
def turn(seconds=10, no_way=True):
    print(client.turn(Deadline(seconds), no_way=no_way), bool(client.lease), flush=True)
exec(sys.argv[2])
"""


def client(net: Network, tree: pathlib.Path, statements: str = "turn()") -> "subprocess.Popen[str]":
    return net.start([sys.executable, "-c", CLIENT, str(tree), statements], net.guest)


def said(process: "subprocess.Popen[str]", seconds: float = 30) -> str:
    return process.communicate(timeout=seconds)[0]


def server(net: Network, mode: str) -> "subprocess.Popen[str]":
    process = net.start([sys.executable, "-m", "tests.dhcp_server", mode], net.platform)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def asked(process: "subprocess.Popen[str]") -> list[str]:
    """What a server was asked. A question that a slow machine asks again counts once."""
    return [kind for kind, _ in itertools.groupby(everything_asked(process))]


def everything_asked(process: "subprocess.Popen[str]") -> list[str]:
    process.kill()
    return said(process).split()


def addresses(net: Network, link: str = "eth0") -> list[dict[str, object]]:
    """The IPv4 addresses of a link of the guest."""
    (found,) = json.loads(net.ip(f"-json -4 addr show dev {link}")) or [{}]
    return found.get("addr_info", []) if found else []


@namespaces
def test_a_lease_is_all_that_it_says(net: Network, tmp_path: pathlib.Path) -> None:
    served = server(net, "honest")
    text = said(client(net, tmp_path))
    assert "True True" in text, text
    assert "eth0 has 10.9.0.50/24 and 2 routes from the DHCP server 10.9.0.1" in text
    assert "the lease ends in 120 s" in text
    (address,) = addresses(net)
    assert (address["local"], address["prefixlen"]) == ("10.9.0.50", 24)
    assert 110 < int(str(address["valid_life_time"])) <= 120
    routes = net.ip("route")
    assert "168.63.129.16 via 10.9.0.1 dev eth0 proto dhcp src 10.9.0.50 metric 65536" in routes
    assert "10.10.0.0/16 dev eth0 proto dhcp scope link" in routes
    assert "default" not in routes
    assert "mtu 1400" in net.ip("link show dev eth0")
    assert (tmp_path / "etc/resolv.conf").read_text().endswith("\nnameserver 10.9.0.1\n")
    assert asked(served) == ["discover", "request"]


@namespaces
@needs_dnsmasq
def test_a_lease_of_dnsmasq_is_renewed_and_resolv_conf_stays(
    net: Network, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "etc").mkdir()
    # A link that leads nowhere is somebody's plan.
    (tmp_path / "etc/resolv.conf").symlink_to("/run/nothing")
    served = net.dnsmasq("--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,120")
    text = said(client(net, tmp_path, "turn(); time.sleep(1.5); client.renew(Deadline(9)); turn()"))
    assert "True True" in text, text
    assert "renewed 10.9.0." in text
    assert text.endswith("False True\n")
    (address,) = addresses(net)
    assert int(str(address["valid_life_time"])) >= 118
    assert (tmp_path / "etc/resolv.conf").is_symlink()
    served.terminate()
    assert said(served).count("DHCPACK") == 2


@namespaces
def test_a_refusal_starts_again(net: Network, tmp_path: pathlib.Path) -> None:
    served = server(net, "nak")
    text = said(client(net, tmp_path))
    assert "offered a lease and did not give it" in text
    assert "True True" in text
    assert asked(served) == ["discover", "request"] * 2


@namespaces
def test_an_address_that_somebody_has_is_declined(net: Network, tmp_path: pathlib.Path) -> None:
    served = server(net, "used")
    text = said(client(net, tmp_path))
    assert "another host has 10.9.0.1, which the DHCP server 10.9.0.1 offered" in text
    assert [address["local"] for address in addresses(net)] == ["10.9.0.50"]
    assert asked(served) == ["discover", "request", "decline", "discover", "request"]


@namespaces
@pytest.mark.parametrize("mode", ["silent", "liar"])
def test_without_an_honest_answer_nothing_is_configured(
    net: Network, tmp_path: pathlib.Path, mode: str
) -> None:
    served = server(net, mode)
    started = time.monotonic()
    text = said(client(net, tmp_path, "turn(6)"))
    assert 5 < time.monotonic() - started < 12
    assert "no DHCP: no server on eth0 gave a lease" in text
    assert "True False" in text
    assert addresses(net) == []
    assert list(tmp_path.iterdir()) == []
    assert 3 <= len(everything_asked(served)) <= 4  # after 0, 1, 3 s


@namespaces
def test_who_is_configured_is_left_alone(net: Network, tmp_path: pathlib.Path) -> None:
    served = server(net, "honest")
    net.ip("link set eth0 up")
    net.ip("addr add 10.9.0.7/24 dev eth0")
    before = net.ip("addr show dev eth0 scope global"), net.ip("route")
    text = said(client(net, tmp_path, "turn(); turn()"))
    assert text.count("somebody else configures the network (10.9.0.7 on eth0)") == 1
    assert text.count("False False") == 2
    assert (net.ip("addr show dev eth0 scope global"), net.ip("route")) == before
    assert asked(served) == []
    assert list(tmp_path.iterdir()) == []


@namespaces
def test_who_comes_meanwhile_wins_at_once(net: Network, tmp_path: pathlib.Path) -> None:
    server(net, "silent")
    process = client(net, tmp_path, "turn(30)")
    time.sleep(2.5)
    assert process.poll() is None
    net.ip("addr add 10.9.0.7/24 dev eth0")
    started = time.monotonic()
    text = said(process)
    assert time.monotonic() - started < 1
    assert "somebody else configures the network (10.9.0.7 on eth0)" in text
    assert [address["local"] for address in addresses(net)] == ["10.9.0.7"]


@namespaces
def test_who_comes_later_takes_over(net: Network, tmp_path: pathlib.Path) -> None:
    served = server(net, "honest")
    later = (
        "turn(); import subprocess;"
        "subprocess.run('ip addr add 10.9.0.7/24 dev eth0', shell=True, check=True);"
        "client.renew(Deadline(9)); client.renew(Deadline(9));"
    )
    text = said(client(net, tmp_path, later))
    assert text.count("somebody else configures the network (10.9.0.7 on eth0)") == 1
    assert asked(served) == ["discover", "request"]


@namespaces
def test_an_address_that_is_gone_is_asked_for_again(net: Network, tmp_path: pathlib.Path) -> None:
    server(net, "honest")
    gone = "turn(); import os; os.system('ip addr flush dev eth0'); turn(); turn()"
    text = said(client(net, tmp_path, gone))
    assert text.count("eth0 has 10.9.0.50/24") == 2
    assert [line for line in text.splitlines() if line.startswith(("True", "False"))] == [
        "True True",
        "True False",
        "True True",
    ]


@namespaces
def test_a_link_without_a_carrier_gives_way_to_the_next(
    net: Network, tmp_path: pathlib.Path
) -> None:
    for words in (
        "link set p0 down",
        "link set p0 name old",
        f"link add p0 type veth peer name eth1 netns {net.guest[1].partition('=')[2]}",
        "addr add 10.9.0.1/24 dev p0",
        "link set p0 up",
    ):
        net.ip(words, net.platform)
    server(net, "honest")
    text = said(client(net, tmp_path, "turn(30); turn(30)"))
    assert "no DHCP: eth0 has no carrier" in text, text
    assert text.index("no DHCP: eth0 has no carrier") < text.index("eth1 has 10.9.0.50/24")
    assert addresses(net) == []


@namespaces
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_without_the_right_to_packet_sockets_nothing_is_touched(
    net: Network, tmp_path: pathlib.Path
) -> None:
    before = net.ip("addr show dev eth0")
    without = ["setpriv", "--bounding-set=-net_raw,-net_admin", "--"]
    words = [sys.executable, "-c", CLIENT, str(tmp_path), "turn(); turn()"]
    text = said(net.start([*without, *words], net.guest))
    assert text.count("no DHCP: packet sockets are refused (CAP_NET_RAW, AF_PACKET)") == 1
    assert text.count("False False") == 2
    assert net.ip("addr show dev eth0") == before


def test_systemd_runs_it_outside_of_the_sandbox(
    log: Lines, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    known: "links.Survey" = ([link(2, "eth0", 1)], [], [])
    ran: list[list[str]] = []

    def run(words: list[str], **_: object) -> programs.Result:
        ran.append(words)
        return programs.Result(len(ran) - 1, "azready [0.1] looks\nazready [0.2] eth0 has it\n")

    monkeypatch.setattr(outside, "is_confined", lambda: True)
    monkeypatch.setattr(programs, "usable", lambda _, name: f"/usr/bin/{name}")
    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(network_of_kernel, "survey", lambda: known)
    made = dhcp.Client(Root(str(tmp_path)), log)
    assert made.turn(Deadline(60), no_way=True)
    assert log.lines[-1] == "6 eth0 has it"
    (words,) = ran
    assert words[0] == "/usr/bin/systemd-run"
    assert words[-2:] == ["lease", "--deadline=30"]
    assert not made.turn(Deadline(60), no_way=True)
    assert log.lines[-1].startswith("4 warning: no DHCP: azready lease ")


def test_a_client_that_is_at_work_has_a_minute(
    log: Lines, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The links that somebody is at work on are his, the others are not."""
    known: "links.Survey" = ([link(2, "eth0", 1), link(3, "eth1", 2)], [], [])
    busy, tried, now = {2, 3}, [], [100.0]

    def switch_on(found: Link) -> None:
        tried.append(found.name)
        raise network_of_kernel.NetworkError("refused")

    monkeypatch.setattr(outside, "is_confined", lambda: False)
    monkeypatch.setattr(network_of_kernel, "survey", lambda: known)
    monkeypatch.setattr(holder, "is_at_work", lambda _, index: index in busy)
    monkeypatch.setattr(dhcp, "monotonic", lambda: now[0])
    monkeypatch.setattr(links, "switch_on", switch_on)
    made = dhcp.Client(Root(str(tmp_path)), log, patience=dhcp.PATIENCE)
    assert not made.turn(Deadline(60), no_way=True)
    assert (tried, log.lines) == ([], [])
    busy.discard(3)
    made.turn(Deadline(60), no_way=True)
    assert tried == ["eth1"]
    busy.add(3)
    now[0] += dhcp.PATIENCE
    made.turn(Deadline(60), no_way=True)
    assert tried == ["eth1", "eth1"], "the second of two has its turn"
    made.turn(Deadline(60), no_way=True)
    assert tried[2:] == ["eth0"]
    dhcp.Client(Root(str(tmp_path)), log).turn(Deadline(60), no_way=True)
    assert tried[3:] == ["eth0"], "`now` has no patience"


def test_a_kernel_that_does_not_answer_makes_no_plan(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise network_of_kernel.NetworkError("refused")

    monkeypatch.setattr(network_of_kernel, "survey", refuse)
    assert list(dhcp.plan(Root(str(tmp_path)), 5)) == []


DOWN = (True, False)


def link(index: int, name: str, mac: int, **more: object) -> Link:
    return Link(index, name, bytes(5) + bytes((mac,)), *DOWN, **more)  # type: ignore[arg-type]


def with_driver(tree: pathlib.Path, name: str, driver: str) -> None:
    device = tree / f"sys/class/net/{name}/device"
    device.mkdir(parents=True)
    (device / "driver").symlink_to(f"../../../bus/drivers/{driver}")


def test_links_of_hyper_v_come_first_and_what_lies_below_never(tmp_path: pathlib.Path) -> None:
    with_driver(tmp_path, "eth0", "virtio_net")
    with_driver(tmp_path, "eth1", "hv_netvsc")
    with_driver(tmp_path, "eth2", "mlx5_core")
    with_driver(tmp_path, "eth3", "mana")
    found = links.usable(
        Root(str(tmp_path)),
        [
            Link(1, "lo", bytes(6), True, True, is_ethernet=False),
            link(2, "eth0", 1),
            link(3, "eth1", 2),
            link(4, "eth2", 2),  # the same MAC, and not yet its slave
            link(5, "eth3", 3, master=3),
            link(6, "br0", 4, kind="bridge"),
            link(7, "ib0", 5, is_ethernet=False),
            Link(8, "odd", b"", True, True),
        ],
    )
    assert [one.name for one in found] == ["eth1", "eth0"]


HOST = b"\x0a\0\0\4"


@pytest.mark.parametrize(
    ("addresses", "routes", "says"),
    [
        ([], [], ""),
        ([Address(2, HOST, 24)], [], ""),  # our own
        ([Address(3, HOST, 24)], [], ""),  # of no link that azready would configure
        ([Address(2, bytes(16), 64)], [], ""),
        ([Address(2, b"\x0a\0\0\5", 24)], [], "10.0.0.5 on eth0"),
        ([], [Route(b"", 0, HOST, 2, links.METRIC), Route(HOST, 32, b"", 2)], ""),
        ([], [Route(b"", 0, HOST, 9, 100)], "a route by 10.0.0.4 on 9"),
        ([], [Route(b"", 0, bytes(16), 2)], ""),
    ],
)
def test_what_is_not_ours_shows_somebody_else(
    tmp_path: pathlib.Path, addresses: list[Address], routes: list[Route], says: str
) -> None:
    known = [link(2, "eth0", 1), link(3, "docker0", 2, kind="bridge")]
    assert links.taken(Root(str(tmp_path)), (known, addresses, routes), (2, HOST)) == says


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({}, 5.0), ({"--dhcp": "auto"}, 5.0), ({"--dhcp": "now"}, 0.0), ({"--dhcp": "never"}, None)],
)
def test_when_a_lease_is_asked_for(options: dict[str, str], seconds: "float | None") -> None:
    assert common.grace(options, Config()) == seconds
    assert common.grace({}, Config({"dhcp": "never"})) is None


def test_another_word_is_refused() -> None:
    with pytest.raises(UsageError, match="--dhcp 'yes' is unknown: use one of never, auto, now"):
        common.grace({"--dhcp": "yes"}, Config())


class Asked:
    """In the place of the client."""

    lease = None

    def __init__(self, *_: object, patience: float) -> None:
        self.turns: list[bool] = []
        self.patience = patience

    def turn(self, _: Deadline, *, no_way: bool) -> bool:
        self.turns.append(no_way)
        return True


def run_of(log: Lines, tree: str = "/", **more: bool) -> boot.Boot:
    nowhere = http.endpoint("http://127.0.0.1:1")
    made = boot.Boot(Root(tree), nowhere, nowhere, Deadline(60), Config(), log, **more)
    made.dhcp = 5.0
    return made


def test_the_client_starts_after_the_grace_and_only_without_a_way(
    log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(boot, "monotonic", lambda: now)
    monkeypatch.setattr("agent.machine.dhcp.Client", Asked)
    made = run_of(log)
    assert not made.meanwhile(Deadline(1), False)
    assert not made.meanwhile(Deadline(1), True)
    now += 4.9
    assert not made.meanwhile(Deadline(1), True)
    now += 0.2
    assert not made.meanwhile(Deadline(1), False)
    assert not made.client
    assert made.meanwhile(Deadline(1), True)
    assert made.meanwhile(Deadline(1), False)  # a lease may have to be renewed
    assert isinstance(made.client, Asked)
    assert made.client.turns == [True, False]
    assert made.client.patience == 60


def test_now_has_no_patience_with_others(log: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.machine.dhcp.Client", Asked)
    made = run_of(log)
    made.dhcp = 0.0
    assert made.meanwhile(Deadline(1), True)
    assert isinstance(made.client, Asked)
    assert made.client.patience == 0


def test_another_tree_a_rehearsal_and_never_leave_the_network_alone(
    log: Lines, tmp_path: pathlib.Path
) -> None:
    never = run_of(log)
    never.dhcp = None
    for made in (never, run_of(log, str(tmp_path)), run_of(log, rehearsing=True)):
        assert not made.meanwhile(Deadline(1), True)
        assert made.client is None


def test_the_wireserver_of_a_lease_gives_way_to_one_that_was_chosen(log: Lines) -> None:
    made = run_of(log)
    made._take_wireserver(b"\x0a\0\0\x09")
    assert made.wireserver.address == "127.0.0.1"
    made.wireserver = http.endpoint("http://168.63.129.16")
    made._take_wireserver(b"\xa8\x3f\x81\x10")
    assert log.lines == []
    made._take_wireserver(b"\x0a\0\0\x09")
    assert made.wireserver == http.endpoint("http://10.0.0.9")
    assert log.lines == ["6 the DHCP server names 10.0.0.9 as the wireserver"]
