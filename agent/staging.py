"""What becomes a file or folder is made next to its place, and renamed to it.

It is made under a name of its own, and locked (flock(2)) for as long as its process works on it. So
two processes never share one, and what a killed process left behind is known by its free lock.
"""

import posix
from _signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask
from errno import EBUSY, EWOULDBLOCK
from fcntl import LOCK_EX, LOCK_NB, flock
from time import monotonic_ns

from agent import tree
from agent.signals import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TRIES = 100  # a folder may belong to a user who wants this to fail
_LIST = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
_ANY = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY


def build(
    folder: int, name: str, make: "Callable[[str], int]", fill: "Callable[[int], object]"
) -> None:
    """Make an entry of `folder` (a descriptor), whole or not at all, in the place of an old one.

    `make` makes an entry with the given name and opens it, or raises FileExistsError; `fill` does
    the rest. Signals that would end the process wait, so that nothing is left behind. Raises
    OSError.
    """
    _sweep(folder, name)
    old = pthread_sigmask(SIG_BLOCK, NUMBERS)
    try:
        left, fd = _begin(folder, name, make)
        try:
            fill(fd)
            posix.rename(left, name, src_dir_fd=folder, dst_dir_fd=folder)
            left = ""
        finally:
            if left:
                _remove(folder, left)
            posix.close(fd)
    finally:
        pthread_sigmask(SIG_SETMASK, old)


def _begin(folder: int, name: str, make: "Callable[[str], int]") -> "tuple[str, int]":
    """Return a new name and its descriptor, locked if the file system can lock. Raises OSError."""
    for _ in range(_TRIES):
        temporary = f".{name}.{monotonic_ns():x}.azready"
        try:
            fd = make(temporary)
        except FileExistsError:
            continue
        if _lock(fd) != EWOULDBLOCK and _is_same(fd, folder, temporary):
            return temporary, fd
        # Before it was locked, another process took it for left behind, and removed it.
        posix.close(fd)
    raise OSError(EBUSY, "another process removes what is to become it")


def _sweep(folder: int, name: str) -> None:
    """Remove what killed processes left behind of `name`, as far as that is possible."""
    try:
        fd = posix.open(".", _LIST, dir_fd=folder)
    except OSError:
        return
    try:
        names = posix.listdir(fd)
    finally:
        posix.close(fd)
    start = f".{name}."
    if start not in "/".join(names):
        return  # as nearly always; a look at each name of a large folder takes far longer
    for entry in names:
        if entry.startswith(start) and entry.endswith(".azready"):
            _remove_left(folder, entry)


def _remove_left(folder: int, entry: str) -> None:
    """Remove an entry that nobody has locked.

    Only who holds its lock renames it. So once it is locked here and still has this name, it keeps
    the name; before that, its maker may have put it in place.
    """
    try:
        fd = posix.open(entry, _ANY, dir_fd=folder)
    except OSError:
        return
    try:
        if not _lock(fd) and _is_same(fd, folder, entry):
            _remove(folder, entry)
    finally:
        posix.close(fd)


def _is_same(fd: int, folder: int, entry: str) -> bool:
    """Tell whether the name still leads to what is open."""
    try:
        named = posix.stat(entry, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    mine = posix.fstat(fd)
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)


def _remove(folder: int, entry: str) -> None:
    try:
        tree.remove(folder, entry)
    except OSError:
        pass  # it is in nobody's way


def _lock(fd: int) -> int:
    """Lock what is open; return the number of the error, 0 if it is locked now."""
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except OSError as error:
        return error.errno or EWOULDBLOCK
    return 0
