"""Runs a first boot that is killed at its Nth change, for every N, each followed by a run that nobody disturbs; a program of its own because it forks.

Arguments: a folder to work in, the addresses of wireserver and IMDS. A change is every call that alters a file: the process dies right before it, or, for a
write, in the middle of it. Prints one line of JSON per N: what was killed, how the second run ended, and how its tree differs from an undisturbed one.
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

from agent.azure.http import Endpoint
from agent.azure.retry import Deadline
from agent.config import Config
from agent.guest import passwords
from agent.log import Quiet
from agent.provision import Job, provision
from scripts.simulator import media
from scripts.simulator.scenario import VM

CHANGES = (
    *("rename", "mkdir", "rmdir", "unlink", "symlink", "chown", "fchown", "chmod", "fchmod", "ftruncate", "truncate", "fsync", "setxattr", "link"),
    *("open", "write"),
)
PASSWORD = "correct horse"
MACHINE = VM(media="cd", password=PASSWORD, disable_password="false", custom_data="#!/bin/sh\necho hello\n", user_data="some: data\n")


def prepare(root: pathlib.Path) -> None:
    """A small image: account files, a skeleton, sudo, sshd, a pool for the host, the enabled unit, and the CD in its drive."""
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n+::::::\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/group": "root:x:0:\nadm:x:4:syslog\nsudo:x:27:\nshadow:x:42:\n",
        "etc/gshadow": "root:*::\nadm:*::syslog\nsudo:*::\nshadow:*::\n",
        "etc/login.defs": "HOME_MODE 0750\nUID_MIN 1000\n",
        "etc/skel/.profile": "export A=1\n",
        "etc/skel/.config/app/settings": "x\n",
        "etc/sudoers": "@includedir /etc/sudoers.d\n",
        "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
        "etc/hosts": "127.0.0.1 localhost\n",
        "usr/bin/sudo": "",
        "bin/bash": "",
        "sys/class/dmi/id/chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n",
        "sys/class/dmi/id/product_uuid": MACHINE.vm_id + "\n",
        "var/lib/hyperv/.kvp_pool_1": "",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "usr/bin/sudo").chmod(0o755)
    (root / "bin/bash").chmod(0o755)
    (root / "etc/shadow").chmod(0o640)
    (root / "etc/skel/.link").symlink_to(".profile")
    (root / "dev").mkdir()
    (root / "dev/sr0").write_bytes(media.image(MACHINE))
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "azready.service").symlink_to("../azready.service")


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
        provision(Job(str(root), Endpoint(wireserver), Endpoint(imds), Deadline(20), Config({"media.wait": 0}), Quiet()))
        code = 0
    finally:
        os._exit(code)


def _arm(kill_at: int, tell: int) -> None:
    write, count = posix.write, 0

    def deadly(name: str, original: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            if name == "open" and not arguments[1] & (posix.O_WRONLY | posix.O_RDWR | posix.O_CREAT):
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
        content = os.readlink(path) if path.is_symlink() else path.read_bytes().decode("latin-1") if stat.S_ISREG(status.st_mode) else ""
        found[name] = [oct(status.st_mode), status.st_uid, status.st_gid, _comparable(name, content)]
    return found


def _comparable(name: str, content: str) -> str:
    if name == "etc/shadow":
        lines = [line.split(":") for line in content.splitlines()]
        for fields in lines:
            if fields[1].startswith("$6$"):
                salt = fields[1].split("$")[2]
                fields[1] = str(passwords.sha512_crypt(PASSWORD.encode(), salt) == fields[1])
        return repr(lines)
    if name.endswith((".provisioned", ".kvp_pool_1")):
        return "".join(character for character in content if not character.isdigit())
    return content


def main() -> None:
    """Kill at 1, 2, 3 ... until a run gets through."""
    folder, wireserver, imds = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    reference = folder / "reference"
    prepare(reference)
    code, _ = boot(reference, wireserver, imds)
    wanted = snapshot(reference)
    print(json.dumps({"at": 0, "code": code, "files": sorted(wanted)}), flush=True)
    at, code = 0, -9
    while code == -9:
        at += 1
        root = folder / str(at)
        prepare(root)
        code, victim = boot(root, wireserver, imds, at)
        again, _ = boot(root, wireserver, imds)
        found = snapshot(root)
        different = {name: [wanted.get(name), found.get(name)] for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)}
        print(json.dumps({"at": at, "first": code, "killed": victim, "code": again, "different": different}), flush=True)
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
