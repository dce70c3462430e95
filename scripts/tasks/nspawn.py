"""Boots a root with its own init system as PID 1 of a container, and waits until it powers off.

Arguments: the root, and further options of systemd-nspawn. Start it through `scripts/simulate
--netns`, or in a namespace without any address, because the container shares its caller's network.
It runs in new cgroups: a systemd that believes that it owns the root of the
hierarchy would move the host's processes. With `--tool`, the arguments are a command that runs
systemd-nspawn itself, with the network of its caller.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

from agent.machine import network
from build import packages
from build.cache import BuildError
from build.unshare import CLONE_NEWNS, unshare
from scripts.simulator import platform

LIMIT = 90  # seconds
_HIERARCHIES = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")
_OPTIONS = (
    "--quiet",
    "--register=no",
    "--keep-unit",
    "--private-users=no",
    "--kill-signal=SIGKILL",
    "--console=read-only",
    "--boot",
)


def need() -> None:
    """Install systemd-nspawn if it is missing.

    Raises BuildError if that is not possible, or if this machine's cgroups cannot be used.
    """
    if not shutil.which("systemd-nspawn"):
        packages.install({"apt-get": "systemd-container", "dnf": "systemd-container"})
    if os.geteuid() != 0 or not _writable():
        raise BuildError("booting an init system needs root and writable cgroups")


def main() -> int:
    """Boot, or run a tool; return the exit status."""
    if sys.argv[1] == "--tool":
        with _apart():
            return subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL).returncode
    _, addresses, routes = network.survey()
    known = {network.text(address.packed) for address in addresses}
    if (known and platform.WIRESERVER not in known) or any(
        not route.destination for route in routes
    ):
        print(
            "error: this is not the simulator's namespace: "
            "start it through scripts/simulate --netns",
            file=sys.stderr,
        )
        return 2
    words = ["systemd-nspawn", *_OPTIONS, f"--directory={sys.argv[1]}", *sys.argv[2:]]
    with _apart():
        try:
            return subprocess.run(words, timeout=LIMIT, stdin=subprocess.DEVNULL).returncode
        except subprocess.TimeoutExpired:
            print(f"error: the container did not power off within {LIMIT} s", file=sys.stderr)
            return 1


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Move this process to new cgroups, and to mounts where nspawn's own folder is empty."""
    own = [pathlib.Path(base, f"azready-{os.getpid()}") for base in _writable()]
    for group in own:
        group.mkdir()
        (group / "cgroup.procs").write_text("0")
    unshare(CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    pathlib.Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/systemd/nspawn"], check=True)
    try:
        yield
    finally:
        for group in own:
            (group.parent / "cgroup.procs").write_text("0")
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    pathlib.Path(folder).rmdir()


def _writable() -> list[str]:
    return [base for base in _HIERARCHIES if os.access(f"{base}/cgroup.procs", os.W_OK)]


if __name__ == "__main__":
    sys.exit(main())
