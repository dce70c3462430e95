"""Helper programs: their input and output, their end, and the end of all that they start."""

import os
import pathlib
import posix
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from agent import programs
from agent.errors import GuestError
from agent.root import Root


def test_a_program_gets_its_input_and_its_output_is_kept() -> None:
    pieces: list[bytes] = []
    result = programs.run(
        ["/bin/sh", "-c", "cat; echo err >&2; exit 3"], stdin=b"in\n", on_output=pieces.append
    )
    assert (result.code, result.output) == (3, "in\nerr\n")
    assert b"".join(pieces) == b"in\nerr\n"
    assert str(result) == "exited with status 3: in err"


def test_a_program_sees_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert set(programs.run(["/usr/bin/env"]).output.split("=")[0:1]) <= {"PATH", "LC_ALL", "HOME"}
    assert "SECRET" not in programs.run(["/usr/bin/env"]).output


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: pathlib.Path) -> None:
    started = time.monotonic()
    with pytest.raises(GuestError, match=r"/bin/sh was killed: it ran for more than 0\.3 s"):
        programs.run(["/bin/sh", "-c", f"(sleep 2; touch {tmp_path}/late) & sleep 30"], limit=0.3)
    assert time.monotonic() - started < 2
    time.sleep(max(0.0, 2.2 - (time.monotonic() - started)))
    assert not (tmp_path / "late").exists()


def test_what_a_program_leaves_in_the_background_is_not_waited_for() -> None:
    started = time.monotonic()
    result = programs.run(["/bin/sh", "-c", "sleep 5 & echo done"])
    assert (result.code, result.output) == (0, "done\n")
    assert time.monotonic() - started < 3


def test_output_is_capped() -> None:
    result = programs.run(["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"])
    assert len(result.output) == programs.MAX_OUTPUT


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(GuestError, match="cannot run /no/such: no such file or directory"):
        programs.run(["/no/such"])


def test_programs_of_another_root_are_seen_and_not_used(tmp_path: pathlib.Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    program = tmp_path / "usr/sbin/useradd"
    program.write_text("")
    assert programs.find(Root(str(tmp_path)), "useradd") == ""  # not executable
    program.chmod(0o755)
    assert programs.find(Root(str(tmp_path)), "useradd") == "/usr/sbin/useradd"
    assert programs.usable(Root(str(tmp_path)), "useradd") == ""
    assert programs.usable(Root(), "sh")


def test_a_signal_right_after_the_start_of_a_program_ends_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its start and our attention to it nobody would know its number."""
    spawn, children = posix.posix_spawn, []

    def start(*words: object, **options: object) -> int:
        children.append(spawn(*words, **options))  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)
        return children[0]

    def late(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(posix, "posix_spawn", start)
    old = signal.signal(signal.SIGTERM, late)
    try:
        with pytest.raises(KeyboardInterrupt):
            programs.run(["/bin/sleep", "30"])
    finally:
        signal.signal(signal.SIGTERM, old)
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], os.WNOHANG)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_program_starts_with_our_signal_mask() -> None:
    assert "SigBlk:\t0000000000000000" in programs.run(["/bin/cat", "/proc/self/status"]).output


# Beside our own work


def test_programs_run_side_by_side_and_are_waited_for_once() -> None:
    beside = programs.Beside()
    began = time.monotonic()
    for name in ("a", "b", "c"):
        beside.start(name, ["/bin/sh", "-c", f"sleep .4; echo {name}; exit 3"])
    assert not beside.has_ended("abc")
    assert not beside.has_ended("c")
    assert beside.knows("b")
    assert str(beside.wait("b")) == "exited with status 3: b"
    assert not beside.knows("b")
    assert {beside.wait(name).output for name in ("c", "a")} == {"a\n", "c\n"}
    assert time.monotonic() - began < 1
    assert beside.has_ended("abc")
    beside.end()


def test_what_has_ended_long_ago_is_no_failure() -> None:
    beside = programs.Beside()
    beside.start("a", ["/bin/echo", "done"], limit=0.2)
    time.sleep(0.4)
    assert beside.has_ended("a")
    assert beside.wait("a") == programs.Result(0, "done\n")


def test_one_that_hangs_beside_is_killed_when_its_time_is_up(started: "Started") -> None:
    beside = programs.Beside()
    beside.start("a", started.script(DAEMON + "sleep 60\n"), limit=0.5)
    with pytest.raises(programs.TimeUp):
        beside.wait("a")
    assert started.alive() == set()


def test_the_end_kills_all_that_run_beside(started: "Started") -> None:
    beside = programs.Beside()
    for name in ("a", "b"):
        beside.start(name, started.script("me\nsleep 60\n"))
    while len(started.numbers()) < 2:
        time.sleep(0.01)
    beside.end()
    assert started.alive() == set()
    beside.end()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_signal_while_one_is_waited_for_leaves_the_others_to_the_end(started: "Started") -> None:
    def late(*_: object) -> None:
        raise KeyboardInterrupt

    beside = programs.Beside()
    old = signal.signal(signal.SIGTERM, late)
    try:
        for name in ("a", "b"):
            beside.start(
                name, started.script(f"me\n[ {name} = b ] || kill -TERM {os.getpid()}\nsleep 60\n")
            )
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, old)
    beside.end()
    assert started.alive() == set()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
@pytest.mark.parametrize(
    ("own", "dropped", "back"),
    [(0, "wake_alarm", 0), (0, "sys_nice", 10), (-10, "wake_alarm", -10), (15, "wake_alarm", 15)],
)
def test_those_beside_are_slow_until_they_are_waited_for(own: int, dropped: str, back: int) -> None:
    """Slower than others, and not only than azready, which the unit gives a high priority.

    Without CAP_SYS_NICE, the limit decides (setrlimit(2)), and a refusal is no error.
    """
    if os.geteuid() or os.nice(0):
        pytest.skip("it starts from another priority, or may not drop capabilities")
    program = (
        f"import os; from agent import programs; os.nice({own}); "
        "beside = programs.Beside(); beside.start('a', ['/bin/sleep', '9']); "
        "child = beside._running['a'][0]; nice = lambda: os.getpriority(os.PRIO_PROCESS, child); "
        "print(nice()); beside.hurry('b'); print(nice()); beside.hurry('a'); print(nice()); beside.end()"
    )
    without = ["setpriv", f"--bounding-set=-{dropped}", "--"]
    told = subprocess.run(
        [*without, sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
    ).stdout  # fmt: skip
    low = str(max(own, 10))
    assert told.split() == [low, low, str(back)]


def test_one_that_cannot_be_started_beside_is_an_error() -> None:
    beside = programs.Beside()
    with pytest.raises(GuestError, match="cannot run /no/such"):
        beside.start("a", ["/no/such"])
    assert beside.has_ended("a")


# Runaways


class Started:
    """What a test's programs start: each process adds its number to a file, and touches another if
    it lives on."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.file = folder / "started"
        self.file.touch()

    def script(self, text: str) -> list[str]:
        """A script in which $me is the line that counts a process."""
        script = self.folder / "script"
        script.write_text(f"#!/bin/sh\nme() {{ echo $$ >>{self.file}; }}\n{text}")
        script.chmod(0o755)
        return ["/bin/sh", str(script)]

    def numbers(self) -> set[int]:
        return {int(line) for line in self.file.read_text().split()}

    def alive(self) -> set[int]:
        return {number for number in self.numbers() if state(number) not in "ZX"}


def state(number: int) -> str:
    """The state of a process: proc_pid_stat(5); X if it is gone."""
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


@pytest.fixture
def started(tmp_path: pathlib.Path) -> Iterator[Started]:
    made = Started(tmp_path)
    yield made
    for number in made.alive():
        os.kill(number, 9)


# setsid twice, as daemons do; the one in the middle ends at once.
DAEMON = """
me
trap '' TERM HUP INT
if [ "$1" = daemon ]; then exec </dev/null >/dev/null 2>&1; sleep 60; exit; fi
if [ "$1" = middle ]; then setsid "$0" daemon & exit; fi
setsid "$0" middle &
"""
# A tree of sessions, 2 ** 6 - 1 processes; each of them waits, and the leaves start others for ever.
BOMB = """
ulimit -u 400
me
depth=${1:-5}
if [ $depth -gt 0 ]; then
    setsid "$0" $((depth - 1)) &
    setsid "$0" $((depth - 1)) &
    sleep 60
fi
while :; do setsid sleep 1; done
"""


def test_a_daemon_that_left_everything_is_killed_with_a_program_that_hangs(
    started: Started,
) -> None:
    began = time.monotonic()
    with pytest.raises(programs.TimeUp):
        programs.run([*started.script(DAEMON + "sleep 60\n")], limit=0.7)
    assert time.monotonic() - began < 2
    assert len(started.numbers()) == 3
    assert started.alive() == set()


def test_a_daemon_of_a_program_that_ends_in_time_lives_on(started: Started) -> None:
    assert programs.run(started.script(DAEMON + "sleep .3\n")).code == 0
    assert len(started.alive()) == 1


def test_a_modest_fork_bomb_is_over_with_its_program(started: Started) -> None:
    began = time.monotonic()
    with pytest.raises(programs.TimeUp):
        programs.run(started.script(BOMB), limit=1.5)
    assert time.monotonic() - began < 1.5 + programs._ENDING + 1
    assert len(started.numbers()) > 40
    time.sleep(0.2)
    assert started.alive() == set()


@pytest.mark.parametrize("background", ["yes &", "setsid yes & sleep .2", "(setsid yes &) &"])
def test_a_background_process_that_fills_the_pipe_does_not_hold_us(
    started: Started, background: str
) -> None:
    pieces: list[bytes] = []
    began = time.monotonic()
    result = programs.run(
        started.script(f"me\necho begun\n{background}\nexit 4\n"), on_output=pieces.append
    )
    assert time.monotonic() - began < 2
    assert result.code == 4
    assert result.output.startswith("begun\n")
    assert max(map(len, pieces)) <= programs._PIECE


def test_all_that_a_program_wrote_before_its_end_is_taken(started: Started) -> None:
    pieces: list[bytes] = []
    script = started.script("(sleep 9; me) &\nseq 9999\nsleep .2\nexec seq 9999\n")
    programs.run(script, on_output=pieces.append)
    assert b"".join(pieces).split() == [b"%d" % number for number in range(1, 10000)] * 2


def test_a_slow_reader_of_output_does_not_lift_the_limit(started: Started) -> None:
    began = time.monotonic()
    with pytest.raises(programs.TimeUp):
        programs.run(started.script("yes\n"), limit=0.5, on_output=lambda _: time.sleep(0.05))
    assert time.monotonic() - began < 1.5


def test_without_proc_the_group_is_killed(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(posix, "listdir", fail)
    with pytest.raises(programs.TimeUp):
        programs.run(started.script('me\n[ "$1" ] || "$0" x &\nsleep 60\n'), limit=0.3)
    assert len(started.numbers()) == 2
    assert started.alive() == set()


def test_what_a_program_beside_writes_without_end_does_not_fill_the_memory() -> None:
    beside = programs.Beside()
    beside.start("a", ["/bin/sh", "-c", "exec yes"], limit=2.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(programs.TimeUp):
        beside.wait("a")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 8 * 1024, f"{grown // 1024} MiB more in 2 s"


def test_what_has_ended_is_seen_even_if_this_process_had_to_wait_for_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy machine: a millisecond passes between two lines."""
    beside = programs.Beside()
    beside.start("a", ["/bin/echo", "done"], limit=0.1)
    time.sleep(0.3)
    base, calls = time.monotonic(), list[int]()

    def slow() -> float:
        calls.append(1)
        return base + len(calls) * 0.01

    monkeypatch.setattr(programs, "monotonic", slow)
    assert beside.wait("a") == programs.Result(0, "done\n")
