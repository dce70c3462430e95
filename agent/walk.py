"""Walks from the top of a tree to a file by directory descriptors.

Strategy: each part of a path is opened relative to the folder before it, and never through a link.
Links are read and followed here, by one rule: an absolute link starts at the top of the tree again,
and `..` never leaves it. What is done to a file is then done relative to the descriptor that was
reached, so a user who swaps a folder for a link in between gains nothing (openat(2),
path_resolution(7)).
"""

import posix
from errno import EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, EXDEV
from stat import S_ISDIR, S_ISLNK, S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result

MAX_LINKS = 40  # as many as the kernel follows

# O_PATH needs no read permission, and opening an entry this way has no side effect.
_FOLDER = posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_LIST = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
# Never a link, and without waiting.
_SAFE = posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NOCTTY | posix.O_NONBLOCK


class Walk:
    """One walk, used as a context manager that closes what it opened.

    `fd` is the folder reached so far. `top` is the descriptor of the tree's top folder. `home`, if
    given, is the path of that top as links in the tree spell it: links and `..` that lead out of it
    are then errors (EXDEV). `make` is the mode of missing folders, which are made; 0 makes none.
    """

    def __init__(self, top: int, home: str = "", make: int = 0) -> None:
        self.fd = top
        self.status: "stat_result | None" = None  # of the entry that `entry` found
        self._home = home
        self._make = make
        self._top = top
        self._opened: list[tuple[int, str]] = []  # folder after folder on the way to `fd`
        self._links = 0

    def __enter__(self) -> "Walk":
        return self

    def __exit__(self, *_: object) -> None:
        while self._opened:
            posix.close(self._opened.pop()[0])

    @property
    def path(self) -> str:
        """The folder reached, as a path inside the tree without a link in it; "" for its top."""
        return "".join(f"/{name}" for _, name in self._opened)

    def go(self, path: str) -> None:
        """Enter folder after folder. Raises OSError."""
        for part in path.split("/"):
            if not part or part == ".":
                continue
            if part == "..":
                self._up()
                continue
            try:
                fd = posix.open(part, _FOLDER, dir_fd=self.fd)
            except FileNotFoundError:
                if not self._make:
                    raise
                fd = self._made(part)
            except OSError as error:
                if error.errno not in (ENOTDIR, ELOOP):
                    raise
                self.go(self._target(part))  # no deeper than MAX_LINKS
                continue
            self._opened.append((fd, part))
            self.fd = fd

    def entry(self, path: str, *, follow: bool = True) -> str:
        """Enter the folder of the last part of `path`, and return that part, which is not a link.

        With `follow` False it may be a link. `status` is its lstat(2), None if it does not exist.
        The name is "." where a link leads to a folder without naming its last part. Raises OSError,
        with EINVAL where `path` itself does not end in a name.
        """
        folder, _, name = path.rpartition("/")
        if name in {"", ".", ".."}:
            raise OSError(EINVAL, "the path does not end in a name")
        while True:
            self.go(folder)
            try:
                self.status = posix.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                self.status = None
                return name
            if not follow or not S_ISLNK(self.status.st_mode):
                return name
            folder, _, name = self._target(name).rstrip("/").rpartition("/")
            if name in {"", ".", ".."}:
                self.go(f"{folder}/{name}")
                self.status = posix.stat(".", dir_fd=self.fd)
                return "."

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open an entry of the folder: never a link, and without waiting. Raises OSError."""
        return posix.open(name, flags | _SAFE, mode, dir_fd=self.fd)

    def open_regular(self, name: str, flags: int = posix.O_RDONLY) -> int:
        """Open a regular file of the folder. Raises OSError; ELOOP, EINVAL, EISDIR for others."""
        if self.status is None:
            raise FileNotFoundError(ENOENT, posix.strerror(ENOENT))
        refuse_special(self.status)
        fd = self.open(name, flags)
        try:
            refuse_special(posix.fstat(fd))  # it may have been exchanged since
        except OSError:
            posix.close(fd)
            raise
        return fd

    def open_folder(self) -> int:
        """Open the folder itself for listing and syncing. Raises OSError."""
        return posix.open(".", _LIST, dir_fd=self.fd)

    def _made(self, name: str) -> int:
        try:
            posix.mkdir(name, self._make, dir_fd=self.fd)
        except FileExistsError:
            pass
        return posix.open(name, _FOLDER, dir_fd=self.fd)

    def _target(self, name: str) -> str:
        """Read a link, and go to where it starts. Raises OSError."""
        try:
            target = posix.readlink(name, dir_fd=self.fd)
        except OSError as error:
            if error.errno == EINVAL:  # not a link
                raise NotADirectoryError(ENOTDIR, posix.strerror(ENOTDIR)) from None
            raise
        self._links += 1
        if self._links > MAX_LINKS:
            raise OSError(ELOOP, posix.strerror(ELOOP))
        if target.startswith("/"):
            if self._home:
                if not f"{target}/".startswith(f"{self._home}/"):
                    raise _leaves(target, self._home)
                target = target[len(self._home) :]
            self._restart()
        return target

    def _up(self) -> None:
        if self._opened:
            posix.close(self._opened.pop()[0])
            self.fd = self._opened[-1][0] if self._opened else self._top
        elif self._home:
            raise _leaves("..", self._home)

    def _restart(self) -> None:
        self.__exit__()
        self.fd = self._top


def refuse_special(status: "stat_result") -> None:
    """Reject what is not a regular file. Raises OSError."""
    if not S_ISREG(status.st_mode):
        if S_ISDIR(status.st_mode):
            raise IsADirectoryError(EISDIR, posix.strerror(EISDIR))
        raise OSError(EINVAL, "it is not a regular file")


def _leaves(target: str, home: str) -> OSError:
    return OSError(EXDEV, f"a link to {target!r} leads out of {home}")
