"""`scripts/quickstart`: builds the static file and shows a first boot.

It boots against the simulated Azure, in a root that contains nothing else but sshd, and logs in
there with the key that the platform handed out. An ordinary user with user namespaces gets the same
without sshd, because creating its root takes root. Where no root can be created at all, a warning
says so and the file runs as is.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from rich.panel import Panel

from build import __main__ as build
from build import emptyroot, toolchain
from build.cache import BuildError, console
from scripts.simulator.scenario import VM
from scripts.tasks import guests

TOP = toolchain.TOP
FILE = toolchain.output()
_OWN = (
    "bin",
    "dev",
    "lib",
    "lib64",
    "run/sshd",
    "usr",
    "azready",
    "etc/ssh/sshd_config",
    "etc/ssh/ssh_host_",
    "etc/azready.toml",
)


def main() -> int:
    """Build, boot, log in and show; return the exit status."""
    argparse.ArgumentParser("scripts/quickstart", description=__doc__).parse_args()
    if code := build.main([]):
        return code
    console.rule("first boot")
    with emptyroot.holding(FILE) as root, tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        if emptyroot.possible():
            key = _with_sshd(root, folder)
            content = "the file, sshd with its libraries, and a shell" if key else "the file"
            console.print(
                f"in a root that contains only {content}, "
                "in namespaces where Azure's addresses are the simulator's"
            )
            code = _in_namespace(root, folder, key)
        else:
            console.print(
                "[yellow]warning:[/yellow] this user or kernel cannot make an empty root: "
                "the file runs as is, on loopback addresses"
            )
            code = _as_it_is(root, folder)
        found = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        console.print("\nwhat azready said:")
        console.print(found.get("said", "").rstrip(), markup=False)
        if code:
            console.print(
                f"[red]error:[/red] the first boot exited with status {code} "
                f"{found.get('login', '')}"
            )
            return code
        written = [
            str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()
        ]
        name = found["name"].strip()
        size = FILE.stat().st_size / 1e6
        summary = {
            "Ready": "accepted by the simulated Azure (the document is above)",
            "host name": f"{name} (what the platform asked for: {VM().computer_name})",
            "ssh login": found.get(
                "login", "not tried, and no user made: that takes root, on Debian"
            ).strip(),
            "time": found["said"].rstrip().rpartition("after ")[2],
            "size of the file": f"{size:.2f} MB, static, {FILE.relative_to(TOP)}",
            "written in the root": ", ".join(path for path in written if not path.startswith(_OWN)),
        }
        console.print(
            Panel(
                "\n".join(f"{key:<20} {value}" for key, value in summary.items()),
                title="done",
                expand=False,
            ),
            soft_wrap=False,
        )
    return 0


def _with_sshd(root: pathlib.Path, folder: pathlib.Path) -> str:
    """Put sshd into the root, and a key into what the platform answers.

    Returns the path of the private key, or "" if that is not possible.
    """
    if os.geteuid() != 0:
        # An ordinary user has a single user id in a namespace.
        (root / "etc").mkdir()
        (root / "etc/azready.toml").write_text("steps.user = false\n")
        return ""
    try:
        guests.with_sshd(root)
        (folder / "keys").mkdir()
        public = guests.make_key(folder / "keys/key", "planted by quickstart")
    except (BuildError, OSError) as error:
        console.print(f"[yellow]warning:[/yellow] no ssh login: {error}")
        return ""
    # A JSON string is also a TOML string.
    (folder / "scenario.toml").write_text(
        f'description = "everything works"\n[vm]\npublic_keys = [{json.dumps(public)}]\n'
    )
    return str(folder / "keys/key")


def _simulate(arguments: list[str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "scripts.simulator", "--strict", *arguments],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
    ).returncode


def _in_namespace(root: pathlib.Path, folder: pathlib.Path, key: str) -> int:
    chosen = str(folder / "scenario.toml") if key else "healthy"
    return _simulate(
        [
            "--netns",
            "--scenario",
            chosen,
            "--",
            sys.executable,
            "-m",
            "scripts.tasks.firstboot",
            str(root),
            str(folder),
            key,
        ]
    )


def _as_it_is(root: pathlib.Path, folder: pathlib.Path) -> int:
    script = """
        "$1/azready" provision --force --verbose --root "$1" --wireserver "$2" --imds "$3" \\
            2>"$4/said"
        code=$?
        cat "$1/etc/hostname" >"$4/name"
        exit $code
    """
    return _simulate(
        ["--", "/bin/sh", "-c", script, "sh", str(root), "{wireserver}", "{imds}", str(folder)]
    )


if __name__ == "__main__":
    sys.exit(main())
