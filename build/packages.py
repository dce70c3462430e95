"""Installs system packages where that is possible without asking anyone."""

import os
import shutil
import subprocess
from collections.abc import Mapping

from build import toolchain
from build.cache import BuildError, console, run

_INSTALL = {
    "apt-get": "install -y --no-install-recommends",
    "dnf": "install -y",
    "apk": "add",
    "zypper": "--non-interactive install",
    "pacman": "-S --noconfirm --needed",
}


def install(wanted: str | Mapping[str, str]) -> None:
    """Install packages, as root or with a sudo that needs no password.

    `wanted` lists their names; a mapping has them by package manager. Raises BuildError with the
    command to type if that is not possible.
    """
    by_manager = dict.fromkeys(_INSTALL, wanted) if isinstance(wanted, str) else wanted
    manager = next((name for name in _INSTALL if shutil.which(name)), None)
    names = by_manager.get(manager or "")
    if manager is None or names is None:
        raise BuildError(
            "system packages are missing, and no supported package manager was found: "
            f"install what Debian calls {by_manager['apt-get']}"
        )
    command = [manager, *_INSTALL[manager].split(), *names.split()]
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if become and (
        not shutil.which("sudo")
        or subprocess.run([*become, "true"], capture_output=True).returncode
    ):
        raise BuildError(f"system packages are missing; as root, run: {' '.join(command)}")
    console.print(f"  installing {names}")
    toolchain.cache_folder().mkdir(parents=True, exist_ok=True)
    log = toolchain.cache_folder() / "packages.log"
    if manager == "apt-get":
        run([*become, "apt-get", "update"], log=log)
    run([*become, *command], log=log)


def want(program: str) -> None:
    """Install the package named `program` if that program is missing.

    Raises BuildError if that is not possible.
    """
    if not shutil.which(program):
        install(program)
