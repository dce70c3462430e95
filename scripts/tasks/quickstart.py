"""`scripts/quickstart`: builds the static file and boots it for the first time, in a root that holds nothing else, against the simulated Azure.

Works as root and as an ordinary user with user namespaces. Where neither can make an empty root, it says so and runs the file as it is.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from rich.panel import Panel

from build import __main__ as build
from build import emptyroot
from build.cache import console
from scripts.simulator.scenario import VM

TOP = pathlib.Path(__file__).parents[2]
FILE = TOP / "dist" / "azready-linux-x86_64"
# Runs inside the namespaces; the kernel's host name there is read by a program of this machine, outside the empty root. An ordinary user's PATH lacks chroot.
SCRIPT = 'PATH=$PATH:/usr/sbin:/sbin; chroot "$1" /azready provision --force --verbose 2>"$2" && uname -n >"$3"'


def main() -> int:
    """Build, boot, show; returns the exit code."""
    if code := build.main([]):
        return code
    console.rule("first boot")
    with emptyroot.holding(FILE) as root, tempfile.TemporaryDirectory() as scratch:
        if emptyroot.possible():
            console.print("in a root that holds nothing but the file, in namespaces of its own where Azure's addresses are the simulator's")
            code, said, name = _in_namespace(root, pathlib.Path(scratch))
        else:
            console.print("[yellow]warning:[/yellow] this user and kernel cannot make an empty root: the file runs as it is, on loopback addresses")
            code, said, name = _as_it_is(root)
        console.print("\nwhat azready said:")
        console.print(said.rstrip(), markup=False)
        if code:
            console.print(f"[red]error:[/red] azready ended with {code}")
            return code
        written = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "azready")
        summary = {
            "Ready": "accepted by the simulated Azure (the document is above)",
            "host name": f"{name} (what the platform asked for: {VM().computer_name})",
            "time": said.rstrip().rpartition("after ")[2],
            "size of the file": f"{FILE.stat().st_size / 1e6:.2f} MB, static, {FILE.relative_to(TOP)}",
            "written in the root": ", ".join(written),
        }
        console.print(Panel("\n".join(f"{key:<20} {value}" for key, value in summary.items()), title="done", expand=False), soft_wrap=False)
    return 0


def _simulate(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "scripts.simulator", "--strict", *arguments], cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)}).returncode


def _in_namespace(root: pathlib.Path, scratch: pathlib.Path) -> tuple[int, str, str]:
    said, name = scratch / "said", scratch / "name"
    code = _simulate(["--netns", "--", "/bin/sh", "-c", SCRIPT, "sh", str(root), str(said), str(name)])
    return code, said.read_text() if said.exists() else "", name.read_text().strip() if name.exists() else ""


def _as_it_is(root: pathlib.Path) -> tuple[int, str, str]:
    said = root / "said"
    script = '"$1/azready" provision --force --verbose --root "$1" --wireserver "$2" --imds "$3" 2>"$1/said"'
    code = _simulate(["--", "/bin/sh", "-c", script, "sh", str(root), "{wireserver}", "{imds}"])
    text = said.read_text()
    said.unlink()
    hostname = root / "etc" / "hostname"
    return code, text, hostname.read_text().strip() if hostname.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
