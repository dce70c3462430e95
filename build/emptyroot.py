"""Runs the static file in a root that holds nothing but the file, read-only: no /proc, no /tmp, no /dev, no library.

Works as root and as an ordinary user whose kernel allows user namespaces. Used by the verification, the tests and the quickstart.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from scripts.simulator.namespace import CLONE_NEWNS, CLONE_NEWUTS, unshare

_libc = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18


@contextlib.contextmanager
def holding(file: pathlib.Path, emulator: str = "") -> Iterator[pathlib.Path]:
    """A new folder that holds only a copy of `file`, named azready, to be a root; and the emulator as qemu, for a file of another machine."""
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        root.chmod(0o755)
        for source, name in ((str(file), "azready"), (emulator, "qemu")):
            if source:
                shutil.copy(source, root / name)
                (root / name).chmod(0o755)
        yield root


def command(root: pathlib.Path) -> list[str]:
    """The words that run the file in such a root, for a process that has entered it."""
    return ["/qemu", "/azready"] if (root / "qemu").exists() else ["/azready"]


def contents(root: pathlib.Path) -> list[str]:
    """The names in such a root, without those of the file and of the emulator."""
    return sorted(path.name for path in root.iterdir() if path.name not in ("azready", "qemu"))


def run(
    root: pathlib.Path, arguments: Sequence[str], *, writable: bool = False, env: Mapping[str, str] | None = None, timeout: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run the file of `root` with `arguments`, as root of that root, in a host-name space of its own (setting a name there changes nothing here).

    Raises OSError if this kernel does not let us make such a root.
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
    """What a child does between fork and exec to find itself in `root`, as this user and no member of any other group."""

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
    """Whether this kernel and this user can make such a root."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            # The program does not exist in an empty root: that it is looked for there at all is the proof.
            subprocess.run(["/none"], preexec_fn=entering(pathlib.Path(scratch)))
        except FileNotFoundError:
            return True
        except (OSError, subprocess.SubprocessError):
            return False
    return True


def _mount(source: str | None, target: str, flags: int) -> None:
    _check(_libc.mount(source and source.encode(), target.encode(), None, ctypes.c_ulong(flags), None), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
