"""Gives a process namespaces of its own: unshare(2), as root and as an ordinary user.

Standard library only. Python has os.unshare() since 3.12; this runs with 3.11, too.
"""

import ctypes
import os
import pathlib

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000
_CLONE_NEWUSER = 0x10000000


def unshare(flags: int) -> None:
    """Call unshare(2) for this process; without root, also enter a new user namespace.

    Raises OSError.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags |= _CLONE_NEWUSER if uid else 0
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if uid:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
