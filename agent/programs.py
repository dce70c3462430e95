"""Helper programs of the image: used if they are present, never required.

They run without a shell, in an environment and a process group of their own. When its time is up, a
program is killed with all that it started, also with daemons, which have left its group; when it
ends in time, they stay. Secrets are passed through standard input only. Programs run for this
machine alone: those of another root may be for another processor.
"""

import posix
from _signal import SIG_BLOCK, SIG_SETMASK, SIGKILL, SIGPIPE, pthread_sigmask
from select import POLLIN, poll
from time import monotonic, monotonic_ns, sleep

from agent.errors import GuestError, reason
from agent.record import record
from agent.signals import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.root import Root

FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LIMIT = 60.0  # seconds
MAX_OUTPUT = 64 * 1024  # bytes that are kept

_PIPE = 65536  # bytes that a pipe holds: pipe(7)
_PIECE = 4096  # bytes of output between two looks at the clock: a console may be slow
_LOW = 10  # nice(2)
_ENDING = 5.0  # seconds to kill a program and all that it started
_ENVIRONMENT = {"PATH": ":".join(FOLDERS), "LC_ALL": "C", "HOME": "/root"}


@record
class Result:
    """How a program ended.

    `code` is its exit status, minus the signal if one killed it; `output` is what it wrote to
    standard output and standard error.
    """

    code: int
    output: str

    def __str__(self) -> str:
        said = " ".join(self.output.split())[:300]
        ended = "exited with status" if self.code >= 0 else "was killed by signal"
        return f"{ended} {abs(self.code)}" + (f": {said}" if said else "")


class TimeUp(GuestError):
    """A program was killed because it ran for too long."""


def find(root: "Root", name: str) -> str:
    """Return the path of the program `name` inside `root`, "" if it is missing."""
    return next(
        (f"{folder}/{name}" for folder in FOLDERS if root.is_executable(f"{folder}/{name}")), ""
    )


def usable(root: "Root", name: str) -> str:
    """Return what find() does for this machine, "" for every other root."""
    return find(root, name) if root.is_live else ""


def run(
    words: "list[str]",
    *,
    stdin: bytes = b"",
    limit: float = LIMIT,
    on_output: "Callable[[bytes], None] | None" = None,
    nice: "int | None" = None,
) -> Result:
    """Run the program `words[0]` (a path), wait for it, and kill it after `limit` seconds.

    Then what it started is killed, too. It can read `stdin` (at most 4096 bytes, which every pipe
    holds) and nothing else; `on_output` gets each piece of its output as it comes. `nice` is how
    nice it is at least (nice(2)), None as nice as we are. Raises GuestError if it cannot be
    started, TimeUp if it is killed.
    """
    # A signal that ends us may not do so while a child is there that nobody would end.
    old = pthread_sigmask(SIG_BLOCK, NUMBERS)
    try:
        child, output, mark = _spawn(words, stdin, old, nice)
        try:
            result = _attend(child, output, limit, mark, old, on_output)
        finally:
            posix.close(output)
    finally:
        pthread_sigmask(SIG_SETMASK, old)
    if result is None:
        raise TimeUp(f"{words[0]} was killed: it ran for more than {limit:g} s")
    return result


class Beside:
    """Programs that run beside our own work: what run() does, in two halves.

    start() each, then wait() for each once, which ends it as run() does; end() kills those that
    nobody has waited for. They cannot read anything, and nobody takes their output before wait():
    one that fills its pipe stands still until then.
    """

    def __init__(self) -> None:
        self._running: "dict[str, tuple[int, int, bytes, float]]" = {}

    def start(
        self, name: str, words: "list[str]", *, limit: float = LIMIT, nice: "int | None" = _LOW
    ) -> None:
        """Start a program, and remember it as `name`; `nice` as run() has it. Raises GuestError."""
        old = pthread_sigmask(SIG_BLOCK, NUMBERS)
        try:
            child, output, mark = _spawn(words, b"", old, nice)
            self._running[name] = (child, output, mark, monotonic() + limit)
        finally:
            pthread_sigmask(SIG_SETMASK, old)

    def hurry(self, names: "Iterable[str]") -> None:
        """Give those that run our own priority: we are about to wait for them."""
        for child, *_ in self._of(names):
            _set_priority(child, posix.nice(0))

    def knows(self, name: str) -> bool:
        """Tell whether it was started, and nobody has waited for it."""
        return name in self._running

    def has_ended(self, names: "Iterable[str]") -> bool:
        """Tell whether wait() would not have to wait for any of them."""
        return not any(
            posix.waitid(posix.P_PID, child, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT) is None
            for child, *_ in self._of(names)
        )

    def _of(self, names: "Iterable[str]") -> "list[tuple[int, int, bytes, float]]":
        return [self._running[name] for name in names if name in self._running]

    def wait(self, name: str) -> Result:
        """Return how it ended; kill it when its time is up. Raises TimeUp."""
        old = pthread_sigmask(SIG_BLOCK, NUMBERS)
        try:
            child, output, mark, end = self._running.pop(name)
            try:
                result = _attend(child, output, end - monotonic(), mark, old)
            finally:
                posix.close(output)
        finally:
            pthread_sigmask(SIG_SETMASK, old)
        if result is None:
            raise TimeUp("it was killed: it ran for too long")
        return result

    def end(self) -> None:
        """Kill what still runs, with all that it started."""
        old = pthread_sigmask(SIG_BLOCK, NUMBERS)
        try:
            while self._running:
                _, (child, output, mark, _) = self._running.popitem()
                posix.close(output)
                _end(child, mark)
        finally:
            pthread_sigmask(SIG_SETMASK, old)


def _set_priority(child: int, nice: int) -> None:
    try:
        posix.setpriority(posix.PRIO_PGRP, child, nice)
    except OSError:
        pass  # it has ended; or it may not be raised (CAP_SYS_NICE, LimitNICE= of the unit)


def _spawn(
    words: "list[str]", stdin: bytes, signals: "set[int]", nice: "int | None"
) -> "tuple[int, int, bytes]":
    """Start a program while signals are blocked; return (child, its output, the mark of this run).

    `signals` are those blocked for it, `nice` is as in run(). Raises GuestError.
    """
    if len(stdin) > 4096:
        raise GuestError(f"cannot give {len(stdin)} bytes to {words[0]}: the limit is 4096")
    given, mine = posix.pipe2(posix.O_CLOEXEC)
    output, theirs = posix.pipe2(posix.O_CLOEXEC)
    try:
        posix.write(mine, stdin)
    finally:
        posix.close(mine)
    actions = [
        (posix.POSIX_SPAWN_DUP2, given, 0),
        (posix.POSIX_SPAWN_DUP2, theirs, 1),
        (posix.POSIX_SPAWN_DUP2, theirs, 2),
    ]
    mark = f"AZREADY_RUN={posix.getpid()}.{monotonic_ns()}"
    environment = {**_ENVIRONMENT, "AZREADY_RUN": mark.partition("=")[2]}
    try:
        child = posix.posix_spawn(
            words[0],
            words,
            environment,
            file_actions=actions,
            setpgroup=0,
            setsigmask=signals,
            setsigdef=[SIGPIPE],
        )
    except OSError as error:
        posix.close(output)
        raise GuestError(f"cannot run {words[0]}: {reason(error)}") from None
    finally:
        posix.close(given)
        posix.close(theirs)
    if nice is not None:
        _set_priority(child, max(nice, posix.nice(0)))
    return child, output, mark.encode()


def _attend(
    child: int,
    output: int,
    limit: float,
    mark: bytes,
    signals: "set[int]",
    on_output: "Callable[[bytes], None] | None" = None,
) -> "Result | None":
    """Read until the child has ended; return how it did, None if its time was up.

    One that has ended is found so however late it is. In any case the child is gone afterwards.
    `signals` are the blocked ones while we wait.
    """
    kept = bytearray()

    def take(piece: bytes) -> None:
        kept.extend(piece[: MAX_OUTPUT - len(kept)])
        if on_output:
            on_output(piece)

    end = monotonic() + limit
    ready = poll()
    ready.register(output, POLLIN)
    is_open = True
    status: "int | None" = None
    try:
        while True:
            pthread_sigmask(SIG_SETMASK, signals)  # here, and only here, one may end the wait
            pthread_sigmask(SIG_BLOCK, NUMBERS)
            if is_open:
                is_open = _take_one(ready, output, 50, take)
            else:
                sleep(0.001)
            pid, found = posix.waitpid(child, posix.WNOHANG)
            status = found if pid else None
            if pid or monotonic() >= end:
                break
        # Take what the child has left in the pipe, and no more: in the background, something that
        # it started may hold the pipe open, or even fill it, for ever.
        for _ in range(_PIPE // _PIECE):
            if status is None or not is_open or not _take_one(ready, output, 0, take):
                break
    finally:
        if status is None:
            _end(child, mark)
    if status is None:
        return None
    return Result(posix.waitstatus_to_exitcode(status), kept.decode("utf-8", "replace"))


def _take_one(
    ready: "poll", output: int, milliseconds: int, take: "Callable[[bytes], None]"
) -> bool:
    """Take one piece of output; return False at its end or, without waiting, if there is none."""
    if not ready.poll(milliseconds):
        return milliseconds > 0
    piece = posix.read(output, _PIECE)
    if piece:
        take(piece)
    return bool(piece)


def _end(child: int, mark: bytes) -> None:
    """Kill the child, its process group, and what left the group; take _ENDING s at most.

    A daemon leaves group and session, and init becomes its parent. What it keeps is the environment
    with the mark of this run. Not found is what was started in a new environment, or forks and ends
    faster than we look. There is no surer way for every image: a subreaper takes prctl(2), which
    the standard library lacks; not every kernel has control groups that can be written; and of a
    PID namespace nothing would survive a program that ends in time.
    """
    posix.killpg(child, SIGKILL)  # all of it at once; until waitpid the number is nobody else's
    end, is_gone, quiet = monotonic() + _ENDING, False, 0
    # Two looks must find nothing: while execve(2) is at work, a process has no environment.
    while (not is_gone or quiet < 2) and monotonic() < end:
        is_gone = is_gone or posix.waitpid(child, posix.WNOHANG)[0] != 0
        quiet += 1
        for pid in _marked(mark):
            quiet = 0
            try:
                posix.kill(pid, SIGKILL)
            except ProcessLookupError:
                continue
        sleep(0.01)


def _marked(mark: bytes) -> "list[int]":
    """Return the processes with the mark in their environment, none without /proc: proc(5)."""
    found = []
    try:
        for name in filter(str.isdigit, posix.listdir("/proc")):
            try:
                with open(f"/proc/{name}/environ", "rb") as environment:
                    if mark in environment.read():
                        found.append(int(name))
            except OSError:
                continue  # it has ended
    except OSError:
        pass
    return found
