"""The pins of toolchain.toml, and the folder of the cache. Standard library only: this runs before anything is installed."""

import hashlib
import os
import pathlib
import platform
import tomllib
from typing import Any

FILE = pathlib.Path(__file__).with_name("toolchain.toml")
TOP = FILE.parent.parent
DEFAULT_FREEZER = "pyinstaller"


def machines() -> dict[str, dict[str, Any]]:
    """The machines that files can be built for, by the name that uname has for them."""
    return dict(pins()["machines"])


def chosen(arch: str) -> list[str]:
    """The machines that --arch names: one of them, or Azure's for "all"."""
    return [name for name, facts in machines().items() if name == arch or (arch == "all" and facts.get("azure"))]


def native() -> str:
    """The machine this runs on; x86_64 if no file can be built for it."""
    return platform.machine() if platform.machine() in machines() else "x86_64"


def output(machine: str = "", freezer: str = DEFAULT_FREEZER) -> pathlib.Path:
    """Where the file for a machine (this one, if none is named) is put."""
    return TOP / "dist" / f"azready-linux-{machine or native()}{'' if freezer == DEFAULT_FREEZER else f'-{freezer}'}"


def pins() -> dict[str, Any]:
    """The content of toolchain.toml."""
    return tomllib.loads(FILE.read_text())


def requirements(group: dict[str, list[str]]) -> str:
    """A table of toolchain.toml as a requirements file that pip checks by hash."""
    lines = [" ".join([f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in digests)]) for name, (version, *digests) in group.items()]
    return "\n".join(lines) + "\n"


def sha256(path: pathlib.Path) -> str:
    """The digest of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> pathlib.Path:
    """Where slow things are kept: $AZREADY_CACHE, else azready/ in the user's cache folder (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("AZREADY_CACHE") or pathlib.Path(base, "azready")).absolute()
