"""The lock of a machine: one provision at a time, and nothing else changes azready meanwhile.

flock(2) on a file in /run that only root can open, so that no user can hold up a boot. It ends with
the process, and programs do not inherit it. A tree without /run has no lock.
"""

import posix
from errno import EWOULDBLOCK
from fcntl import LOCK_EX, LOCK_NB, flock
from time import sleep

from agent.errors import AzreadyError, GuestError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.retry import Deadline
    from agent.log import Log
    from agent.root import Root

PATH = "/run/azready/lock"  # in a folder of its own, which the unit may write to
_PAUSE = 0.2  # seconds between two looks


class Busy(AzreadyError):
    """Another provision is at work."""


class Lock:
    """The lock of the tree `root`; a context manager that gives it back."""

    def __init__(self, root: "Root") -> None:
        self._root = root
        self._fd = -1

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    def take(self, log: "Log") -> bool:
        """Take it if it is free; make it if it is missing, or go on without if that is impossible.

        Tells whether nobody else has it.
        """
        folder = PATH.rpartition("/")[0]
        if self._root.is_folder(folder.rpartition("/")[0]):
            try:
                self._root.make_folders(folder, 0o700)
                self._open(posix.O_CREAT)
            except (GuestError, OSError) as error:
                why = reason(error) if isinstance(error, OSError) else error
                log.debug(f"going on without the lock {PATH}: {why}")
        return self._try()

    def wait(self, deadline: "Deadline", log: "Log") -> None:
        """Take it once it is free. Raises Busy after the deadline."""
        log.info("another azready provision is at work: waiting for its end")
        while not self._try():
            if deadline.left() <= 0:
                raise Busy(
                    f"another azready provision has not ended within {deadline.seconds:g} s and "
                    f"holds {PATH}: this run ends without a report"
                )
            sleep(min(_PAUSE, deadline.left()))

    def refuse(self) -> None:
        """Raise Busy if somebody has it."""
        try:
            self._open(0)
        except OSError:
            return
        if not self._try():
            raise Busy(f"azready provision is at work (it holds {PATH}): wait for its end")

    def _open(self, flags: int) -> None:
        self._fd = self._root.open(PATH, posix.O_RDWR | flags)

    def _try(self) -> bool:
        """Tell whether nobody else holds it; a file system without locks is nobody."""
        try:
            if self._fd >= 0:
                flock(self._fd, LOCK_EX | LOCK_NB)
        except OSError as error:
            if error.errno == EWOULDBLOCK:
                return False
        return True
