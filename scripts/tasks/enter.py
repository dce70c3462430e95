"""Enters the pinned tools: `python -m scripts.tasks.enter MODULE ARGUMENT...` makes a virtual environment once and runs the module in it.

Standard library only, because it runs before anything is installed. The environment is named after a hash of the pins, so a change of pins makes a new one.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from build import toolchain


def main() -> None:
    """Make the environment if needed and become `python -m MODULE` in it."""
    module, *arguments = sys.argv[1:]
    try:
        python = environment()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"error: the tools of build/toolchain.toml could not be installed: {error}", file=sys.stderr)
        sys.exit(1)
    os.execv(python, [str(python), "-m", module, *arguments])


def environment() -> pathlib.Path:
    """The Python of the environment with the pinned tools; installs them first if they are not there."""
    cache = toolchain.cache_folder()
    requirements = toolchain.requirements(toolchain.pins()["tools"])
    name = hashlib.sha256(f"{requirements}{sys.executable}{sys.version}".encode()).hexdigest()[:16]
    place = cache / f"tools-{name}"
    python = place / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            print(f"installing the tools that build/toolchain.toml pins (once, about a minute) into {place}", file=sys.stderr, flush=True)
            shutil.rmtree(place, ignore_errors=True)
            _make_environment(place)
            (place / "requirements.txt").write_text(requirements)
            install = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"]
            subprocess.run([python, "-m", "pip", *install, "-r", place / "requirements.txt"], check=True)
            (place / ".done").touch()
    return python


def _make_environment(place: pathlib.Path) -> None:
    """python -m venv; where the distribution keeps that in a package of its own, install it."""
    command = [sys.executable, "-m", "venv", str(place)]
    if subprocess.run(command, capture_output=True).returncode == 0:
        return
    packages = {
        "apt-get": "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv",
        "apk": "apk add py3-pip",
        "dnf": "dnf install -y python3-pip",
    }
    manager = next((name for name in packages if shutil.which(name)), None)
    if manager:
        become = "" if os.geteuid() == 0 else "sudo -n "
        subprocess.run([*become.split(), "sh", "-c", packages[manager]], check=True, stdout=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run(command, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
