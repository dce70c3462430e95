"""`scripts/reproduce`: builds the last commit twice from scratch and compares the bytes.

The two clones differ in folder, time, umask, locale, time zone and, for root, in user. Each has an
empty cache. SHA256SUMS is compared: the files and their bills of materials.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from build import toolchain
from build.__main__ import FREEZERS
from build.cache import console

_NOBODY = 65534
_SURROUNDINGS = (
    ("first", 0o022, {"LC_ALL": "C.UTF-8", "TZ": "UTC"}),
    (
        "the-second-one",
        0o077,
        {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati"},
    ),
)


def main() -> int:
    """Build twice and compare; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/reproduce",
        description="Build the last commit twice from scratch and compare. "
        "Takes half an hour on 2 cores.",
    )
    parser.add_argument(
        "--arch",
        choices=[*toolchain.machines(), "all"],
        default="all",
        help="as of scripts/build (default: %(default)s)",
    )
    parser.add_argument(
        "--freezer",
        choices=[*FREEZERS, "all"],
        default="all",
        help="as of scripts/build (default: %(default)s)",
    )
    options = parser.parse_args()
    command = [
        "./scripts/build",
        "--arch",
        options.arch,
        "--freezer",
        options.freezer,
        "--no-figures",
    ]
    sums = []
    with tempfile.TemporaryDirectory() as scratch:
        pathlib.Path(scratch).chmod(0o755)
        for at, (name, umask, environment) in enumerate(_SURROUNDINGS):
            place = pathlib.Path(scratch, name)
            user = _NOBODY if at and os.geteuid() == 0 and _can_build(_NOBODY) else None
            _clone(place, user)
            words = ", ".join(
                [
                    f"umask {umask:03o}",
                    *(f"{key}={value}" for key, value in environment.items()),
                    f"user {user or os.geteuid()}",
                ]
            )
            console.rule(f"{name}: {words}", align="left")
            started = time.monotonic()
            own = {
                **os.environ,
                **environment,
                "HOME": str(place / "home"),
                "AZREADY_CACHE": str(place / "cache"),
            }
            code = subprocess.run(
                command,
                cwd=place / "azready",
                env=own,
                umask=umask,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            ).returncode
            if code:
                console.print(f"[red]error:[/red] the build exited with status {code}")
                return 1
            console.print(f"built in {time.monotonic() - started:.0f} s")
            sums.append((place / "azready" / "dist" / "SHA256SUMS").read_text().splitlines())
    console.rule("comparison", align="left")
    for one, other in zip(*sums, strict=True):
        console.print(
            f"{one[:64]}  {'same bytes ' if one == other else '[red]DIFFERENT[/red]  '} {one[66:]}"
        )
    return 0 if sums[0] == sums[1] else 1


def _clone(place: pathlib.Path, user: int | None) -> None:
    (place / "home").mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", toolchain.TOP, place / "azready"], check=True)
    if user is not None:
        for path in (place, *place.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)


def _can_build(user: int) -> bool:
    """Tell whether that user can run a suitable Python; one in root's home is out of reach."""
    check = ["sh", "-c", 'python3 -c "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"']
    if (
        subprocess.run(
            check, user=user, group=user, extra_groups=[], capture_output=True, cwd="/"
        ).returncode
        == 0
    ):
        return True
    console.print(
        f"[yellow]warning:[/yellow] user {user} cannot run a Python with ensurepip: "
        "the same user builds both"
    )
    return False


if __name__ == "__main__":
    sys.exit(main())
