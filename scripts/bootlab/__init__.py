"""The boot lab: real kernels and real init systems, in QEMU, on a simulated Azure.

`cloud.Cloud` is a network of its own with the platform in it, `machine.Machine` one VM on it,
`guests.GUESTS` the systems that can be booted, `checks` what their boots prove. `scripts/boot` is
the command for people. Takes root, and Debian, whose packages the guests are made of.
"""

import pathlib
import subprocess
from collections.abc import Sequence


class LabError(Exception):
    """Something in the lab does not work; `str(error)` says what, and what was seen."""


def run(command: Sequence[str]) -> str:
    """Run a command; return its output. Raises LabError with what it said if it fails."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        said = (result.stdout + result.stderr).strip()
        raise LabError(f"{' '.join(command)} exited with status {result.returncode}: {said}")
    return result.stdout


def inside(root: pathlib.Path, command: str) -> str:
    """Run a command of an image's own shell in it, with /proc; return its output. Raises LabError.

    The mount is gone with it.
    """
    script = f"mount -t proc proc /proc && {command}"
    return run(["unshare", "--mount", "chroot", str(root), "/bin/sh", "-ec", script])
