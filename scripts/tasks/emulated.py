"""Runs a command in which programs for other machines run, too: `emulated.py COMMAND WORD...`.

The kernel's table of interpreters (binfmt_misc) belongs to a user namespace since Linux 6.7. So the
command gets a namespace of its own, with the same users, and a table with qemu's emulators: the
machine's own table is not touched. Takes root.
"""

import ctypes
import os
import pathlib
import sys

from build.unshare import CLONE_NEWNS

_CLONE_NEWUSER = 0x10000000
_MS_PRIVATE, _MS_REC = 1 << 18, 1 << 14
_TABLE = pathlib.Path("/proc/sys/fs/binfmt_misc")
_FORMATS = pathlib.Path("/usr/lib/binfmt.d")
_USERS = 65536


def main() -> int:
    """Run the command; return its exit status."""
    libc = ctypes.CDLL(None, use_errno=True)
    separated, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _call(libc.unshare, _CLONE_NEWUSER | CLONE_NEWNS)
        os.write(separated[1], b"x")
        os.read(mapped[0], 1)
        os.setgid(0)
        os.setuid(0)
        _call(libc.mount, b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        _call(libc.mount, b"binfmt_misc", str(_TABLE).encode(), b"binfmt_misc", 0, None)
        for machine in ("aarch64",):
            lines = (_FORMATS / f"qemu-{machine}.conf").read_bytes().split(b"\n")
            (_TABLE / "register").write_bytes(next(line for line in lines if line[:1] == b":"))
        os.execvp(sys.argv[1], sys.argv[1:])
    os.read(separated[0], 1)
    for name in ("uid_map", "gid_map"):
        pathlib.Path(f"/proc/{child}", name).write_text(f"0 0 {_USERS}")
    os.write(mapped[1], b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _call(function: "ctypes._NamedFuncPointer", *arguments: object) -> None:
    if function(*arguments) != 0:
        error = ctypes.get_errno()
        sys.exit(f"error: {function.__name__}: {os.strerror(error)}")


if __name__ == "__main__":
    sys.exit(main())
