"""Boots a root for the first time and logs in to it by ssh, for `scripts/quickstart`.

Runs in the simulator's namespace, where Azure's addresses are the simulator's. Arguments: the root,
a folder for the results, and a private key ("" for a root without sshd).
"""

import os
import pathlib
import subprocess
import sys

from scripts.simulator.scenario import VM
from scripts.tasks.guests import Sshd

_LOGIN = 'echo "$(id -un) is in, on $(hostname), at home in $(pwd)"'


def main() -> int:
    """Boot and log in.

    Returns azready's exit status, or 1 if the login fails.
    """
    root, folder, key = sys.argv[1:]
    # An ordinary user's PATH lacks chroot.
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    boot = subprocess.run(
        ["chroot", root, "/azready", "provision", "--force", "--verbose"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    pathlib.Path(folder, "said").write_text(boot.stderr)
    pathlib.Path(folder, "name").write_text(os.uname().nodename)
    if boot.returncode or not key:
        return boot.returncode
    with Sshd(pathlib.Path(root)) as sshd:
        login = sshd.login(VM().admin_username, _LOGIN, key=pathlib.Path(key))
    pathlib.Path(folder, "login").write_text(login.stdout or login.stderr)
    return 1 if login.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
