"""Reporters that `scripts/bench --against` knows by name, from scripts/tasks/reporters."""

import os
import pathlib
import shutil

from build import packages
from build.cache import key, made, run

_FOLDER = pathlib.Path(__file__).with_name("reporters")
NAMES = ("bash", "go", "python")
_COMPILER = {
    "apt-get": "golang-go",
    "dnf": "golang",
    "apk": "go",
    "zypper": "go",
    "pacman": "go",
}


def command(name: str) -> list[str]:
    """Return the words that run the reporter of NAMES. Raises BuildError if it cannot be built."""
    if name == "go":
        return [str(_go())]
    return {
        "bash": ["bash", str(_FOLDER / "report.sh")],
        "python": ["/usr/bin/python3", str(_FOLDER / "report.py")],
    }[name]


def _go() -> pathlib.Path:
    """Compile report.go, statically, with this machine's Go; return the program."""
    source = _FOLDER / "report.go"
    if not shutil.which("go"):
        packages.install(_COMPILER)

    def make(place: pathlib.Path) -> None:
        words = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(place / "report")]
        fixed = {"CGO_ENABLED": "0", "GOCACHE": str(place / "cache"), "GOFLAGS": ""}
        run([*words, str(source)], log=place / "log", env={**os.environ, **fixed})
        shutil.rmtree(place / "cache")

    return made("reporter-go", key(source), make) / "report"
