"""Lines for people, on standard error.

Where the journal reads them each line carries its `<N>` priority (sd-daemon(3)), otherwise the time since the start. Written with write(2), so that a
closed or full standard error never stops the work.
"""

import posix
from time import monotonic

_ERROR, _WARNING, _INFO, _DEBUG = 3, 4, 6, 7


class Log:
    """Writes one line per call. `verbose` shows debug lines, `priority` puts the syslog level in front instead of the time."""

    def __init__(self, *, verbose: bool = False, priority: "bool | None" = None) -> None:
        self.started = monotonic()
        self.verbose = verbose
        self._priority = _is_journal() if priority is None else priority

    def elapsed(self) -> str:
        """The time since the start, as people read it: "0.012 s" or "3.4 s"."""
        seconds = monotonic() - self.started
        return f"{seconds:.3f} s" if seconds < 1 else f"{seconds:.1f} s"

    def debug(self, text: str) -> None:
        """Attempts, codes and times; only with --verbose."""
        if self.verbose:
            self._write(_DEBUG, "", text)

    def info(self, text: str) -> None:
        """What was done."""
        self._write(_INFO, "", text)

    def warning(self, text: str) -> None:
        """Something is not as it should be, and the work goes on."""
        self._write(_WARNING, "warning: ", text)

    def error(self, text: str) -> None:
        """The work ends."""
        self._write(_ERROR, "error: ", text)

    def _write(self, level: int, word: str, text: str) -> None:
        # One line whatever the text holds: values from outside end up in messages.
        text = printable(text)
        start = f"<{level}>" if self._priority else f"azready [{monotonic() - self.started:8.3f}] "
        try:
            posix.write(2, f"{start}{word}{text}\n".encode("utf-8", "backslashreplace"))
        except OSError:
            pass


class Quiet(Log):
    """Says nothing: for commands whose answer is on standard output."""

    def _write(self, level: int, word: str, text: str) -> None:
        pass


def printable(text: str) -> str:
    """Return `text` with every character that would not print as an escape: a file may have any name."""
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" for character in text
    )


def _is_journal() -> bool:
    """Whether standard error is the stream that systemd made for its journal, and not what it was redirected to since (systemd.exec(5), $JOURNAL_STREAM)."""
    announced = posix.environ.get(b"JOURNAL_STREAM")
    if announced is None:
        return False
    try:
        status = posix.fstat(2)
    except OSError:
        return False
    return announced == f"{status.st_dev}:{status.st_ino}".encode()
