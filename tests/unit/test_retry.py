"""The retry policy, on a clock that the test turns."""

from unittest import mock

import pytest

from agent.azure import imds, retry
from agent.azure.retry import Deadline
from agent.errors import GaveUp, Refused, Transient
from tests.conftest import Lines


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry, "monotonic", lambda: clock.now)
    monkeypatch.setattr(retry, "sleep", clock.sleep)
    return clock


def failing(times: int, **keywords: object) -> "list[Transient]":
    return [Transient(f"failure {number}", **keywords) for number in range(times)]  # type: ignore[arg-type]


def play(failures: "list[Transient]", deadline: Deadline, log: Lines) -> str:
    def once() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    return retry.retry("working", once, deadline, log)


def test_pauses_grow_from_one_second_to_fifteen_with_jitter(clock: Clock, log: Lines) -> None:
    assert play(failing(8), Deadline(1200), log) == "done"
    for pause, full in zip(clock.pauses, [1, 2, 4, 8, 15, 15, 15, 15], strict=True):
        assert 0.8 * full <= pause <= full


def test_a_failure_may_name_its_own_pause_up_to_a_cap(clock: Clock, log: Lines) -> None:
    play(failing(1, wait=0.5) + failing(1, wait=0.0) + failing(1, wait=9999), Deadline(1200), log)
    assert clock.pauses == [0.5, 0.0, retry.LONGEST_WAIT]


def test_a_peer_that_asks_for_no_pause_gets_only_some_tries_without(
    clock: Clock, log: Lines
) -> None:
    """Retry-After: 0, again and again."""
    play(failing(retry.AT_ONCE + 2, wait=0.0), Deadline(1200), log)
    assert clock.pauses[: retry.AT_ONCE] == [0.0] * retry.AT_ONCE
    assert min(clock.pauses[retry.AT_ONCE :]) > 1


def test_the_last_try_is_made_right_before_the_deadline(clock: Clock, log: Lines) -> None:
    with pytest.raises(GaveUp, match="gave up working after 5 tries in 10 s: failure 4") as caught:
        play(failing(100, exit_code=4), Deadline(10), log)
    assert caught.value.exit_code == 4
    assert clock.now == pytest.approx(1009)


def test_other_errors_end_the_loop_at_once(clock: Clock, log: Lines) -> None:
    def once() -> None:
        raise Refused("no")

    with pytest.raises(Refused):
        retry.retry("working", once, Deadline(10), log)
    assert clock.pauses == []


def test_twenty_minutes_of_failures_fill_no_console(clock: Clock, log: Lines) -> None:
    with pytest.raises(GaveUp):
        play(failing(1000), Deadline(1200), log)
    assert sum("warning" in line for line in log.lines) <= 8


@pytest.mark.parametrize(("deadline", "budget"), [(1200, 300), (20, 5), (4000, 300)])
def test_imds_gets_a_quarter_of_the_deadline_and_never_more_than_five_minutes(
    clock: Clock, deadline: float, budget: float
) -> None:
    assert imds.budget(Deadline(deadline)).left() == budget


@pytest.mark.parametrize(
    ("late", "needed", "found"), [(30, False, True), (90, False, False), (90, True, True)]
)
def test_imds_gets_its_seconds_once_there_is_a_way_to_it(
    late: float,
    needed: bool,
    found: bool,
    clock: Clock,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DHCP may be late: what only IMDS knows must not be lost because the CD says enough."""
    start = clock.now

    def exchange(*_: object) -> mock.Mock:
        if clock.now < start + late:
            raise Transient("network unreachable", no_way=True)
        return mock.Mock(status=200, reason="OK", body=b"{}")

    monkeypatch.setattr(imds, "exchange", exchange)
    monkeypatch.setattr(retry._Pauses, "take", lambda _, pause, no_way: clock.sleep(pause))
    budget = imds.budget(Deadline(1200), is_needed=needed)
    try:
        imds.instance(mock.Mock(), budget, log)
    except GaveUp:
        assert not found
        assert clock.now == pytest.approx(start + imds.LATEST, abs=2)
    else:
        assert found


@pytest.mark.parametrize("finds", [True, False])
def test_the_seconds_of_imds_are_not_spent_on_a_lease(
    finds: bool, clock: Clock, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search for a DHCP server may take all there is, and a little more: its program has to end."""
    start = clock.now

    def exchange(*words: object) -> mock.Mock:
        deadline = words[-1]
        assert isinstance(deadline, Deadline)
        if not deadline.left():
            raise Transient("time ran out")
        if clock.now < start + 25:
            raise Transient("network unreachable", no_way=True)
        return mock.Mock(status=200, reason="OK", body=b"{}")

    def search(deadline: Deadline, _: bool) -> bool:
        clock.sleep(deadline.left() + 1.5)
        return finds

    monkeypatch.setattr(imds, "exchange", exchange)
    monkeypatch.setattr(retry._Pauses, "take", lambda _, pause, no_way: clock.sleep(pause))
    imds.instance(mock.Mock(), imds.budget(Deadline(1200), is_needed=False), log, search)
    assert clock.now < start + 25 + imds.SHORT_BUDGET


def test_imds_that_is_dead_costs_no_more_because_dhcp_was_late(
    clock: Clock, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = clock.now

    def exchange(*_: object) -> None:
        raise Transient("no answer", no_way=clock.now < start + 20)

    monkeypatch.setattr(imds, "exchange", exchange)
    monkeypatch.setattr(retry._Pauses, "take", lambda _, pause, no_way: clock.sleep(pause))
    with pytest.raises(GaveUp):
        imds.instance(mock.Mock(), imds.budget(Deadline(1200), is_needed=False), log)
    assert clock.now == pytest.approx(start + 20 + imds.SHORT_BUDGET, abs=2)


def test_a_nearer_deadline_is_never_behind_the_outer_one(clock: Clock) -> None:
    outer = Deadline(10)
    clock.now += 8
    assert outer.within(30).left() == 2
    clock.now += 8
    assert outer.left() == outer.within(30).left() == 0


def test_tries_that_are_not_shown_are_counted(log: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "sleep", lambda _: None)
    log.verbose = False
    failures = iter(range(9))

    def once() -> str:
        if next(failures, None) is None:
            return "done"
        raise Transient("busy")

    assert retry.retry("asking", once, Deadline(60), log) == "done"
    shown = [line.partition(" failed")[0] for line in log.lines if "warning" in line]
    assert [line.partition("asking: ")[2] for line in shown] == [
        "try 1",
        "try 2",
        "try 4 (1 not shown)",
        "try 8 (3 not shown)",
    ]


def test_a_network_that_comes_soon_is_no_warning(
    log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry._Pauses, "take", lambda *_, **__: None)
    log.verbose = False
    failures = iter(range(17))

    def once() -> str:
        if next(failures, None) is None:
            return "done"
        raise Transient("network unreachable", no_way=True)

    assert retry.retry("asking", once, Deadline(60), log) == "done"
    shown = [line.partition(" failed")[0] for line in log.lines if not line.startswith("7")]
    assert shown == [
        "6 asking: try 1",
        "4 warning: asking: try 8 (6 not shown)",
        "4 warning: asking: try 16 (7 not shown)",
    ]
