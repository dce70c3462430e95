"""The one retry policy: how long to go on, how long to pause, when to stop.

A try raises `Transient` to be repeated; every other exception ends the loop. Pauses grow from 1 s
to 15 s with jitter, unless the failure itself names one (Retry-After, or a rule of the protocol).
Where the kernel knows no way to the platform, the next change of the network ends the pause; and
somebody may use the time to make one (`meanwhile`).
All time is monotonic: at a first boot the wall clock jumps.
"""

from time import monotonic, monotonic_ns, sleep

from agent.errors import GaveUp, Transient

TYPE_CHECKING = False  # typing itself would cost every start 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from agent.log import Log
    from agent.machine.watch import Watch

    T = TypeVar("T")
    Meanwhile = Callable[["Deadline", bool], bool]

FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 15.0  # seconds
LONGEST_WAIT = 60.0  # seconds: a longer Retry-After is shortened to this
AT_ONCE = 10  # tries without a pause if failures ask for none: a server must not keep us spinning
PATIENT = 8  # tries until a network that is not there yet is a warning: most come in time
LAST_TRY = 1.0  # seconds kept for one try at the very end of the time


class Deadline:
    """A point of monotonic time, `seconds` from now; `within()` makes a nearer one.

    It may be put off, until `at_most` seconds from now.
    """

    def __init__(self, seconds: float, at_most: float = 0.0) -> None:
        self.seconds = seconds
        self._end = monotonic() + seconds
        self._last = max(self._end, monotonic() + at_most)

    def left(self) -> float:
        """Return the seconds until it is reached, 0.0 after that."""
        return max(0.0, self._end - monotonic())

    def put_off(self) -> None:
        """Have the seconds begin anew: nothing could be tried so far."""
        self._end = min(monotonic() + self.seconds, self._last)

    def within(self, seconds: float) -> "Deadline":
        """Return a deadline `seconds` from now, or this one if that is earlier."""
        return Deadline(min(seconds, self.left()))


def retry(
    what: str,
    once: "Callable[[], T]",
    deadline: Deadline,
    log: "Log",
    meanwhile: "Meanwhile | None" = None,
) -> "T":
    """Call `once` until it returns; `what` names the work in messages ("reporting Ready").

    `meanwhile` is called before each pause, with a deadline and whether there is no way to the
    platform; it returns whether it took time, so that there is no pause.

    Raises GaveUp, with the text and exit status of the last failure, if the deadline allows no
    further try; and every other exception of `once`.
    """
    with _Pauses() as pauses:
        return _retry(what, once, deadline, log, pauses, meanwhile)


class _Pauses:
    """Pauses between two tries: sleep, or a wait for a way to the platform."""

    def __init__(self) -> None:
        self._watch: "Watch | None" = None

    def __enter__(self) -> "_Pauses":
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch:
            self._watch.close()

    def take(self, seconds: float, *, no_way: bool) -> None:
        """Pause; at most `seconds` where the network may change the answer."""
        if not no_way:
            sleep(seconds)
            return
        if self._watch is None:
            from agent.machine.watch import Watch

            self._watch = Watch()
        self._watch.wait(seconds)


def _retry(
    what: str,
    once: "Callable[[], T]",
    deadline: Deadline,
    log: "Log",
    pauses: _Pauses,
    meanwhile: "Meanwhile | None",
) -> "T":
    attempt, shown = 0, 0
    while True:
        attempt += 1
        started = monotonic()
        try:
            result = once()
        except Transient as failure:
            left = deadline.left()
            if left <= LAST_TRY:
                tries = "1 try" if attempt == 1 else f"{attempt} tries"
                raise GaveUp(
                    f"gave up {what} after {tries} in {deadline.seconds:g} s: {failure}",
                    failure.exit_code,
                ) from None
            wait = failure.wait if failure.wait or attempt <= AT_ONCE else None
            pause = _backoff(attempt) if wait is None else min(wait, LONGEST_WAIT)
            if failure.no_way:
                pause = FIRST_PAUSE
            pause = min(pause, left - LAST_TRY)
            # Without --verbose, only powers of two are shown: a console must not fill up.
            say = log.warning if attempt & (attempt - 1) == 0 else log.debug
            if failure.no_way and attempt < PATIENT:
                say = log.info if attempt == 1 else log.debug
            hidden = attempt - shown - 1
            tried = f"try {attempt}" + (f" ({hidden} not shown)" if hidden else "")
            took = monotonic() - started
            say(f"{what}: {tried} failed after {took:.3f} s: {failure}; next try in {pause:.1f} s")
            if log.verbose or say != log.debug:
                shown = attempt
            before_last = deadline.within(left - LAST_TRY)
            if not meanwhile or not meanwhile(before_last, failure.no_way):
                pauses.take(pause, no_way=failure.no_way)
        else:
            log.debug(f"{what}: try {attempt} succeeded after {monotonic() - started:.3f} s")
            return result


def _backoff(attempt: int) -> float:
    """Return the pause after try number `attempt` (from 1), in seconds: 1, 2, 4, 8, 15, 15 ...

    Each is shortened by up to a fifth, so that many VMs do not march in step.
    """
    # Not from `random`: it costs a start 5 ms, and the low digits of the clock are jitter enough.
    jitter = monotonic_ns() % 1000 / 5000
    return min(FIRST_PAUSE * (1 << min(attempt - 1, 10)), LONGEST_PAUSE) * (1 - jitter)
