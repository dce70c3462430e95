"""The key-value pool that the Hyper-V host reads: how provisioning ended, for diagnostics when the network does not work (azure-platform.md)."""

import posix
from errno import EACCES, EAGAIN
from fcntl import LOCK_EX, LOCK_NB, flock
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, sleep, time

from agent.errors import GuestError, reason
from agent.protocol import kvp
from agent.root import MAX_READ
from agent.tree import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

POOL = "/var/lib/hyperv/.kvp_pool_1"
LOCK_LIMIT = 5.0  # seconds: a daemon that hangs must not hold up a boot


def write_report(root: "Root", value: str) -> bool:
    """Put `value` under PROVISIONING_REPORT into the pool, in the place of an earlier report; False if there is no pool. Raises GuestError.

    Records from before this boot are dropped: the host would take them for news. Both kinds of locks are held, as hv_kvp_daemon and cloud-init do.
    """
    if not root.is_folder(POOL.rpartition("/")[0]):
        return False
    try:
        fd = root.open(POOL, posix.O_RDWR | posix.O_CREAT, 0o644)
        try:
            _lock(fd)
            _put(fd, kvp.record(kvp.REPORT_KEY, value))
        finally:
            posix.close(fd)
    except OSError as error:
        raise GuestError(f"cannot write {root.shown(POOL)}: {reason(error)}") from None
    return True


def _lock(fd: int) -> None:
    """Take both kinds of locks. Raises OSError if they are not free within LOCK_LIMIT."""
    end = monotonic() + LOCK_LIMIT
    while True:
        try:
            flock(fd, LOCK_EX | LOCK_NB)
            posix.lockf(fd, posix.F_TLOCK, 0)
            return
        except OSError as error:
            if error.errno not in (EACCES, EAGAIN) or monotonic() > end:
                raise
        sleep(0.02)


def _put(fd: int, record: bytes) -> None:
    status = posix.fstat(fd)
    booted = time() - clock_gettime(CLOCK_BOOTTIME)
    size = (
        status.st_size - status.st_size % kvp.RECORD_SIZE
    )  # half a record is what a power cut leaves
    if status.st_mtime < booted:
        size = 0
    posix.ftruncate(fd, size)
    at = size
    for start in range(0, min(size, MAX_READ), kvp.RECORD_SIZE):
        if posix.pread(fd, kvp.KEY_SIZE, start) == record[: kvp.KEY_SIZE]:
            at = start
            break
    posix.lseek(fd, at, 0)
    write_all(fd, record)
    posix.fsync(fd)
