"""Helper programs of the image: used where they are there, never needed.

Run without a shell, with an environment of our own, in a process group of their own that does not outlive its time. Secrets go in through standard
input only. Programs are run for this machine alone: those of another root may be for another processor.
"""

import posix
from _signal import SIGKILL, SIGPIPE
from select import POLLIN, poll
from time import monotonic, sleep

from agent.errors import GuestError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.root import Root

FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LIMIT = 60.0  # seconds
MAX_OUTPUT = 64 * 1024  # bytes that are kept

_ENVIRONMENT = {"PATH": ":".join(FOLDERS), "LC_ALL": "C", "HOME": "/root"}


class Result:
    """How a program ended: `code` (negative: minus the signal) and `output`, what it wrote to standard output and error (str)."""

    __slots__ = ("code", "output")

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output

    def __str__(self) -> str:
        said = " ".join(self.output.split())[:300]
        ended = (
            f"ended with {self.code}" if self.code >= 0 else f"was killed by signal {-self.code}"
        )
        return f"{ended} and said {said!r}" if said else ended


def find(root: "Root", name: str) -> str:
    """Where the program `name` is, as a path inside `root`; "" if it is not there."""
    return next(
        (f"{folder}/{name}" for folder in FOLDERS if root.is_executable(f"{folder}/{name}")), ""
    )


def usable(root: "Root", name: str) -> str:
    """As find(), but "" for every root that is not this machine's."""
    return find(root, name) if root.is_live else ""


def run(
    words: "list[str]",
    *,
    stdin: bytes = b"",
    limit: float = LIMIT,
    on_output: "Callable[[bytes], None] | None" = None,
) -> Result:
    """Run a program (`words[0]` is its path) and wait for it, at most `limit` seconds; then it is killed with all it started.

    `stdin` (at most 4096 bytes, what every pipe holds) is all that it can read; `on_output` gets each piece of its output as it comes. Raises
    GuestError if it cannot be started or its time is up.
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
    try:
        child = posix.posix_spawn(
            words[0], words, _ENVIRONMENT, file_actions=actions, setpgroup=0, setsigdef=[SIGPIPE]
        )
    except OSError as error:
        posix.close(output)
        raise GuestError(f"cannot run {words[0]}: {reason(error)}") from None
    finally:
        posix.close(given)
        posix.close(theirs)
    kept = bytearray()

    def take(piece: bytes) -> None:
        kept.extend(piece[: MAX_OUTPUT - len(kept)])
        if on_output:
            on_output(piece)

    try:
        code = _attend(child, output, limit, take)
    finally:
        posix.close(output)
    if code is None:
        raise GuestError(f"{words[0]} did not end within {limit:g} s and was killed")
    return Result(code, kept.decode("utf-8", "replace"))


def _attend(child: int, output: int, limit: float, take: "Callable[[bytes], None]") -> "int | None":
    """Read until the child has ended; its exit code, None if its time was up. Whatever happens, it is gone afterwards."""
    end = monotonic() + limit
    ready = poll()
    ready.register(output, POLLIN)
    is_open = True
    status: "int | None" = None
    try:
        while status is None and monotonic() < end:
            if is_open:
                is_open = _take_one(ready, output, 50, take)
            else:
                sleep(0.001)
            pid, found = posix.waitpid(child, posix.WNOHANG)
            status = found if pid else None
        # What is still in the pipe; something that it left running in the background may hold the pipe open for ever.
        while status is not None and is_open and _take_one(ready, output, 0, take):
            pass
    finally:
        if status is None:
            posix.killpg(child, SIGKILL)
            posix.waitpid(child, 0)
    return None if status is None else posix.waitstatus_to_exitcode(status)


def _take_one(
    ready: "poll", output: int, milliseconds: int, take: "Callable[[bytes], None]"
) -> bool:
    """Wait for one piece of output; False once there will be no more, or, without waiting, none is there."""
    if not ready.poll(milliseconds):
        return milliseconds > 0
    piece = posix.read(output, 65536)
    if piece:
        take(piece)
    return bool(piece)
