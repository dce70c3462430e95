"""The lock of the account files, as the shadow tools take it (lckpwdf(3))."""

import posix
from errno import EROFS
from time import monotonic, sleep

from agent.errors import GuestError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

LOCK_LIMIT = 15.0  # seconds, as lckpwdf(3)

_LOCK = "/etc/.pwd.lock"


class Locked:
    """Holds the lock of the account files (lckpwdf(3)) as a context manager.

    Raises GuestError if it is not free within LOCK_LIMIT.
    """

    def __init__(self, root: "Root") -> None:
        self._root = root
        self._fd = -1

    def __enter__(self) -> None:
        place = self._root.shown(_LOCK)
        end = monotonic() + LOCK_LIMIT
        try:
            self._fd = self._root.open(_LOCK, posix.O_RDWR | posix.O_CREAT)
        except OSError as error:
            if error.errno == EROFS:
                return  # nobody can change the files; a complete account needs no change
            raise GuestError(f"cannot open the lock {place}: {reason(error)}") from None
        while True:
            try:
                posix.lockf(self._fd, posix.F_TLOCK, 0)
                return
            except OSError as error:
                if monotonic() > end:
                    posix.close(self._fd)
                    raise GuestError(
                        f"cannot lock {place} within {LOCK_LIMIT:g} s, another program is editing "
                        f"the accounts: {reason(error)}"
                    ) from None
            sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            posix.close(self._fd)
