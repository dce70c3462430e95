"""What is done before the metadata are known, and what of it outlives a signal: nothing."""

import dataclasses
import os
import pathlib
import posix
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from agent import programs, signals, sshd
from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.commands import early
from agent.commands.failure import ProvisioningFailed
from agent.commands.provision import provision
from agent.errors import UsageError
from agent.formats.sshd_config import Server
from agent.profile import Profile
from agent.root import Root
from agent.settings import Config
from agent.steps import host_keys
from scripts.simulator import media, scenario
from scripts.simulator.scenario import Scenario
from scripts.simulator.server import Exchange, Simulator
from tests.conftest import Lines
from tests.unit import test_programs, test_provision
from tests.unit.test_programs import Started
from tests.unit.test_provision import boot

root, started = test_provision.root, test_programs.started
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="making a user takes root")


@pytest.fixture
def armed() -> Iterator[None]:
    old = {number: signal.getsignal(number) for number in (*signals.NUMBERS, signal.SIGCHLD)}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as a careless parent leaves it
    signals.arm()
    yield
    for number, handler in old.items():
        signal.signal(number, handler)
    signals._State.listening, signals._State.name = False, ""


@pytest.fixture
def sleeper(started: Started) -> str:
    """A program that says who it is, and sleeps."""
    return started.script("me\nexec sleep 30\n")[-1]


def insert_cd(tree: pathlib.Path, chosen: Scenario) -> None:
    (tree / "dev").mkdir(exist_ok=True)
    (tree / "dev/sr0").write_bytes(media.image(chosen.vm))


def test_programs_are_waited_for_though_whoever_started_us_ignored_their_end(armed: None) -> None:
    assert programs.run(["/bin/sh", "-c", "exit 3"]).code == 3


@pytest.mark.parametrize("begin", [sshd.ask, host_keys.begin])
def test_a_signal_while_a_program_is_started_leaves_none(
    begin: Callable[[Boot], None],
    started: Started,
    sleeper: str,
    tmp_path: pathlib.Path,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
    armed: None,
) -> None:
    """To start it takes as long as the disk needs to read it."""
    spawn, nowhere = posix.posix_spawn, http.endpoint("http://127.0.0.1:9")

    def start(*words: object, **options: object) -> int:
        child = spawn(*words, **options)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)
        return child

    (tmp_path / "etc/ssh").mkdir(parents=True)
    made = Boot(Root(str(tmp_path)), nowhere, nowhere, Deadline(8), Config(), log)
    made.profile = Profile(user_name="ann")
    made.foresees, made.server = True, Server()
    monkeypatch.setattr(sshd, "program", lambda _: sleeper)
    monkeypatch.setattr(host_keys, "_planned", lambda boot: host_keys.Keys(boot, sleeper))
    monkeypatch.setattr(posix, "posix_spawn", start)
    signals.listen()
    with pytest.raises(signals.Ended):
        begin(made)
    time.sleep(0.3)
    early.end(made)
    assert started.alive() == set()


@needs_root
def test_after_a_signal_sshd_is_not_asked_again(
    root: pathlib.Path,
    started: Started,
    sleeper: str,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
    armed: None,
) -> None:
    """SIGTERM while IMDS is waited for; the wireserver does not answer at once either."""
    monkeypatch.setattr(sshd, "program", lambda _: sleeper)
    chosen = scenario.parse(
        "x",
        '[vm]\nmedia = "cd"\n[[imds]]\nstatus = 503\ntimes = 99\n'
        "[[goalstate]]\nstatus = 503\ntimes = 1\n",
    )
    insert_cd(root, chosen)
    for path, text in {
        "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n",
        "bin/sh": "",
    }.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755)
    killed: list[Exchange] = []

    def act(exchange: Exchange) -> None:
        if exchange.service == "imds" and not killed:
            killed.append(exchange)
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGTERM)

    with Simulator(chosen, on_exchange=act) as platform, pytest.raises(ProvisioningFailed):
        provision(boot(platform, root, log))
    assert killed
    assert started.alive() == set()


@needs_root
def test_the_host_name_of_a_late_cd_counts_without_imds(root: pathlib.Path, log: Lines) -> None:
    """The driver of the drive is loaded while IMDS, which is dead, is waited for."""
    chosen = scenario.parse("x", '[vm]\nmedia = "cd"\n[[imds]]\nstatus = 403\ntimes = 99\n')
    (root / "dev").mkdir()

    def act(exchange: Exchange) -> None:
        if exchange.service == "imds":
            insert_cd(root, chosen)

    with Simulator(chosen, on_exchange=act) as platform:
        provision(boot(platform, root, log))
        assert platform.reports == ["Ready"]
    assert (root / "etc/hostname").read_text() == f"{chosen.vm.computer_name}\n"


@needs_root
def test_keys_that_only_the_cd_names_are_told(root: pathlib.Path, log: Lines) -> None:
    chosen = scenario.parse("x", '[vm]\nmedia = "cd"\n')
    other = scenario.KEY.replace("AAAAIC", "AAAAID")
    on_cd = dataclasses.replace(chosen.vm, public_keys=(scenario.KEY, other))
    insert_cd(root, dataclasses.replace(chosen, vm=on_cd))
    with Simulator(chosen) as platform:
        provision(boot(platform, root, log))
    assert sum("do not name 1 of the SSH keys" in line for line in log.lines) == 1
    keys = root / "home" / chosen.vm.admin_username / ".ssh/authorized_keys"
    assert keys.read_text().split() == [*scenario.KEY.split(), *other.split()]


@needs_root
def test_the_azure_linux_agent_waits_for_the_metadata(
    root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports Ready as soon as it starts, which is after READY=1 (Before= of the unit)."""
    said: list[str] = []
    monkeypatch.setattr("agent.notify._send", lambda text, _: said.append(text))
    units = root / "usr/lib/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    (units / "walinuxagent.service").write_text("")
    (units / "multi-user.target.wants/walinuxagent.service").symlink_to("../walinuxagent.service")
    (root / "usr/lib/systemd/systemd").write_text("")
    (root / "etc").mkdir()
    (root / "etc/waagent.conf").write_text("Provisioning.Agent=disabled\n")
    chosen = scenario.parse("x", '[vm]\nmedia = "cd"\n')
    insert_cd(root, chosen)
    asked: list[bool] = []
    with Simulator(chosen, on_exchange=lambda _: asked.append("READY=1" in said)) as platform:
        provision(boot(platform, root, log))
    assert asked == [False, True, True]  # the metadata; the goal state and the report


@needs_root
def test_a_failure_before_the_cd_was_looked_for_says_nothing_of_it(
    root: pathlib.Path, log: Lines
) -> None:
    chosen = scenario.parse("x", '[vm]\nmedia = "cd"\n')
    insert_cd(root, chosen)
    with Simulator(chosen) as platform:
        with pytest.raises(ProvisioningFailed):
            provision(boot(platform, root, log), UsageError("azready.toml: unknown key"))
        (told,) = [one.description for one in platform.exchanges if one.report]
    assert "unknown key" in told
    assert "CD" not in told
