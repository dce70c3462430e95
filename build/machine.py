"""Runs files for other machines on this one, with qemu's user emulation."""

import functools
import platform
import shutil

from build import packages, toolchain
from build.cache import BuildError


@functools.cache
def emulator(machine: str) -> str:
    """Return the path of the static emulator for `machine`, "" for this machine.

    Installs it if it is missing. Raises BuildError.
    """
    if machine == platform.machine():
        return ""
    name = str(toolchain.machines()[machine]["qemu"])
    if not shutil.which(name):
        packages.install(
            {
                "apt-get": "qemu-user-static",
                "dnf": "qemu-user-static",
                "apk": name.removesuffix("-static"),
            }
        )
    found = shutil.which(name)
    if not found:
        raise BuildError(f"cannot run files for {machine}: install {name} (qemu-user-static)")
    return found


def command(machine: str, file: object) -> list[str]:
    """Return the words that run `file` here."""
    return [*filter(None, [emulator(machine)]), str(file)]
