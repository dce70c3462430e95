"""How a file for another machine is run on this one: by the user emulation of qemu."""

import functools
import platform
import shutil

from build import packages, toolchain
from build.cache import BuildError


@functools.cache
def emulator(machine: str) -> str:
    """The path of the static program that runs files for `machine`, "" for the machine this is; installed if it is missing. Raises BuildError."""
    if machine == platform.machine():
        return ""
    name = str(toolchain.machines()[machine]["qemu"])
    if not shutil.which(name):
        packages.install({"apt-get": "qemu-user-static", "dnf": "qemu-user-static", "apk": name.removesuffix("-static")})
    found = shutil.which(name)
    if not found:
        raise BuildError(f"{name} is needed to run files for {machine} here and is not installed: install qemu-user-static")
    return found


def command(machine: str, file: object) -> list[str]:
    """The words that run `file` here."""
    return [*filter(None, [emulator(machine)]), str(file)]
