"""The contenders of the race: what an image gets so that it becomes Ready.

All are the same guest, of the boot lab's systemd and systemd-networkd. A reporter that makes no
user finds one in its image, with the key; where the image has no SSH host keys, and nobody else
makes them before sshd starts, a unit does, as the author of such an image would write it. (The
Azure Linux agent makes its keys when Debian's sshd has given up; and it looks for ifdown(8), which
the guest has not, for 15 s.)
"""

import dataclasses
import pathlib
import shutil

from build.cache import key, made
from scripts.bootlab import run, shapes
from scripts.bootlab.guests import GUESTS, Guest, Instead
from scripts.simulator.scenario import VM
from scripts.tasks import guests as roots

_FOLDER = pathlib.Path(__file__).with_name("reporters")
_PLACE = "usr/local/sbin/report"
_UNIT = """\
[Unit]
Description=Report Ready to the platform
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/report
ExecStartPost=/bin/systemctl disable report.service
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
"""
_HOST_KEYS = """\
[Unit]
Description=SSH host keys
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
"""
# The agent takes eject(1) for granted, which its package does not ask for. Debian's settings of it
# leave the provisioning to cloud-init, and its unit starts only where the processor says Hyper-V,
# which that of the boot lab does not.
_FILES = {
    "walinuxagent": {
        "etc/waagent.conf": "Provisioning.Agent=waagent\n",
        "etc/systemd/system/walinuxagent.service.d/race.conf": "[Unit]\nConditionVirtualization=\n",
    },
}
# By default, these two make new host keys even where the image has some.
_KEEPING = {
    "cloud-init": {"etc/cloud/cloud.cfg.d/91-keys.cfg": "ssh_deletekeys: false\n"},
    "walinuxagent": {"etc/waagent.conf": "Provisioning.RegenerateSshHostKeyPair=n\n"},
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """A reporter: `packages` are Debian's, separated by commas; `file` becomes a unit of its own.

    `provisions` says that it makes the user, `makes_keys` that it makes host keys in time for sshd.
    """

    name: str
    what: str
    packages: str = ""
    file: pathlib.Path | None = None
    provisions: bool = False
    makes_keys: bool = False

    def guest(self, *, keys: bool) -> Guest:
        """Return the guest, whose image has SSH host keys or not. Raises BuildError, LabError."""
        base = GUESTS["systemd"]
        found = dataclasses.replace(
            base,
            name=f"race-{self.name}-{'keys' if keys else 'none'}",
            what=self.what,
            packages=",".join(filter(None, [base.packages, self.packages])),
            shape=_keyed if keys else shapes.networkd,
        )
        if self.name == "azready":
            return found
        inputs = key(
            pathlib.Path(__file__), *([self.file] if self.file else []), public_key(), str(keys)
        )
        return dataclasses.replace(
            found, instead=Instead(lambda root: self._put(root, keys=keys), inputs)
        )

    def _put(self, root: pathlib.Path, *, keys: bool) -> None:
        if self.file:
            shutil.copy(self.file, root / _PLACE)
            (root / _PLACE).chmod(0o755)
            shapes.write(root / "etc/systemd/system/report.service", _UNIT)
            shapes.enable(root, "report.service", "systemd-networkd-wait-online.service")
        if not self.provisions:
            _user(root)
        if not keys and not self.makes_keys:
            shapes.write(root / "etc/systemd/system/host-keys.service", _HOST_KEYS)
            shapes.enable(root, "host-keys.service")
        for files in (_FILES, {} if self.makes_keys and not keys else _KEEPING):
            for place, text in files.get(self.name, {}).items():
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                with open(root / place, "a") as file:
                    file.write(text)


CONTENDERS = (
    Contender("azready", "azready, by `azready install`", provisions=True, makes_keys=True),
    Contender("bash", "bash and curl", "bash,curl", _FOLDER / "report.sh"),
    Contender("python", "Python script", "python3", _FOLDER / "report.py"),
    Contender("cloud-init", "cloud-init", "cloud-init", provisions=True, makes_keys=True),
    Contender("walinuxagent", "Azure Linux agent", "waagent,eject", provisions=True),
)


def private_key() -> pathlib.Path:
    """Return the key that opens the VMs of the race, kept because images hold its other half."""

    def make(place: pathlib.Path) -> None:
        roots.make_key(place / "key", "race")

    return made("race-key", key("ed25519"), make) / "key"


def public_key() -> str:
    """Return its public half."""
    return private_key().with_suffix(".pub").read_text().strip()


def _keyed(root: pathlib.Path) -> None:
    shapes.networkd(root)
    run(["ssh-keygen", "-A", "-f", str(root)])


def _user(root: pathlib.Path) -> None:
    """Make the user whom the platform would name, with the key of the race."""
    name = VM().admin_username
    run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", name])
    shapes.write(root / f"home/{name}/.ssh/authorized_keys", f"{public_key()}\n")
    run(["chroot", str(root), "chown", "-R", f"{name}:{name}", f"/home/{name}"])
    run(["chmod", "-R", "go=", f"{root}/home/{name}/.ssh"])
    shapes.write(root / f"etc/sudoers.d/{name}", f"{name} ALL=(ALL) NOPASSWD: ALL\n")
