"""Record how provisioning ended in the key-value pool that the Hyper-V host reads.

The host shows it even if the network does not work (agent/README.md).
"""

import posix
from errno import EACCES, EAGAIN
from fcntl import LOCK_EX, LOCK_NB, flock
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, sleep, time

from agent import __version__
from agent.change import Change, Step
from agent.errors import GuestError, ProtocolError, reason
from agent.files import MAX_READ, write_all
from agent.protocol import kvp
from agent.steps import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.root import Root

POOL = "/var/lib/hyperv/.kvp_pool_1"
LOCK_LIMIT = 5.0  # seconds: a daemon that hangs must not hold up a boot
AGENT = f"azready/{__version__}"


def changes(boot: "Boot") -> "Changes":
    """Yield the record of success, if there is a pool and it does not say so yet."""
    root = boot.root
    if not has_pool(root):
        return
    record = kvp.success(source(boot), boot.notes)
    if _untimed(_report(root)) != _untimed(record):
        yield Change(f"record the success in {POOL}", lambda: write(root, record))


def source(boot: "Boot") -> "tuple[str, ...]":
    """Return the fields of a report that say whose it is."""
    pps_type = boot.metadata.pps_type if boot.metadata else ""
    return kvp.source(AGENT, state.timestamp(), boot.vm_id, pps_type)


def has_pool(root: "Root") -> bool:
    """Tell whether the image has the folder of the pools, as hv_kvp_daemon makes it."""
    return root.is_folder(POOL.rpartition("/")[0])


def write(root: "Root", value: str) -> None:
    """Put `value` into the pool, in the place of an earlier report. Raises GuestError.

    Records from before this boot are dropped: the host would take them for new ones. Both kinds of
    locks are held, as hv_kvp_daemon and cloud-init do.
    """
    try:
        fd = root.open(POOL, posix.O_RDWR | posix.O_CREAT, 0o644)
        try:
            _lock(fd)
            _put(fd, kvp.record(kvp.REPORT_KEY, value))
        finally:
            posix.close(fd)
    except OSError as error:
        raise GuestError(f"cannot write {root.shown(POOL)}: {reason(error)}") from None


def _report(root: "Root") -> str:
    """Return the report in the pool, "" without one."""
    try:
        return dict(kvp.parse(root.read(POOL) or b"")).get(kvp.REPORT_KEY, "")
    except (GuestError, ProtocolError):
        return ""


def _untimed(report: str) -> "list[str]":
    return [field for field in report.split("|") if not field.startswith("timestamp=")]


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
    size = status.st_size - status.st_size % kvp.RECORD_SIZE  # a power cut leaves half a record
    if status.st_mtime < booted:
        size = 0
    starts = [
        start
        for start in range(0, size if size < MAX_READ else 0, kvp.RECORD_SIZE)
        if posix.pread(fd, kvp.KEY_SIZE, start) == record[: kvp.KEY_SIZE]
    ]
    posix.ftruncate(fd, size)
    posix.lseek(fd, starts[0] if starts else size, 0)
    write_all(fd, record)
    for last in range(len(starts) - 1, 0, -1):  # duplicates: the host takes any
        size -= kvp.RECORD_SIZE
        posix.lseek(fd, starts[last], 0)
        write_all(fd, posix.pread(fd, size - starts[last], starts[last] + kvp.RECORD_SIZE))
        posix.ftruncate(fd, size)
    posix.fsync(fd)


KVP = Step("kvp", "Record the success for the Hyper-V host, if its pool exists.", changes)
