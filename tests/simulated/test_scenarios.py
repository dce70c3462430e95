"""Every scenario of the simulator, against the agent from source and frozen.

Each scenario says itself how it must end.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import tempfile
import time

import pytest

from agent.errors import EXIT_USAGE
from scripts.simulator import media, scenario
from scripts.simulator.server import Exchange, Simulator
from tests.conftest import BUILT, TOP, words

HOWS = ("source", *BUILT)

PROXIES = dict.fromkeys(
    ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    "http://127.0.0.1:9",
) | {"no_proxy": ""}


@dataclasses.dataclass
class Outcome:
    code: int
    stderr: str
    seconds: float
    exchanges: list[Exchange]
    reports: list[str]
    problems: list[str]
    host_name: str
    hosts: str
    markers: list[str]
    enabled: bool


def play(name: str, how: str) -> Outcome:
    chosen = scenario.load(name)
    expect = chosen.expect
    with tempfile.TemporaryDirectory() as root, Simulator(chosen) as simulator:
        link = pathlib.Path(root, "etc/systemd/system/multi-user.target.wants/azready.service")
        link.parent.mkdir(parents=True)
        link.symlink_to("../azready.service")
        dmi = pathlib.Path(root, "sys/class/dmi/id")
        dmi.mkdir(parents=True)
        (dmi / "chassis_asset_tag").write_text("7783-7084-3265-9085-8269-3286-77\n")
        (dmi / "product_uuid").write_text(chosen.vm.vm_id.upper() + "\n")
        pathlib.Path(root, "sys/firmware/efi").mkdir(parents=True)  # a Gen2 VM
        config = pathlib.Path(root, "etc/azready.toml")
        config.write_text("media.wait = 0\n" + expect.config)
        if chosen.vm.media:
            drive = pathlib.Path(root, "dev/sr0")
            drive.parent.mkdir()
            drive.write_bytes(media.image(chosen.vm))
        command = [
            *words(how),
            *expect.command,
            "--wireserver",
            simulator.url("wireserver"),
            "--deadline",
            str(expect.deadline),
        ]
        if "provision" in expect.command:
            command += ["--imds", simulator.url("imds"), "--root", root]
        started = time.monotonic()
        # An environment full of proxies: none may be asked, whatever the scenario.
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=TOP,
            env={"PATH": os.environ["PATH"], **PROXIES},
            timeout=60,
        )
        etc = pathlib.Path(root, "etc")
        return Outcome(
            result.returncode,
            result.stderr,
            time.monotonic() - started,
            list(simulator.exchanges),
            simulator.reports,
            simulator.problems,
            (etc / "hostname").read_text() if (etc / "hostname").exists() else "",
            (etc / "hosts").read_text() if (etc / "hosts").exists() else "",
            sorted(path.name for path in pathlib.Path(root).glob("var/lib/azready/*.provisioned")),
            link.is_symlink(),
        )


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], "concurrent.futures.Future[Outcome]"]:
    """All runs, side by side: most of their time is waiting."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        return {
            (name, how): pool.submit(play, name, how) for name in scenario.names() for how in HOWS
        }


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", scenario.names())
def test_scenario_ends_as_it_must(
    outcomes: dict[tuple[str, str], "concurrent.futures.Future[Outcome]"], name: str, how: str
) -> None:
    chosen = scenario.load(name)
    expect = chosen.expect
    if "provision" in expect.command and os.geteuid() != 0:
        pytest.skip("a first boot makes a user, whose files take root")
    outcome = outcomes[name, how].result()
    assert outcome.code == expect.exit, outcome.stderr
    assert expect.says in outcome.stderr
    assert outcome.reports == list(expect.reports), outcome.stderr
    assert outcome.problems == []
    # Some grace: eight processes are at work here, and an emulated one takes long to start and end.
    is_emulated = how in BUILT and not BUILT[how].native
    assert outcome.seconds < expect.deadline + (4 if is_emulated else 1)
    if outcome.code:
        last = outcome.stderr.splitlines()[-1]
        assert "] error: " in last
        assert "Traceback" not in outcome.stderr
    else:
        assert " was reported and accepted " in outcome.stderr.splitlines()[-1]
    if "provision" in expect.command:
        check_provisioned(outcome, chosen)
    elif outcome.reports:
        assert [exchange.service for exchange in outcome.exchanges] == ["wireserver"] * len(
            outcome.exchanges
        )


def check_provisioned(outcome: Outcome, chosen: scenario.Scenario) -> None:
    """Marker and disabled unit exactly if Ready was accepted, the last that is reported."""
    name = chosen.expect.host_name
    assert outcome.host_name == (f"{name}\n" if name else "")
    assert f"127.0.1.1\t{name}" in outcome.hosts if name else outcome.hosts == ""
    ready = outcome.reports == ["Ready"]
    assert outcome.markers == ([f"{chosen.vm.vm_id}.provisioned"] if ready else [])
    assert outcome.enabled is not ready
    assert outcome.exchanges[-1].request.method == "POST"
    assert outcome.code == EXIT_USAGE or outcome.exchanges[0].service == "imds"
    if chosen.vm.password:
        assert chosen.vm.password not in outcome.stderr


def test_the_goal_state_is_fetched_anew_before_each_report(
    outcomes: dict[tuple[str, str], "concurrent.futures.Future[Outcome]"],
) -> None:
    methods = [
        exchange.request.method for exchange in outcomes["stale", "frozen"].result().exchanges
    ]
    assert methods == ["GET", "POST", "GET", "POST"]


def test_a_first_stale_answer_is_repeated_at_once(
    outcomes: dict[tuple[str, str], "concurrent.futures.Future[Outcome]"],
) -> None:
    exchanges = outcomes["stale", "frozen"].result().exchanges
    assert exchanges[2].received - exchanges[1].received < 0.9


def test_a_dead_imds_costs_a_quarter_of_the_deadline(
    outcomes: dict[tuple[str, str], "concurrent.futures.Future[Outcome]"],
) -> None:
    assert 1.9 < outcomes["imds-dead", "frozen"].result().seconds < 4
    # A quarter of the deadline would be 15 s.
    assert 9 < outcomes["cd-alone-dead", "frozen"].result().seconds < 14


def test_a_failure_reason_arrives_as_it_was_given(
    outcomes: dict[tuple[str, str], "concurrent.futures.Future[Outcome]"],
) -> None:
    assert [
        exchange.description
        for exchange in outcomes["failed", "frozen"].result().exchanges
        if exchange.report
    ] == ['no <disk> & no "hope"']
