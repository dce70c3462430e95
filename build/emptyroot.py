"""Runs the static file, read-only, in a root that contains nothing else.

There is no /proc, /tmp, /dev or library in it. Works as root, and as an ordinary user whose kernel
allows user namespaces. The verification, the tests and the quickstart use it.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from build.unshare import CLONE_NEWNS, CLONE_NEWUTS, unshare

_libc = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18


@contextlib.contextmanager
def holding(file: pathlib.Path, emulator: str = "") -> Iterator[pathlib.Path]:
    """Make a temporary folder to be a root, with only a copy of `file` in it, named azready.

    For a file of another machine, its `emulator` is copied there, too, named qemu.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        root.chmod(0o755)
        for source, name in ((str(file), "azready"), (emulator, "qemu")):
            if source:
                shutil.copy(source, root / name)
                (root / name).chmod(0o755)
        yield root


def command(root: pathlib.Path) -> list[str]:
    """Return the words that run the file, for a process that has entered such a root."""
    return ["/qemu", "/azready"] if (root / "qemu").exists() else ["/azready"]


def contents(root: pathlib.Path) -> list[str]:
    """Return the names in such a root, except those of the file and of the emulator."""
    return sorted(path.name for path in root.iterdir() if path.name not in ("azready", "qemu"))


def run(
    root: pathlib.Path,
    arguments: Sequence[str],
    *,
    writable: bool = False,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Run the file of `root` with `arguments`, as root inside it, for at most `timeout` seconds.

    The process has a UTS namespace to itself, so that it can set a host name without renaming this
    machine. Raises OSError if the kernel does not allow such a root.
    """
    return subprocess.run(
        [*command(root), *arguments],
        env=dict(env or {}),
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        preexec_fn=entering(root, writable=writable),
    )


def entering(root: pathlib.Path, *, writable: bool = False, user: int = 0) -> Callable[[], None]:
    """Return what a child must call between fork and exec to enter `root`.

    The child becomes `user` and a member of no other group.
    """

    def enter() -> None:
        unshare(CLONE_NEWNS | CLONE_NEWUTS)
        _mount(None, "/", _MS_REC | _MS_PRIVATE)
        _mount(str(root), str(root), _MS_BIND)
        if not writable:
            _mount(None, str(root), _MS_BIND | _MS_REMOUNT | _MS_RDONLY)
        os.chroot(root)
        os.chdir("/")
        if user:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)

    return enter


def possible() -> bool:
    """Tell whether this kernel allows this user to make such a root."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            # Looking for a program in the empty root and not finding it proves that it was entered.
            subprocess.run(["/none"], preexec_fn=entering(pathlib.Path(scratch)))
        except FileNotFoundError:
            return True
        except (OSError, subprocess.SubprocessError):
            return False
    return True


def _mount(source: str | None, target: str, flags: int) -> None:
    path = source and source.encode()
    _check(_libc.mount(path, target.encode(), None, ctypes.c_ulong(flags), None), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
