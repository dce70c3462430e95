"""Log lines for people, on standard error.

If the journal reads them, each line starts with its `<N>` priority (sd-daemon(3)), otherwise with
the time since the start. They are written with write(2), so that a closed or full standard error
never stops the work.
"""

import posix
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ERROR, _WARNING, _INFO, _DEBUG = 3, 4, 6, 7  # syslog(3)


class Log:
    """A log that writes one line per call.

    `verbose` includes debug lines. `priority` starts lines with their priority instead of the time;
    None finds out whether the journal reads them. `watch`, if set, gets every text, also details.
    """

    def __init__(self, *, verbose: bool = False, priority: "bool | None" = None) -> None:
        self.started = monotonic()
        self.verbose = verbose
        self.watch: "Callable[[str], object] | None" = None
        self._priority = _is_journal() if priority is None else priority

    def elapsed(self) -> str:
        """Return the time since the start, for people: "0.012 s" or "3.4 s"."""
        seconds = monotonic() - self.started
        return f"{seconds:.3f} s" if seconds < 1 else f"{seconds:.1f} s"

    def debug(self, text: str) -> None:
        """Log a detail, such as an attempt with its status and time; only if `verbose`."""
        self.status(text)
        if self.verbose:
            self._write(_DEBUG, "", text)

    def info(self, text: str) -> None:
        """Log something that was done."""
        self.status(text)
        self._write(_INFO, "", text)

    def warning(self, text: str) -> None:
        """Log that something is wrong, and the work goes on."""
        self.status(text)
        self._write(_WARNING, "warning: ", text)

    def error(self, text: str) -> None:
        """Log why the work ends."""
        self.status(text)
        self._write(_ERROR, "error: ", text)

    def status(self, text: str) -> None:
        """Tell what is being done to who watches, without a line."""
        if self.watch:
            self.watch(text)

    def _write(self, level: int, word: str, text: str) -> None:
        text = printable(text)  # messages contain values from outside; each stays one line
        start = f"<{level}>" if self._priority else f"azready [{monotonic() - self.started:8.3f}] "
        try:
            posix.write(2, f"{start}{word}{text}\n".encode("utf-8", "backslashreplace"))
        except OSError:
            pass


class Quiet(Log):
    """A log that drops its lines, for commands that answer on standard output."""

    def _write(self, level: int, word: str, text: str) -> None:
        pass


def printable(text: str) -> str:
    """Return `text` with an escape for every character that is not printable."""
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" for character in text
    )


def _is_journal() -> bool:
    """Tell whether standard error is still the stream of the journal.

    $JOURNAL_STREAM names the stream that systemd opened, which may have been redirected since
    (systemd.exec(5)).
    """
    announced = posix.environ.get(b"JOURNAL_STREAM")
    if announced is None:
        return False
    try:
        status = posix.fstat(2)
    except OSError:
        return False
    return announced == f"{status.st_dev}:{status.st_ino}".encode()
