"""Runs a first boot that is killed at its Nth change, for every N, and then an undisturbed one.

A program of its own because it forks. Arguments: a folder to work in, the addresses of wireserver
and IMDS. A change is every call that alters a file: the process dies right before it, or, for a
write, in the middle of it. Prints one line of JSON per N: what was killed, how the second run ended,
and how its tree differs from an undisturbed one.
"""

import json
import os
import pathlib
import posix
import shutil
import signal
import stat
import sys
from typing import Any

from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.commands.provision import provision
from agent.formats import sha512_crypt
from agent.log import Quiet
from agent.root import Root
from agent.settings import Config
from scripts.tasks import guests

CHANGES = (
    *(
        "rename",
        "mkdir",
        "rmdir",
        "unlink",
        "symlink",
        "chown",
        "fchown",
        "chmod",
        "fchmod",
        "ftruncate",
        "truncate",
        "fsync",
        "setxattr",
        "link",
    ),
    *("open", "write"),
)
MACHINE = guests.EVERYTHING


def boot(root: pathlib.Path, wireserver: str, imds: str, kill_at: int = 0) -> tuple[int, str]:
    """A first boot in a child of its own; (how it ended, what was killed)."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        _child(root, wireserver, imds, kill_at, tell)
    os.close(tell)
    with os.fdopen(told) as stream:
        victim = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), victim


def _child(root: pathlib.Path, wireserver: str, imds: str, kill_at: int, tell: int) -> None:
    code = 1
    try:
        if kill_at:
            _arm(kill_at, tell)
        provision(
            Boot(
                Root(str(root)),
                http.endpoint(wireserver),
                http.endpoint(imds),
                Deadline(20),
                Config({"media.wait": 0}),
                Quiet(),
            )
        )
        code = 0
    finally:
        os._exit(code)


def _arm(kill_at: int, tell: int) -> None:
    write, count = posix.write, 0

    def deadly(name: str, original: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            if name == "open" and not arguments[1] & (
                posix.O_WRONLY | posix.O_RDWR | posix.O_CREAT
            ):
                return original(*arguments, **more)
            count += 1
            if count == kill_at:
                if name == "write":
                    write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                write(tell, f"{name} {arguments[0]}".encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)

        return call

    for name in CHANGES:
        setattr(posix, name, deadly(name, getattr(posix, name)))


def snapshot(root: pathlib.Path) -> dict[str, Any]:
    """Everything about every file, but for what differs between any two runs: salts and times."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        status = path.lstat()
        content = (
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes().decode("latin-1")
            if stat.S_ISREG(status.st_mode)
            else ""
        )
        found[name] = [
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            _comparable(name, content),
        ]
    return found


def _comparable(name: str, content: str) -> str:
    if name == "etc/shadow":
        lines = [line.split(":") for line in content.splitlines()]
        for fields in lines:
            if fields[1].startswith("$6$"):
                fields[1] = str(sha512_crypt.verifies(MACHINE.password.encode(), fields[1]))
        return repr(lines)
    if name.endswith((".provisioned", ".kvp_pool_1")):
        return "".join(character for character in content if not character.isdigit())
    return content


def main() -> None:
    """Kill at 1, 2, 3 ... until a run gets through."""
    folder, wireserver, imds = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    reference = folder / "reference"
    guests.sketch(reference, MACHINE)
    code, _ = boot(reference, wireserver, imds)
    wanted = snapshot(reference)
    print(json.dumps({"at": 0, "code": code, "files": sorted(wanted)}), flush=True)
    at, code = 0, -9
    while code == -9:
        at += 1
        root = folder / str(at)
        guests.sketch(root, MACHINE)
        code, victim = boot(root, wireserver, imds, at)
        again, _ = boot(root, wireserver, imds)
        found = snapshot(root)
        different = {
            name: [wanted.get(name), found.get(name)]
            for name in wanted.keys() | found.keys()
            if wanted.get(name) != found.get(name)
        }
        print(
            json.dumps(
                {"at": at, "first": code, "killed": victim, "code": again, "different": different}
            ),
            flush=True,
        )
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
