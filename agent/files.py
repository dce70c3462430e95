"""One regular file: read, written and replaced by descriptors. Root finds the folder before."""

import posix
from errno import EINVAL, ENODATA, ENOENT, ENOTSUP, EPERM
from stat import S_IMODE, S_ISDIR

from agent.errors import GuestError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.walk import Walk

MAX_READ = 1024 * 1024  # bytes

_LABEL = "security.selinux"
_NO_LABEL = (ENODATA, ENOTSUP, EPERM, ENOENT)


def refuse_second_name(fd: int) -> None:
    """Reject a file with several hard links: the other name may be somebody else's file."""
    status = posix.fstat(fd)
    if not S_ISDIR(status.st_mode) and status.st_nlink != 1:
        raise OSError(EPERM, "it has another name as well (a hard link)")


def read(fd: int, most: int) -> bytes:
    """Read at most `most` bytes. Raises OSError."""
    pieces = bytearray()
    ask = 4096  # most files have less, and a larger buffer is mapped and cleared for each read
    while len(pieces) < most and (piece := posix.read(fd, min(ask, most - len(pieces)))):
        pieces += piece
        ask = 65536
    return bytes(pieces)


def write_all(fd: int, content: bytes) -> None:
    """Write all of `content`. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[posix.write(fd, view) :]


def give(fd: int, owner: "tuple[int, int]") -> None:
    """Give an open file to `owner` (uid, gid) unless it is that user's already. Raises OSError."""
    mine = posix.fstat(fd)
    if owner != (mine.st_uid, mine.st_gid):
        posix.fchown(fd, *owner)


def fill(
    walk: "Walk",
    name: str,
    fd: int,
    content: bytes,
    mode: int,
    owner: "tuple[int, int] | None",
    *,
    like_old: bool,
) -> None:
    """Give the open, new file content and attributes of what replaces `name`. Raises OSError."""
    if not (like_old and walk.status is not None and _copy_attributes(walk, name, fd)):
        if owner:
            give(fd, owner)
        posix.fchmod(fd, mode)
    write_all(fd, content)
    posix.fsync(fd)


def _copy_attributes(walk: "Walk", name: str, new: int) -> bool:
    """Give the open file the owner, mode and label of the old one; False if that is gone."""
    try:
        old = walk.open_regular(name)
    except FileNotFoundError:
        return False
    try:
        status = posix.fstat(old)
        give(new, (status.st_uid, status.st_gid))
        posix.fchmod(new, S_IMODE(status.st_mode) & 0o1777)
        try:
            posix.setxattr(new, _LABEL, posix.getxattr(old, _LABEL))
        except OSError as error:
            if error.errno not in _NO_LABEL:
                raise
    finally:
        posix.close(old)
    return True


def sync(walk: "Walk") -> None:
    """Sync the folder that was reached; a file system that cannot sync folders is not an error."""
    fd = walk.open_folder()
    try:
        posix.fsync(fd)
    except OSError as error:
        if error.errno != EINVAL:
            raise
    finally:
        posix.close(fd)


def read_given(path: str, limit: int = MAX_READ) -> "bytes | None":
    """Return the content of a file that the caller named, anything that can be opened for reading.

    None if it does not exist. Raises GuestError, also for more than `limit` bytes.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOCTTY)
        try:
            content = read(fd, limit + 1)
        finally:
            posix.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GuestError(f"cannot read {path}: {reason(error)}") from None
    if len(content) > limit:
        raise GuestError(f"cannot read {path}: it has more than {limit} bytes")
    return content
