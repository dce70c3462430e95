"""SIGTERM, SIGINT and SIGHUP during a first boot: the first one ends it, as the exception Ended.

A handler cannot report anything, so it raises, wherever the work is at that moment. Until `listen`
is called it only takes note: agent/start.py arms it before all other imports. A second signal
does nothing: the last words come next. A signal that was ignored at the start stays ignored
(nohup(1)), but for SIGCHLD: nobody could wait for a program then (wait(2)).
"""

from _signal import SIG_DFL, SIG_IGN, SIGCHLD, SIGHUP, SIGINT, SIGTERM, getsignal, signal
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

LAST_WORDS = 20.0  # seconds from the signal to the end; init systems wait longer than that
_NAMES = {SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGTERM: "SIGTERM"}
NUMBERS = tuple(_NAMES)


class Ended(KeyboardInterrupt):
    """A signal ends the run; the text is its name. What handles errors does not catch it."""


class _State:
    listening = False
    name = ""  # of the first signal
    at = 0.0  # when it came, monotonic


def arm() -> None:
    """Take note of these signals from now on, instead of dying of them."""
    _State.listening, _State.name = False, ""
    for number in _NAMES:
        if getsignal(number) is not SIG_IGN:
            signal(number, _handle)
    signal(SIGCHLD, SIG_DFL)


def listen() -> None:
    """Raise Ended when a signal comes, and at once if one has come already."""
    _State.listening = True
    if _State.name:
        mute()
        raise Ended(_State.name)


def mute() -> None:
    """Raise nothing from now on: what is left must not be lost."""
    _State.listening = False


def left() -> float:
    """Return the seconds that are left for the last words; 0.0 after that."""
    return max(0.0, _State.at + LAST_WORDS - monotonic())


def _handle(number: int, _: "FrameType | None") -> None:
    if not _State.name:
        _State.name, _State.at = _NAMES[number], monotonic()
        if _State.listening:
            mute()
            raise Ended(_State.name)
