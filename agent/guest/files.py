"""Reading and replacing files under a root, so that a power cut leaves the old or the new file and never half of one.

A replacement is written beside its target, given the target's owner, mode and SELinux label, synced, and renamed over it. That the renames themselves
are on the disk is seen to once, by `settle`, before anyone is told that they are done. Symbolic links are followed the way a process inside the root
would see them: an absolute link starts at the root again, and `..` never leaves it.
"""

import posix
from errno import EINVAL, ELOOP, ENODATA, ENOENT, ENOTSUP, EPERM
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from agent.errors import GuestError, reason

MAX_READ = 1024 * 1024  # bytes
MAX_LINKS = 40  # as many as the kernel follows

_LABEL = "security.selinux"


def resolve(root: str, path: str) -> str:
    """The real place of `path` (absolute, as seen inside `root`), with every link followed inside the root. The last part need not exist. Raises GuestError."""
    waiting = path.split("/")[::-1]
    found: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del found[-1:]
            continue
        place = "/".join([root.rstrip("/"), *found, part])
        try:
            target = posix.readlink(place) if S_ISLNK(posix.lstat(place).st_mode) else None
        except FileNotFoundError:
            target = None
        except OSError as error:
            raise _failed("look up", place, error) from None
        if target is None:
            found.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise _failed("look up", place, OSError(ELOOP, posix.strerror(ELOOP)))
        if target.startswith("/"):
            found.clear()
        waiting += target.split("/")[::-1]
    return "/".join([root.rstrip("/"), *found]) or "/"


def read(root: str, path: str, limit: int = MAX_READ) -> "bytes | None":
    """The content of a file, None if it does not exist. Raises GuestError if it cannot be read or has more than `limit` bytes."""
    return read_at(resolve(root, path), limit)


def head(root: str, path: str, length: int) -> bytes:
    """The first bytes of a file, at most `length`, b"" if it does not exist. Raises GuestError."""
    return read_at(resolve(root, path), length, cut=True) or b""


def read_at(place: str, limit: int, *, cut: bool = False) -> "bytes | None":
    """The content of the file at this very place, None if it does not exist; one with more than `limit` bytes is cut, or an error. Raises GuestError."""
    try:
        fd = posix.open(place, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOCTTY | posix.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed("read", place, error) from None
    try:
        pieces = bytearray()
        # As much as it says it has: a buffer for more is mapped and cleared each time, which is what most of a read would cost.
        ask = min(max(posix.fstat(fd).st_size, 511) + 1, 65536)
        while piece := posix.read(fd, ask):
            pieces += piece
            if len(pieces) > limit:
                if cut:
                    break
                raise GuestError(f"cannot read {place}: it has more than {limit} bytes")
        return bytes(pieces[:limit])
    except OSError as error:
        raise _failed("read", place, error) from None
    finally:
        posix.close(fd)


def replace(root: str, path: str, content: bytes, mode: int = 0o644, owner: "tuple[int, int] | None" = None, *, like_old: bool = True) -> None:
    """Make `content` the whole content of a file, atomically; folders on the way to it that are missing are made.

    A file that is there keeps its owner, mode and label, but for one that is ours alone (`like_old` False); a new one gets `mode`, `owner` (uid, gid) if
    that is given, and, from the kernel, the label of its directory. Raises GuestError, with the old file as it was.
    """
    place = resolve(root, path)
    directory, _, name = place.rpartition("/")
    _refuse_special(place)
    _make_directories(root, directory)
    temporary = f"{directory}/.{name}.azready"
    left = temporary
    try:
        remove(temporary)  # left by a run that was killed
        fd = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o600)
        try:
            _write_like(fd, place if like_old else "", content, mode, owner)
        finally:
            posix.close(fd)
        posix.rename(temporary, place)
        left = ""
    except OSError as error:
        raise _failed("replace", place, error) from None
    finally:
        if left:  # also when a signal ended the work
            _quietly_remove(left)


def itself(root: str, path: str) -> str:
    """The real place of `path` itself: links in the folders on the way are followed inside the root, the last part is not. Raises GuestError."""
    directory, _, name = path.rpartition("/")
    return f"{resolve(root, directory).rstrip('/')}/{name}"


def discard(root: str, path: str) -> bool:
    """Remove a file or link, following links in the folders on the way; False if there was none. Raises GuestError."""
    place = itself(root, path)
    try:
        if not remove(place):
            return False
        sync_directory(place.rpartition("/")[0])
    except OSError as error:
        raise _failed("remove", place, error) from None
    return True


def discard_tree(root: str, path: str) -> bool:
    """Remove a file, a link, or a folder with all that is in it; False if there was nothing. Raises GuestError."""
    place = itself(root, path)
    try:
        return remove_tree(place)
    except OSError as error:
        raise _failed("remove", place, error) from None


def link(root: str, path: str, target: str) -> bool:
    """Make a symbolic link to `target`, and the folders on the way; False if there was one, whatever its target. Raises GuestError."""
    if is_link(root, path):
        return False
    make_directories(root, path.rpartition("/")[0])
    place = itself(root, path)
    try:
        posix.symlink(target, place)
        sync_directory(place.rpartition("/")[0])
    except OSError as error:
        raise _failed("make the link", place, error) from None
    return True


def names(root: str, path: str) -> list[str]:
    """What is in a directory, sorted; nothing if there is no such directory. Raises GuestError."""
    place = resolve(root, path)
    try:
        return sorted(posix.listdir(place))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _failed("list", place, error) from None


def exists(root: str, path: str) -> bool:
    """Whether there is anything at `path`. Raises GuestError."""
    try:
        posix.lstat(resolve(root, path))
    except OSError:
        return False
    return True


def is_link(root: str, path: str) -> bool:
    """Whether the last part of `path` is a symbolic link. Raises GuestError."""
    try:
        return S_ISLNK(posix.lstat(itself(root, path)).st_mode)
    except OSError:
        return False


def is_directory(root: str, path: str) -> bool:
    """Whether there is a directory. Raises GuestError."""
    try:
        return S_ISDIR(posix.stat(resolve(root, path)).st_mode)
    except OSError:
        return False


def make_directories(root: str, path: str, mode: int = 0o755) -> None:
    """Make a directory and its parents where they are missing; what is there stays as it is. Raises GuestError."""
    _make_directories(root, resolve(root, path), mode)


def _make_directories(root: str, directory: str, mode: int = 0o755) -> None:
    try:
        if S_ISDIR(posix.stat(directory or "/").st_mode):
            return
    except OSError:
        pass  # what is in the way is found out below
    place = root.rstrip("/")
    for part in directory[len(place) :].split("/"):
        if part:
            place += "/" + part
            try:
                posix.mkdir(place, mode)
            except FileExistsError:
                pass
            except OSError as error:
                raise _failed("make the directory", place, error) from None


def remove(place: str) -> bool:
    """Remove the file or link at this very place; False if there was none. Raises OSError."""
    try:
        posix.unlink(place)
    except FileNotFoundError:
        return False
    return True


def remove_tree(place: str) -> bool:
    """Remove a file, a link, or a folder with all that is in it, never what a link points to; False if there was nothing. Raises OSError."""
    try:
        if not S_ISDIR(posix.lstat(place).st_mode):
            return remove(place)
    except FileNotFoundError:
        return False
    for name in posix.listdir(place):
        remove_tree(f"{place}/{name}")
    posix.rmdir(place)
    return True


def copy(source: str, target: str, mode: int, owner: "tuple[int, int] | None" = None) -> None:
    """Copy a regular file to a place where nothing is yet, and sync it. Raises OSError."""
    old = posix.open(source, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    try:
        new = posix.open(target, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
        try:
            while piece := posix.read(old, 65536):
                write_all(new, piece)
            if owner:
                _give(new, owner)
            posix.fchmod(new, mode)
            posix.fsync(new)
        finally:
            posix.close(new)
    finally:
        posix.close(old)


def settle(root: str, paths: "tuple[str, ...]") -> None:
    """Make all that was replaced in these directories survive a power cut; those that are not there are passed over. Raises GuestError."""
    for path in paths:
        place = resolve(root, path)
        try:
            sync_directory(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _failed("sync", place, error) from None


def sync_directory(directory: str) -> None:
    """Make what was renamed or removed in a directory survive a power cut. Raises OSError; a file system that cannot sync directories is not an error."""
    fd = posix.open(directory or "/", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        posix.fsync(fd)
    except OSError as error:
        if error.errno != EINVAL:
            raise
    finally:
        posix.close(fd)


def write_all(fd: int, content: bytes) -> None:
    """Write all of `content`. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[posix.write(fd, view) :]


def _refuse_special(place: str) -> None:
    """A link to /dev/null must not end in a file there."""
    try:
        if S_ISREG(posix.lstat(place).st_mode):
            return
    except OSError:
        return  # there is nothing, or what is wrong is found out by who writes
    raise GuestError(f"cannot replace {place}: it is no regular file")


def _write_like(fd: int, place: str, content: bytes, mode: int, owner: "tuple[int, int] | None") -> None:
    """Write a new file that takes the attributes of the one at `place`, or those given if there is none."""
    try:
        old = posix.stat(place)
    except FileNotFoundError:
        if owner:
            _give(fd, owner)
        posix.fchmod(fd, mode)
    else:
        _give(fd, (old.st_uid, old.st_gid))
        posix.fchmod(fd, S_IMODE(old.st_mode))
        _copy_label(place, fd)
    write_all(fd, content)
    posix.fsync(fd)


def _give(fd: int, owner: "tuple[int, int]") -> None:
    mine = posix.fstat(fd)
    if owner != (mine.st_uid, mine.st_gid):
        posix.fchown(fd, *owner)


def _copy_label(place: str, fd: int) -> None:
    try:
        posix.setxattr(fd, _LABEL, posix.getxattr(place, _LABEL))
    except OSError as error:
        if error.errno not in (ENODATA, ENOTSUP, EPERM, ENOENT):
            raise


def _quietly_remove(place: str) -> None:
    try:
        remove(place)
    except OSError:
        pass


def _failed(what: str, place: str, error: OSError) -> GuestError:
    return GuestError(f"cannot {what} {place}: {reason(error)}")
