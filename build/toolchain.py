"""The pins of toolchain.toml, and the folder of the cache. Standard library only: this runs before anything is installed."""

import hashlib
import os
import pathlib
import tomllib
from typing import Any

FILE = pathlib.Path(__file__).with_name("toolchain.toml")
ZIG_TARGETS = {"x86_64": "x86_64-linux-musl"}


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
