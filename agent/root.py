"""Root: the tree that is worked on, this machine or an image below a folder.

The only way to an image's files. The top folder is opened once, and everything below it is reached
by directory descriptors (agent/walk.py), so no link, no `..` and no exchange of folders leads out.
A replacement is written next to its target, given the target's owner, mode and SELinux label,
synced, and renamed over it: a power cut leaves the old or the new file. That the renames themselves
are on the disk is seen to once, by `settle`, before anyone is told that they are done.

All paths are absolute, as the image sees them. All methods raise GuestError, which names the path.
"""

import posix
from errno import ENOENT
from stat import S_IMODE, S_ISBLK, S_ISDIR, S_ISLNK, S_ISREG

from agent import files, staging, tree
from agent.errors import GuestError, UsageError, reason
from agent.walk import Walk, refuse_special

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import stat_result

_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


class Root:
    """The tree whose top is the folder `path`; `is_live` for this machine itself."""

    def __init__(self, path: str = "/") -> None:
        """Open the tree. Raises UsageError if `path` is not a folder."""
        self.path = "/" + path.strip("/")
        try:
            self._top = posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            own, live = posix.fstat(self._top), posix.stat("/")
        except OSError as error:
            raise UsageError(f"--root {path!r} cannot be used: {reason(error)}") from None
        self.is_live = (own.st_dev, own.st_ino) == (live.st_dev, live.st_ino)
        self._home = ""

    def __str__(self) -> str:
        return self.path

    def __enter__(self) -> "Root":
        return self

    def __exit__(self, *_: object) -> None:
        posix.close(self._top)
        self._top = -1

    def _walk(self, make: int = 0) -> Walk:
        return Walk(self._top, self._home, make)

    def below(self, path: str) -> "Root":
        """Open the folder `path` as a tree that no link leads out of: a user's home, for one.

        Use it as a context manager. Links that stay inside are followed, others are errors, and so
        is a file with a second name.
        """
        try:
            with self._walk() as walk:
                walk.go(path)
                top = posix.open(
                    ".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=walk.fd
                )
        except OSError as error:
            raise self._failed("open the folder", path, error) from None
        return _Home(top, self.shown(path).rstrip("/"), path.rstrip("/") or "/")

    def shown(self, path: str) -> str:
        """A path as a person on this machine would write it."""
        return self.path.rstrip("/") + path

    # Looking

    def read(self, path: str, limit: int = files.MAX_READ) -> "bytes | None":
        """Return the content of a regular file, None if it does not exist.

        More than `limit` bytes are an error.
        """
        content = self._read(path, limit + 1)
        if content is not None and len(content) > limit:
            raise GuestError(f"cannot read {self.shown(path)}: it has more than {limit} bytes")
        return content

    def head(self, path: str, length: int) -> bytes:
        """Return the first bytes of a file, at most `length`, b"" if it does not exist."""
        return self._read(path, length) or b""

    def _read(self, path: str, most: int) -> "bytes | None":
        try:
            with self._walk() as walk:
                fd = walk.open_regular(walk.entry(path))
                try:
                    if self._home:
                        files.refuse_second_name(fd)
                    return files.read(fd, most)
                finally:
                    posix.close(fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", path, error) from None

    def attribute(self, path: str) -> "str | None":
        """Return the text of an attribute in sysfs, stripped; None if it cannot be read."""
        try:
            content = self._read(path, 4096)
        except GuestError:
            return None
        return None if content is None else content.decode("ascii", "replace").strip()

    def names(self, path: str) -> list[str]:
        """Return what is in a folder, sorted; nothing if there is no such folder."""
        try:
            with self._walk() as walk:
                walk.go(path)
                fd = walk.open_folder()
                try:
                    return sorted(posix.listdir(fd))
                finally:
                    posix.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._failed("list", path, error) from None

    def status(self, path: str, *, follow: bool = True) -> "stat_result | None":
        """Return what stat(2) says, None if there is nothing or it cannot be reached."""
        try:
            with self._walk() as walk:
                if not path.strip("/"):
                    return posix.fstat(walk.fd)
                walk.entry(path, follow=follow)
                return walk.status
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Tell whether there is anything at `path`, links followed."""
        return self.status(path) is not None

    def is_link(self, path: str) -> bool:
        """Tell whether the last part of `path` is a symbolic link."""
        status = self.status(path, follow=False)
        return status is not None and S_ISLNK(status.st_mode)

    def is_folder(self, path: str) -> bool:
        """Tell whether there is a folder."""
        status = self.status(path)
        return status is not None and S_ISDIR(status.st_mode)

    def target(self, path: str) -> str:
        """Return where the link `path` points, as it is written; "" if it is not a link."""
        try:
            with self._walk() as walk:
                return posix.readlink(walk.entry(path, follow=False), dir_fd=walk.fd)
        except OSError:
            return ""

    def resolve(self, path: str) -> str:
        """Return `path` with every link followed inside the tree; the last part may be missing."""
        try:
            with self._walk() as walk:
                if not path.strip("/"):
                    return "/"
                name = walk.entry(path)
                return walk.path + ("" if name == "." else f"/{name}") or "/"
        except OSError as error:
            raise self._failed("look up", path, error) from None

    def is_executable(self, path: str) -> bool:
        """Tell whether `path` is a regular file that this process may execute."""
        try:
            with self._walk() as walk:
                name = walk.entry(path)
                status = walk.status
                return (
                    status is not None
                    and S_ISREG(status.st_mode)
                    and posix.access(name, posix.X_OK, dir_fd=walk.fd)
                )
        except OSError:
            return False

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open a regular file for writing, and return its descriptor.

        With O_CREAT, missing folders are made, too. A file with a second name (hard link) is
        refused. Raises OSError, for callers that tell errors apart.
        """
        with self._walk(0o755 if flags & posix.O_CREAT else 0) as walk:
            name = walk.entry(path)
            if walk.status is None:
                return walk.open(name, flags, mode)
            fd = walk.open_regular(name, flags & ~posix.O_CREAT)
            try:
                files.refuse_second_name(fd)
            except OSError:
                posix.close(fd)
                raise
            return fd

    def open_device(self, path: str) -> int:
        """Open a block device, or a regular file in its place, for reading. Raises OSError."""
        with self._walk() as walk:
            name = walk.entry(path)
            status = walk.status
            if status is None:
                raise FileNotFoundError(ENOENT, posix.strerror(ENOENT))
            if not S_ISBLK(status.st_mode):
                return walk.open_regular(name)
            # Without O_NONBLOCK, so that a drive without a medium says so; a block device never
            # waits for a peer.
            flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC
            return posix.open(name, flags, dir_fd=walk.fd)

    # Changing

    def replace(
        self,
        path: str,
        content: bytes,
        mode: int = 0o644,
        owner: "tuple[int, int] | None" = None,
        *,
        like_old: bool = True,
    ) -> None:
        """Make `content` the whole content of a file, atomically; missing folders are made.

        An existing file keeps its owner, mode (without set-id bits) and label, unless it belongs to
        azready alone (`like_old` False). A new one gets `mode`, `owner` (uid, gid) if given, and
        the kernel's choice of a label. An error leaves the old file as it was.
        """
        try:
            with self._walk(0o755) as walk:
                name = walk.entry(path)
                if walk.status is not None:
                    # A link to /dev/null must not end in a file there.
                    refuse_special(walk.status)

                def make(temporary: str) -> int:
                    return walk.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL)

                def fill(fd: int) -> None:
                    files.fill(walk, name, fd, content, mode, owner, like_old=like_old)

                staging.build(walk.fd, name, make, fill)
        except OSError as error:
            raise self._failed("replace", path, error) from None

    def discard(self, path: str) -> bool:
        """Remove a file or link; False if there was none."""
        try:
            with self._walk() as walk:
                posix.unlink(walk.entry(path, follow=False), dir_fd=walk.fd)
                files.sync(walk)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed("remove", path, error) from None
        return True

    def discard_tree(self, path: str) -> bool:
        """Remove a file, a link, or a folder with its content; False if there was nothing."""
        try:
            with self._walk() as walk:
                name = walk.entry(path, follow=False)
                return tree.remove(walk.fd, name)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed("remove", path, error) from None

    def empty(self, path: str) -> None:
        """Empty a log in place, so that a program that has it open goes on writing into it.

        A file with a second name (hard link) is refused: the other name may be another's file.
        """
        try:
            with self._walk() as walk:
                fd = walk.open_regular(walk.entry(path, follow=False), posix.O_WRONLY)
                try:
                    files.refuse_second_name(fd)
                    posix.ftruncate(fd, 0)
                finally:
                    posix.close(fd)
        except OSError as error:
            raise self._failed("empty", path, error) from None

    def link(self, path: str, target: str) -> bool:
        """Make a symbolic link to `target`, and missing folders; False if there is one already."""
        if self.is_link(path):
            return False
        try:
            with self._walk(0o755) as walk:
                posix.symlink(target, walk.entry(path, follow=False), dir_fd=walk.fd)
                files.sync(walk)
        except OSError as error:
            raise self._failed("make the link", path, error) from None
        return True

    def make_folders(self, path: str, mode: int = 0o755) -> None:
        """Make a folder and its parents where they are missing."""
        try:
            with self._walk(mode) as walk:
                walk.go(path)
        except OSError as error:
            raise self._failed("make the folder", path, error) from None

    def rename(self, path: str, new: str) -> None:
        """Give a regular file another name in its folder, and sync both; the name may exist."""
        try:
            with self._walk() as walk:
                name = walk.entry(path, follow=False)
                fd = walk.open_regular(name)
                try:
                    posix.fsync(fd)
                finally:
                    posix.close(fd)
                last = new.rpartition("/")[2]
                posix.rename(name, last, src_dir_fd=walk.fd, dst_dir_fd=walk.fd)
                files.sync(walk)
        except OSError as error:
            raise self._failed("rename", path, error) from None

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder; none is not an error."""
        try:
            with self._walk() as walk:
                posix.rmdir(walk.entry(path, follow=False), dir_fd=walk.fd)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed("remove", path, error) from None

    def restrict(self, path: str, most: int, owner: "tuple[int, int]") -> None:
        """Give a file or folder to `owner` (uid, gid), and take away permissions beyond `most`."""
        try:
            with self._walk() as walk:
                name = walk.entry(path)
                fd = walk.open(name, posix.O_RDONLY)
                try:
                    files.refuse_second_name(fd)
                    files.give(fd, owner)
                    mode = S_IMODE(posix.fstat(fd).st_mode)
                    if mode & ~most:
                        posix.fchmod(fd, mode & most)
                finally:
                    posix.close(fd)
        except OSError as error:
            raise self._failed("change owner and mode of", path, error) from None

    def add_permissions(self, path: str, least: int) -> None:
        """Add the permissions `least` to a regular file where they are missing."""
        try:
            with self._walk() as walk:
                fd = walk.open_regular(walk.entry(path))
                try:
                    mode = S_IMODE(posix.fstat(fd).st_mode)
                    if mode & least != least:
                        posix.fchmod(fd, mode | least)
                finally:
                    posix.close(fd)
        except OSError as error:
            raise self._failed("change the mode of", path, error) from None

    def plant(self, path: str, source: str, mode: int, owner: "tuple[int, int]") -> bool:
        """Make the folder `path` a copy of the folder `source`, whole or not at all.

        It is made next to its place and renamed there; a missing source gives an empty folder.
        Returns False, with nothing changed, if there is anything at `path`.
        """
        try:
            with self._walk(0o755) as walk:
                name = walk.entry(path)
                if walk.status is not None:
                    return False

                def make(temporary: str) -> int:
                    posix.mkdir(temporary, 0o700, dir_fd=walk.fd)
                    return posix.open(temporary, _FOLDER, dir_fd=walk.fd)

                def fill(fd: int) -> None:
                    self._copy_into(source, fd, owner)
                    posix.fchown(fd, *owner)
                    posix.fchmod(fd, mode)

                staging.build(walk.fd, name, make, fill)
                files.sync(walk)
        except OSError as error:
            raise self._failed("make the folder", path, error) from None
        return True

    def _copy_into(self, source: str, target: int, owner: "tuple[int, int]") -> None:
        with self._walk() as walk:
            try:
                walk.go(source)
            except (FileNotFoundError, NotADirectoryError):
                return
            fd = walk.open_folder()
            try:
                tree.copy(fd, target, owner)
            finally:
                posix.close(fd)

    def settle(self, paths: "Iterable[str]") -> None:
        """Make what was replaced in these folders survive a power cut; missing ones are skipped."""
        for path in paths:
            try:
                with self._walk() as walk:
                    walk.go(path)
                    files.sync(walk)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._failed("sync", path, error) from None

    def _failed(self, what: str, path: str, error: OSError) -> GuestError:
        return GuestError(f"cannot {what} {self.shown(path)}: {reason(error)}")


class _Home(Root):
    """What `Root.below` opened: the folder `home`, whose owner may work against this process."""

    def __init__(self, top: int, path: str, home: str) -> None:
        self.path = path
        self.is_live = False
        self._top = top
        self._home = home
