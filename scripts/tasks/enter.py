"""Runs a module with the pinned tools: `python -m scripts.tasks.enter MODULE ARGUMENT...`.

Creates a virtual environment once. Standard library only, because nothing is installed yet. The
environment is named after a hash of the pins, so that new pins get a new one.
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
    """Create the environment if it is missing, and become `python -m MODULE` in it."""
    module, *arguments = sys.argv[1:]
    try:
        python = environment()
    except (OSError, subprocess.SubprocessError) as error:
        print(
            f"error: cannot install the tools of build/toolchain.toml: {error}",
            file=sys.stderr,
        )
        sys.exit(1)
    os.execv(python, [str(python), "-m", module, *arguments])


def environment() -> pathlib.Path:
    """Return the Python of the environment; install the pinned tools first if they are missing."""
    cache = toolchain.cache_folder()
    requirements = toolchain.requirements(toolchain.pins()["tools"])
    name = hashlib.sha256(f"{requirements}{sys.executable}{sys.version}".encode()).hexdigest()[:16]
    place = cache / f"tools-{name}"
    python = place / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            print(
                "installing the tools that build/toolchain.toml pins "
                f"into {place} (once, about a minute)",
                file=sys.stderr,
                flush=True,
            )
            shutil.rmtree(place, ignore_errors=True)
            _make_environment(place)
            (place / "requirements.txt").write_text(requirements)
            install = [
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
                "--only-binary=:all:",
            ]
            subprocess.run(
                [python, "-m", "pip", *install, "-r", place / "requirements.txt"], check=True
            )
            (place / ".done").touch()
    return python


def _make_environment(place: pathlib.Path) -> None:
    """Run python -m venv; install it first where the distribution packages it separately."""
    command = [sys.executable, "-m", "venv", str(place)]
    if subprocess.run(command, capture_output=True).returncode == 0:
        return
    packages = {
        "apt-get": "apt-get update -qq"
        " && apt-get install -y -qq --no-install-recommends python3-venv",
        "apk": "apk add py3-pip",
        "dnf": "dnf install -y python3-pip",
    }
    manager = next((name for name in packages if shutil.which(name)), None)
    if manager:
        become = "" if os.geteuid() == 0 else "sudo -n "
        subprocess.run(
            [*become.split(), "sh", "-c", packages[manager]], check=True, stdout=sys.stderr
        )
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run(command, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
