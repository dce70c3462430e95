"""Reads the pins of toolchain.toml, and names the cache folder and the output files.

Standard library only: this runs before anything is installed.
"""

import hashlib
import os
import pathlib
import platform
import tomllib
from typing import Any

FILE = pathlib.Path(__file__).with_name("toolchain.toml")
TOP = FILE.parent.parent
DEFAULT_FREEZER = "pyinstaller"
# The default freezer's file without the snapshot: scripts/build --no-snapshot.
PLAIN = "plain"


def machines() -> dict[str, dict[str, Any]]:
    """Return the machines that files can be built for, by their names in uname(2)."""
    return dict(pins()["machines"])


def releasing() -> bool:
    """Tell whether a release is made: AZREADY_RELEASE is set, as the release workflow sets it.

    Then an older CPython and a test that is skipped without need are errors.
    """
    return bool(os.environ.get("AZREADY_RELEASE"))


def chosen(arch: str) -> list[str]:
    """Return the machines that --arch names: a single one, or for "all" those that Azure offers."""
    return [
        name
        for name, facts in machines().items()
        if name == arch or (arch == "all" and facts.get("azure"))
    ]


def native() -> str:
    """Return this machine, or x86_64 if no file can be built for it."""
    return platform.machine() if platform.machine() in machines() else "x86_64"


def tool(freezer: str) -> str:
    """Return the name of what a freezer is, as in toolchain.toml."""
    return DEFAULT_FREEZER if freezer == PLAIN else freezer


def has_snapshot(machine: str, freezer: str) -> bool:
    """Tell whether a file has a snapshot: those of the default freezer, for Azure's machines."""
    return freezer == DEFAULT_FREEZER and bool(machines()[machine].get("azure"))


def output(machine: str = "", freezer: str = DEFAULT_FREEZER) -> pathlib.Path:
    """Return the path of the file for a machine (default: this one)."""
    suffix = "" if freezer == DEFAULT_FREEZER else f"-{freezer}"
    return TOP / "dist" / f"azready-linux-{machine or native()}{suffix}"


def bill(file: pathlib.Path) -> pathlib.Path:
    """Return the path of a file's bill of materials."""
    return file.with_name(f"{file.name}.cdx.json")


def vex(file: pathlib.Path) -> pathlib.Path:
    """Return the path of a file's VEX: known vulnerabilities of its parts that it does not have."""
    return file.with_name(f"{file.name}.vex.cdx.json")


def pins() -> dict[str, Any]:
    """Return the content of toolchain.toml."""
    return tomllib.loads(FILE.read_text())


def requirements(group: dict[str, list[str]]) -> str:
    """Return a table of toolchain.toml as a requirements file that pip checks by hash."""
    lines = [
        " ".join([f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in digests)])
        for name, (version, *digests) in group.items()
    ]
    return "\n".join(lines) + "\n"


def sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 digest of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> pathlib.Path:
    """Return the cache folder: $AZREADY_CACHE, or azready/ in the user's cache folder.

    See the XDG Base Directory Specification.
    """
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("AZREADY_CACHE") or pathlib.Path(base, "azready")).absolute()
