"""customData that runs: its limit, its end, and what is left of it; on this machine, but with a state directory of the test's own."""

import os
import pathlib
import posix
import time

import pytest

from agent import programs
from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.change import perform
from agent.errors import GuestError
from agent.profile import Profile
from agent.root import Root
from agent.settings import Config
from agent.signals import Ended
from agent.steps import custom_data
from tests.conftest import Lines

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="customData is a file of root's")

NOWHERE = http.endpoint("http://127.0.0.1:9")
SLEEPS = "#!/bin/sh\necho begun\nsleep 60\n"


def boot(
    folder: pathlib.Path, log: Lines, script: str, *, limit: float = 600, deadline: float = 1200
) -> Boot:
    settings = {"run_custom_data": True, "state_directory": str(folder / "state")}
    made = Boot(Root(), NOWHERE, NOWHERE, Deadline(deadline), Config(settings), log)
    made.config.custom_data_limit = limit
    made.profile = Profile(encoded_custom_data=script.encode())
    made.vm_id = "id"
    return made


def note(folder: pathlib.Path) -> str:
    file = folder / "state/id.customdata"
    return file.read_text() if file.exists() else ""


def test_a_script_that_runs_into_its_limit_has_failed_now_and_later(
    tmp_path: pathlib.Path, log: Lines
) -> None:
    daemon = f"#!/bin/sh\nsetsid sh -c 'sleep 1.5; touch {tmp_path}/late' &\n"
    made = boot(tmp_path, log, daemon + SLEEPS, limit=1)
    began = time.monotonic()
    says = "the customData script was stopped after 1 s: custom_data_limit and deadline allow no"
    for _ in range(2):
        with pytest.raises(GuestError, match=says):
            perform(custom_data.changes(made), log)
        assert time.monotonic() - began < 3
    assert note(tmp_path) == "stopped after 1 s\n"
    assert log.lines.count("6 customdata: begun") == 1
    assert made.notes == ()
    time.sleep(max(0, began + 2 - time.monotonic()))
    assert not (tmp_path / "late").exists()


def test_what_a_script_starts_lives_on_if_it_ends_in_time(
    tmp_path: pathlib.Path, log: Lines
) -> None:
    script = f"#!/bin/sh\n(sleep .5; touch {tmp_path}/late) >/dev/null 2>&1 &\n"
    perform(custom_data.changes(boot(tmp_path, log, script)), log)
    assert note(tmp_path) == "exited with status 0\n"
    time.sleep(1)
    assert (tmp_path / "late").exists()


def seen_limit(folder: pathlib.Path, made: Boot, monkeypatch: pytest.MonkeyPatch) -> float:
    limits: list[float] = []

    def run(words: list[str], *, limit: float, **_: object) -> programs.Result:
        limits.append(limit)
        return programs.Result(0, "")

    monkeypatch.setattr(programs, "run", run)
    perform(custom_data.changes(made), made.log)
    (folder / "state/id.customdata").unlink()
    return limits[0]


@pytest.mark.parametrize(
    ("limit", "deadline", "has"),
    [(600, 1200, 600), (600, 400, 340), (600, 120, 60), (600, 20, 10), (5, 20, 5), (15, 20, 10)],
)
def test_the_report_keeps_a_minute_or_half_of_what_is_left(
    tmp_path: pathlib.Path,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
    limit: float,
    deadline: float,
    has: float,
) -> None:
    made = boot(tmp_path, log, SLEEPS, limit=limit, deadline=deadline)
    assert has - 1 < seen_limit(tmp_path, made, monkeypatch) <= has


def test_without_time_nothing_is_started(tmp_path: pathlib.Path, log: Lines) -> None:
    made = boot(tmp_path, log, SLEEPS, deadline=0)
    with pytest.raises(GuestError, match="is not run: the deadline leaves no time"):
        perform(custom_data.changes(made), log)
    assert note(tmp_path) == ""


def test_a_flood_of_output_is_logged_in_part(tmp_path: pathlib.Path, log: Lines) -> None:
    script = "#!/bin/sh\nyes abcdefg | head -n 400000\necho last\n"
    perform(custom_data.changes(boot(tmp_path, log, script)), log)
    said = [line for line in log.lines if line.startswith("6 customdata: ")]
    assert said[-1] == "6 customdata: no more than 1048576 bytes of output are logged"
    assert said.count("6 customdata: abcdefg") in range(130_000, 131_073)
    assert note(tmp_path) == "exited with status 0\n"


@pytest.mark.parametrize(
    ("error", "raised", "left"),
    [
        (programs.TimeUp("x"), GuestError, "stopped after 600 s\n"),
        (Ended("y"), Ended, "started\n"),
        (None, None, "exited with status 0\n"),
    ],
)
def test_under_systemd_a_unit_has_the_limit_and_is_stopped(
    tmp_path: pathlib.Path,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | None,
    raised: type[BaseException] | None,
    left: str,
) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], **_: object) -> programs.Result:
        asked.append(words)
        if error and len(asked) == 1:
            raise error
        return programs.Result(0, "")

    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(programs, "find", lambda root, name: f"/bin/{name}")
    monkeypatch.setattr(posix, "environ", {b"INVOCATION_ID": b"x"})
    made = boot(tmp_path, log, SLEEPS)
    monkeypatch.setattr(made.root, "is_folder", lambda path: path == "/run/systemd/system")
    if raised:
        with pytest.raises(raised):
            perform(custom_data.changes(made), log)
    else:
        perform(custom_data.changes(made), log)
    first, *others = asked
    assert first[0] == "/bin/systemd-run"
    assert first[-2:] == ["/bin/sh", f"{tmp_path}/state/customdata"]
    assert "--property=RuntimeMaxSec=601" in first
    unit = "azready-customdata.service"
    assert others == (
        [["/bin/systemctl", "kill", "--signal=SIGKILL", unit], ["/bin/systemctl", "stop", unit]]
        if error
        else []
    )
    assert note(tmp_path) == left


def test_what_a_script_starts_does_not_keep_the_priority_of_the_unit(
    tmp_path: pathlib.Path, log: Lines
) -> None:
    """Where there is no systemd-run: with it, the script is a unit of its own."""
    script = (
        f"#!/bin/sh\n(sleep 0.2; exec cut -d' ' -f19 /proc/self/stat >{tmp_path}/nice) &\nwait\n"
    )
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except PermissionError:
        pytest.skip("a high priority takes CAP_SYS_NICE")
    try:
        perform(custom_data.changes(boot(tmp_path, log, script)), log)
        assert posix.nice(0) == -10
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    assert (tmp_path / "nice").read_text() == "0\n"
