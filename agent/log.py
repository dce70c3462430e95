"""Log lines for people, on standard error.

If the journal reads them, each line starts with its `<N>` priority (sd-daemon(3)), otherwise with
the time since the start.

Nobody may read them: a full pipe, a stopped terminal or a slow console must not hold the work. A
line waits for its reader, but only LINE_WAIT, and all lines together PATIENCE; then it is dropped,
and the next one that is written tells how many were. A line is short enough for one atomic write to
a pipe (pipe(7), PIPE_BUF).
"""

import posix
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LINE_WAIT = 0.25  # seconds
PATIENCE = 2.0  # seconds
LONGEST = 1000  # characters of a message, of up to 4 bytes each

_ERROR, _WARNING, _INFO, _DEBUG = 3, 4, 6, 7  # syslog(3)
_S_IFMT, _S_IFIFO, _S_IFCHR, _S_IFSOCK = 0o170000, 0o010000, 0o020000, 0o140000  # inode(7)


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
        self._fd = -1
        self._poll: "Callable[[float], object]"  # of the first line on
        self._at_once = 0
        self._patience = PATIENCE
        self._dropped = 0

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

    def complain(self, text: str) -> None:
        """Log what is wrong with the command line or the settings; no time matters there."""
        self.status(text)
        self._write(_ERROR, "", text, start="azready: ")

    def status(self, text: str) -> None:
        """Tell what is being done to who watches, without a line."""
        if self.watch:
            self.watch(text)

    def _write(self, level: int, word: str, text: str, start: str = "") -> None:
        # Messages contain values from outside; each stays one line, and not a long one.
        line = printable(text[: LONGEST + 1])
        if len(line) > LONGEST:
            line = line[:LONGEST] + "..."
        start = start or f"azready [{monotonic() - self.started:8.3f}] "
        if self._priority:
            start = f"<{level}>"
        if self._dropped:
            # The last of them may have been written in part.
            start = f"\n{start}({self._dropped} lines dropped: nobody read them in time) "
        if self._put(f"{start}{word}{line}\n".encode("utf-8", "backslashreplace")):
            self._dropped = 0
        else:
            self._dropped += 1

    def _put(self, line: bytes) -> bool:
        """Write a line to standard error; return False if it was dropped."""
        if self._fd < 0:
            self._fd, self._at_once = _standard_error()
            self._poll = _poll_of(self._fd)
        ask = self._at_once > 0
        started = monotonic()
        end = started + min(LINE_WAIT, self._patience)
        try:
            while line and (not ask or self._poll(max(0, end - monotonic()) * 1000)):
                try:
                    line = line[posix.write(self._fd, line[: self._at_once or None]) :]
                except BlockingIOError:
                    pass
                ask = True
        except OSError:  # closed: there is nobody to tell
            return True
        if ask:
            self._patience -= monotonic() - started
        return not line


class Quiet(Log):
    """A log that drops its lines, for commands that answer on standard output."""

    def _write(self, level: int, word: str, text: str, start: str = "") -> None:
        pass


def printable(text: str) -> str:
    """Return `text` with an escape for every character that is not printable."""
    if text.isprintable():  # hundreds of steps less for each line
        return text
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" for character in text
    )


def _standard_error() -> "tuple[int, int]":
    """Return (the descriptor to write to, 0 if no write to it blocks).

    Otherwise the number is how many bytes a write may have after poll(2) was asked: PIPE_BUF for a
    pipe or a socket, such as the journal's. A terminal that poll(2) calls writable has room for one
    byte, so it is opened once more: whether writes block is a property of the open file, which
    other processes share. That fails without /proc, and for another user's terminal.
    """
    kind = 0
    try:
        kind = posix.fstat(2).st_mode & _S_IFMT
        if kind == _S_IFCHR:
            flags = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC
            return posix.open("/proc/self/fd/2", flags), 0
    except OSError:
        pass
    return 2, {_S_IFCHR: 1, _S_IFIFO: 4096, _S_IFSOCK: 4096}.get(kind, 0)


def _poll_of(fd: int) -> "Callable[[float], object]":
    """Return what waits so many milliseconds at most, and tells whether a write does not block."""
    from select import POLLOUT, poll

    ready = poll()
    ready.register(fd, POLLOUT)
    return ready.poll


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
