"""Removes and copies whole folders by directory descriptors.

Neither follows a link, and removing never enters another file system. A tree may have been made by
somebody who wants this to fail: depth costs no stack and no descriptors.
"""

import posix
from errno import ELOOP, ENOTDIR, ESTALE, EXDEV
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from agent import files

MAX_DEPTH = 64  # folders inside each other in a tree that is copied

_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_FILE = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC


def remove(folder: int, name: str) -> bool:
    """Remove a file, a link, or a folder with its content; False if there was nothing.

    `folder` is the descriptor of the folder that holds it. Raises OSError: EXDEV at another file
    system, ESTALE where a folder was moved away meanwhile.
    """
    try:
        status = posix.stat(name, dir_fd=folder, follow_symlinks=False)
        if not S_ISDIR(status.st_mode):
            posix.unlink(name, dir_fd=folder)
            return True
        if status.st_dev != posix.fstat(folder).st_dev:
            raise _mounted(name)
        eraser = _Eraser(posix.open(name, _FOLDER, dir_fd=folder))
    except FileNotFoundError:
        return False
    try:
        eraser.empty()
    finally:
        posix.close(eraser.fd)
    posix.rmdir(name, dir_fd=folder)
    return True


class _Eraser:
    """Empties a folder with one descriptor, however deep the folder is.

    The way up is `..`, and it must lead to the very folder that was left.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._device = posix.fstat(fd).st_dev

    def empty(self) -> None:
        """Remove everything in the folder. Raises OSError."""
        above: list[tuple[int, str, list[str]]] = []  # inode, name of the folder below, names left
        names = posix.listdir(self.fd)
        while True:
            child = self._next_folder(names)
            if child:
                above.append((posix.fstat(self.fd).st_ino, child, names))
                self._move(child)
                names = posix.listdir(self.fd)
            elif above:
                inode, child, names = above.pop()
                self._move("..")
                status = posix.fstat(self.fd)
                if (status.st_dev, status.st_ino) != (self._device, inode):
                    raise OSError(ESTALE, f"{child!r} was moved away meanwhile")
                posix.rmdir(child, dir_fd=self.fd)
            else:
                return

    def _next_folder(self, names: list[str]) -> str:
        """Remove what is not a folder, up to the first folder; return its name, "" without one."""
        while names:
            name = names.pop()
            try:
                status = posix.stat(name, dir_fd=self.fd, follow_symlinks=False)
                if S_ISDIR(status.st_mode):
                    if status.st_dev != self._device:
                        raise _mounted(name)
                    return name
                posix.unlink(name, dir_fd=self.fd)
            except FileNotFoundError:
                continue
        return ""

    def _move(self, name: str) -> None:
        fd = posix.open(name, _FOLDER, dir_fd=self.fd)
        posix.close(self.fd)
        self.fd = fd
        if posix.fstat(fd).st_dev != self._device:
            raise _mounted(name)


def copy(source: int, target: int, owner: "tuple[int, int]", depth: int = 0) -> None:
    """Copy files, folders and links from one folder into another, and leave anything else out.

    `source` and `target` are descriptors; what is made belongs to `owner` (uid, gid), and set-id
    bits are dropped. Raises OSError, with ELOOP below MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise OSError(ELOOP, f"it is nested more than {MAX_DEPTH} folders deep")
    for name in sorted(posix.listdir(source)):
        status = posix.stat(name, dir_fd=source, follow_symlinks=False)
        if S_ISLNK(status.st_mode):
            posix.symlink(posix.readlink(name, dir_fd=source), name, dir_fd=target)
            posix.chown(name, *owner, dir_fd=target, follow_symlinks=False)
        elif S_ISDIR(status.st_mode):
            _copy_folder(source, target, name, owner, depth)
        elif S_ISREG(status.st_mode):
            _copy_file(source, target, name, owner)


def _copy_folder(source: int, target: int, name: str, owner: "tuple[int, int]", depth: int) -> None:
    posix.mkdir(name, 0o700, dir_fd=target)
    old = posix.open(name, _FOLDER, dir_fd=source)
    try:
        new = posix.open(name, _FOLDER, dir_fd=target)
        try:
            copy(old, new, owner, depth + 1)
            posix.fchown(new, *owner)
            posix.fchmod(new, S_IMODE(posix.fstat(old).st_mode) & 0o777)
        finally:
            posix.close(new)
    finally:
        posix.close(old)


def _copy_file(source: int, target: int, name: str, owner: "tuple[int, int]") -> None:
    old = posix.open(name, _FILE, dir_fd=source)
    try:
        status = posix.fstat(old)
        if not S_ISREG(status.st_mode):
            raise OSError(ENOTDIR, f"{name!r} was exchanged meanwhile")
        new = posix.open(name, _NEW, 0o600, dir_fd=target)
        try:
            while piece := posix.read(old, 65536):
                files.write_all(new, piece)
            files.give(new, owner)
            posix.fchmod(new, S_IMODE(status.st_mode) & 0o777)
            posix.fsync(new)
        finally:
            posix.close(new)
    finally:
        posix.close(old)


def _mounted(name: str) -> OSError:
    return OSError(EXDEV, f"{name!r} is another file system: unmount it first")
