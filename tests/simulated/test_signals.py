"""SIGTERM, SIGINT and SIGHUP at every moment of a first boot, against the simulator.

Whatever the moment: Ready is never followed by a failure, whoever may know of the failure is told
within 20 s, and no half-written file stays.
"""

import dataclasses
import os
import pathlib
import signal
import subprocess
import time

import pytest

from scripts.simulator import scenario
from scripts.simulator.scenario import VM
from scripts.simulator.server import Exchange, Simulator
from scripts.tasks import guests
from tests.conftest import TOP, words

HOWS = ("source", "frozen")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LAST_WORDS = 20.0  # seconds
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making a user takes root")


@dataclasses.dataclass
class Run:
    """A first boot at work; `root` is its tree."""

    root: pathlib.Path
    process: "subprocess.Popen[str]"
    platform: Simulator

    def end(self, seconds: float = 30) -> tuple[int, str]:
        """Wait for it; return (exit status, the last line), after what always holds."""
        said = self.process.communicate(timeout=seconds)[1]
        code, last = self.process.returncode, said.splitlines()[-1]
        assert "Traceback" not in said
        assert self.platform.problems == []
        told = [
            "NotReady" if b"NotReady" in exchange.request.body else "Ready"
            for exchange in self.platform.exchanges
            if exchange.request.method == "POST"
        ]
        assert "NotReady" not in told[told.index("Ready") :] if "Ready" in told else True
        assert [path for path in self.root.rglob("*.azready") if path.name.startswith(".")] == []
        markers = list((self.root / "var/lib/azready").glob("*.provisioned"))
        assert (code == 0) == bool(markers) == (" was reported and accepted " in last), said
        assert code in (0, 1), said
        if code:
            assert "] error: provisioning failed: terminated by SIG" in last
        return code, last


def start(
    root: pathlib.Path, platform: Simulator, how: str, *options: str, deadline: int = 60
) -> Run:
    urls = [f"--{name}={platform.url(name)}" for name in ("wireserver", "imds")]
    command = [*words(how), "provision", "--force", f"--root={root}", f"--deadline={deadline}"]
    process = subprocess.Popen(
        [*command, *urls, *options],
        cwd=TOP,
        env={"PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
    )
    return Run(root, process, platform)


def sketch(root: pathlib.Path) -> pathlib.Path:
    guests.sketch(root, guests.EVERYTHING)
    (root / "etc/azready.toml").write_text("media.wait = 0\n")
    return root


def wait_for(platform: Simulator, count: int) -> None:
    end = time.monotonic() + 20
    while len(platform.exchanges) < count:
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_signal_at_each_exchange(
    tmp_path: pathlib.Path, how: str, number: signal.Signals, at: int
) -> None:
    """The platform signals before it answers: the metadata, the goal state, the report."""
    runs: list[Run] = []

    def act(exchange: Exchange) -> None:
        if len(platform.exchanges) == at:
            while not runs:
                time.sleep(0.001)
            runs[0].process.send_signal(number)

    vm = guests.EVERYTHING
    healthy = dataclasses.replace(scenario.load("healthy"), vm=vm)
    with Simulator(healthy, on_exchange=act) as platform:
        runs.append(start(sketch(tmp_path / "root"), platform, how))
        code, last = runs[0].end()
        if at < 3:
            assert (code, platform.reports) == (1, ["ProvisioningFailed"])
            assert f"terminated by {number.name} before Ready was reported; " in last
            assert last.endswith("Azure was told; tried again at the next boot")
            reason = f"reason=terminated by {number.name} before Ready was reported"
            assert reason in platform.exchanges[-1].description
            assert "login works" in last  # by what the CD says
        else:
            assert platform.reports == ["Ready"]
            if code:
                assert "while Ready was reported; login works; Ready was sent, and Azure" in last


@pytest.mark.parametrize("how", HOWS)
def test_signals_at_moments_of_every_kind(tmp_path: pathlib.Path, how: str) -> None:
    codes: list[int] = []
    vm = guests.EVERYTHING
    step = 0.004 if how == "frozen" else 0.012
    for at in range(30):
        with Simulator(dataclasses.replace(scenario.load("healthy"), vm=vm)) as platform:
            run = start(sketch(tmp_path / str(at)), platform, how)
            # After the start of the interpreter, during which a signal just ends it.
            wait_for(platform, 1)
            time.sleep(at * step)
            run.process.send_signal(SIGNALS[at % 3])
            codes.append(run.end()[0])
    assert {0, 1} == set(codes), codes


@pytest.mark.parametrize("how", HOWS)
def test_a_silent_platform_delays_the_end_by_20_seconds(tmp_path: pathlib.Path, how: str) -> None:
    silent = scenario.parse("silent", '[[goalstate]]\ntimes = "forever"\nconnection = "hang"')
    with Simulator(silent) as platform:
        run = start(sketch(tmp_path / "root"), platform, how)
        wait_for(platform, 2)
        sent = time.monotonic()
        for number in (*SIGNALS, signal.SIGTERM):  # those after the first do nothing
            run.process.send_signal(number)
            time.sleep(0.3)
        code, last = run.end()
        assert code == 1
        assert LAST_WORDS - 2 < time.monotonic() - sent < LAST_WORDS + 1
        assert "login works; Azure was not told: gave up reporting ProvisioningFailed" in last


@pytest.mark.parametrize("answer", ["status = 503", 'connection = "hang"', "status = 410"])
def test_after_ready_was_sent_nothing_else_is(tmp_path: pathlib.Path, answer: str) -> None:
    """Its outcome is unknown, and the run waits, or pauses before another try."""
    unknown = scenario.parse("unknown", f'[[health]]\ntimes = "forever"\n{answer}')
    with Simulator(unknown) as platform:
        run = start(sketch(tmp_path / "root"), platform, "frozen")
        wait_for(platform, 3)
        time.sleep(0.2)
        sent = time.monotonic()
        run.process.send_signal(signal.SIGTERM)
        code, last = run.end()
        assert time.monotonic() - sent < 3
        assert (code, platform.reports) == (1, [])
        assert "Ready was sent, and Azure has not confirmed it" in last


def test_a_pause_between_two_tries_is_ended(tmp_path: pathlib.Path) -> None:
    refusing = scenario.parse("refusing", "[[goalstate]]\ntimes = 3\nstatus = 500")
    with Simulator(refusing) as platform:
        run = start(sketch(tmp_path / "root"), platform, "frozen")
        wait_for(platform, 3)
        time.sleep(0.3)
        run.process.send_signal(signal.SIGHUP)
        code, _ = run.end(10)
        assert (code, platform.reports) == (1, ["ProvisioningFailed"])


def test_the_first_reason_stays(tmp_path: pathlib.Path) -> None:
    """A signal while the failure of a step is being told: it is told once more, in time."""
    failing = scenario.parse(
        "failing", '[vm]\nadmin_username = "root"\n[[health]]\nconnection = "hang"'
    )
    with Simulator(failing) as platform:
        run = start(sketch(tmp_path / "root"), platform, "frozen")
        wait_for(platform, 3)
        run.process.send_signal(signal.SIGTERM)
        said = run.process.communicate(timeout=10)[1]
        assert platform.reports == ["ProvisioningFailed"]
        assert "error: provisioning failed: the user name 'root' is refused" in said
        assert "Azure was told" in said.splitlines()[-1]


def test_signals_that_are_ignored_stay_ignored(tmp_path: pathlib.Path) -> None:
    with Simulator(scenario.parse("slow", "[[goalstate]]\ndelay = 1")) as platform:
        old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            run = start(sketch(tmp_path / "root"), platform, "frozen")
        finally:
            signal.signal(signal.SIGHUP, old)
        wait_for(platform, 2)
        run.process.send_signal(signal.SIGHUP)
        assert run.end()[0] == 0


# Two runs at once


@pytest.fixture
def locked(tmp_path: pathlib.Path) -> pathlib.Path:
    root = sketch(tmp_path / "root")
    (root / "run").mkdir(exist_ok=True)
    dmi = root / "sys/class/dmi/id"
    dmi.mkdir(parents=True, exist_ok=True)
    (dmi / "product_uuid").write_text(VM().vm_id)
    return root


@pytest.mark.parametrize("how", HOWS)
def test_a_second_run_waits_and_finds_it_done(locked: pathlib.Path, how: str) -> None:
    with Simulator(scenario.parse("slow", "[[goalstate]]\ndelay = 2")) as platform:
        first = start(locked, platform, how)
        wait_for(platform, 2)
        second = start(locked, platform, how)
        said = second.process.communicate(timeout=20)[1]
        assert second.process.returncode == 0
        assert "another azready provision is at work: waiting for its end" in said
        assert "has been provisioned: nothing to do" in said.splitlines()[-1]
        assert first.end()[0] == 0
        assert (platform.reports, len(platform.exchanges)) == (["Ready"], 3)


def test_a_second_run_that_cannot_wait_says_nothing_to_the_platform(locked: pathlib.Path) -> None:
    with Simulator(scenario.parse("slow", "[[goalstate]]\ndelay = 4")) as platform:
        first = start(locked, platform, "frozen")
        wait_for(platform, 2)
        second = start(locked, platform, "frozen", deadline=1)
        said = second.process.communicate(timeout=20)[1]
        assert second.process.returncode == 1
        assert "has not ended within 1 s and holds /run/azready/lock: this run ends" in said
        third = start(locked, platform, "frozen")
        time.sleep(0.5)
        third.process.send_signal(signal.SIGTERM)
        said = third.process.communicate(timeout=5)[1]
        assert third.process.returncode == 1
        assert "ended by SIGTERM while another azready provision is at work" in said
        for verb in ("install", "uninstall", "generalize"):
            command = [*words("frozen"), verb, "--root", str(locked)]
            result = subprocess.run(command, capture_output=True, text=True, timeout=10)
            assert result.returncode == 1
            assert "azready provision is at work (it holds /run/azready/lock)" in result.stderr
        assert first.end()[0] == 0
        assert platform.reports == ["Ready"]
    assert (locked / "run/azready/lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_that_cannot_be_made_is_done_without(locked: pathlib.Path) -> None:
    (locked / "run/azready").write_text("not a folder")
    with Simulator(scenario.load("healthy")) as platform:
        run = start(locked, platform, "frozen", "--verbose")
        said = run.process.communicate(timeout=20)[1]
        assert run.process.returncode == 0
        assert "going on without the lock /run/azready/lock: cannot make the folder" in said
