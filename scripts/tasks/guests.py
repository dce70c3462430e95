"""Makes roots of small Linux systems to boot the agent in, for the tests and `scripts/quickstart`.

debian(): a minimal Debian with the shadow tools, PAM, sudo and sshd. busybox(): a busybox that can
create users. Both are built once and kept in the cache; with_sshd() copies only sshd and its
libraries out of the first. Building them takes root and, for Debian, apt.
"""

import contextlib
import os
import pathlib
import platform
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from typing import Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from build import emptyroot, machine, packages, sources, toolchain
from build.cache import BuildError, key, made, run
from scripts.simulator import media
from scripts.simulator.scenario import VM

_PACKAGES = "openssh-server,sudo,opendoas,passwd,login,busybox-static"
_INIT_SYSTEMS = {
    "systemd": "systemd-sysv,dbus",
    "sysvinit": "sysvinit-core",
    "openrc": "sysvinit-core,openrc",
    "runit": "runit-init",
    "s6": "s6",
    "finit": "finit-sysv",
    # Not an init system: the clients for DHCP that distributions have (busybox has udhcpc).
    "clients": "systemd,dbus,network-manager,dhcpcd-base,isc-dhcp-client,iproute2",
    # Not an init system: both initramfs builders. They coexist as long as the package dracut itself
    # is not installed.
    "initramfs": "systemd-sysv,dbus,initramfs-tools,dracut-core,dracut-network,iproute2,kmod,udev",
}
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
_APPLETS = ("ADDGROUP", "ADDUSER", "ASH", "CAT", "CHPASSWD", "ECHO", "ID", "LS", "TEST")
_OPTIONS = (
    "FEATURE_ADDUSER_TO_GROUP",
    "FEATURE_SHADOWPASSWDS",
    "LONG_OPTS",
    "SH_IS_ASH",
    "STATIC",
    "USE_BB_CRYPT",
    "USE_BB_CRYPT_SHA",
    "USE_BB_PWD_GRP",
    "USE_BB_SHADOW",
)
_VALUES = {
    "FEATURE_DEFAULT_PASSWD_ALGO": '"sha512"',
    "FIRST_SYSTEM_ID": "100",
    "LAST_ID": "60000",
    "LAST_SYSTEM_ID": "999",
}
_DEVICES = {"null": 3, "zero": 5, "random": 8, "urandom": 9, "tty": (5, 0)}
# A machine whose first boot has work for every step.
EVERYTHING = VM(
    media="cd",
    password="correct horse",
    disable_password="false",
    custom_data="#!/bin/sh\necho hello\n",
    user_data="some: data\n",
)
_LIBRARIES = ("lib", "usr/lib", "lib64", "usr/lib64")


def debian(init: str = "", more: str = "", architecture: str = "") -> pathlib.Path:
    """Return the folder of a minimal Debian of this host's own release; never change it.

    `init` adds one of _INIT_SYSTEMS, `more` further packages, separated by commas. With an
    `architecture` ("arm64"), qemu runs the packages' scripts. Raises BuildError if it cannot be
    built.
    """
    wanted = ",".join(filter(None, [_PACKAGES, _INIT_SYSTEMS[init] if init else "", more]))
    chosen = suite()
    exclude = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]

    def make(place: pathlib.Path) -> None:
        options = ["--variant=minbase", f"--include={wanted}", *exclude]
        if architecture:
            options += [f"--architectures={architecture}", "--skip=check/qemu"]
        words = [*options, chosen, str(place / "root")]
        _mmdebstrap(words, place / "log", emulated=bool(architecture))
        for host_key in (place / "root/etc/ssh").glob("ssh_host_*"):
            host_key.unlink()

    inputs = key(chosen, wanted, *exclude, *filter(None, [architecture]))
    name = "-".join(filter(None, ["guest", init or "debian", architecture]))
    hint = "about 2 minutes" if architecture else "about 40 seconds"
    return made(name, inputs, make, hint=hint) / "root"


def extract(wanted: str, architecture: str, place: pathlib.Path, log: pathlib.Path) -> None:
    """Unpack packages of Debian, separated by commas, and what they need to `place`.

    None of their scripts is run, so they may be for another architecture ("arm64"). Raises
    BuildError.
    """
    options = ["--variant=extract", f"--architectures={architecture}", "--skip=check/qemu"]
    _mmdebstrap([*options, f"--include={wanted}", suite(), str(place)], log)


def suite() -> str:
    """Return the name of this host's Debian. Raises BuildError without root or Debian."""
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian" or os.geteuid() != 0:
        raise BuildError("building a Debian root needs root on Debian")
    return release["VERSION_CODENAME"]


def _mmdebstrap(words: list[str], log: pathlib.Path, *, emulated: bool = False) -> None:
    if not shutil.which("mmdebstrap"):
        packages.install("mmdebstrap")
    before = []
    if emulated:
        machine.emulator("aarch64")
        before = [sys.executable, "-m", "scripts.tasks.emulated"]
    environment = {**os.environ, "PYTHONPATH": str(toolchain.TOP)}
    run([*before, "mmdebstrap", "--mode=root", *words], log=log, env=environment)


def busybox() -> pathlib.Path:
    """Build a static busybox with the applets that create users and set passwords.

    Raises BuildError.
    """
    archive = sources.archive("busybox")

    def make(place: pathlib.Path) -> None:
        sources.unpack(archive, place)
        tree = next(place.glob("busybox-*"))
        log = place / "log"
        run(["make", "allnoconfig"], cwd=tree, log=log)
        config = tree / ".config"
        text = config.read_text()
        for option in (*_APPLETS, *_OPTIONS):
            text = text.replace(f"# CONFIG_{option} is not set", f"CONFIG_{option}=y")
        config.write_text(text)
        # Answer the questions that these options raise with their defaults, then set the options
        # that have a value.
        run(["sh", "-c", 'yes "" | make oldconfig'], cwd=tree, log=log)
        lines = [
            next(
                (
                    f"CONFIG_{name}={value}"
                    for name, value in _VALUES.items()
                    if line.startswith(f"CONFIG_{name}=")
                ),
                line,
            )
            for line in config.read_text().splitlines()
        ]
        config.write_text("\n".join(lines) + "\n")
        run(["make", f"-j{os.cpu_count()}", "busybox"], cwd=tree, log=log)
        shutil.copy(tree / "busybox", place / "busybox")
        shutil.rmtree(tree)

    inputs = key(
        toolchain.pins()["busybox"]["sha256"], *_APPLETS, *_OPTIONS, *_VALUES, *_VALUES.values()
    )
    return made("guest-busybox", inputs, make, hint="about 20 seconds") / "busybox"


def dinit() -> pathlib.Path:
    """Build dinit, dinitctl, dinit-check and shutdown, static; return their folder.

    Raises BuildError.
    """
    archive = sources.archive("dinit")

    def make(place: pathlib.Path) -> None:
        sources.unpack(archive, place)
        tree = next(place.glob("dinit-*"))
        log = place / "log"
        run(["./configure", "LDFLAGS=-static"], cwd=tree, log=log)
        for folder in ("build", "src"):
            run(["make", f"-j{os.cpu_count()}", "-C", folder, "all"], cwd=tree, log=log)
        for name in programs:
            shutil.copy(tree / "src" / name, place)
        shutil.rmtree(tree)

    programs = ("dinit", "dinitctl", "dinit-check", "shutdown")
    inputs = key(toolchain.pins()["dinit"]["sha256"], *programs)
    return made("guest-dinit", inputs, make, hint="about 30 seconds")


def sketch(place: pathlib.Path, vm: VM) -> None:
    """Lay out a root that runs nothing but has a file of every kind that a first boot looks at.

    Accounts, a skeleton, sudo, sshd, a pool for the host, the enabled unit, Azure's asset tag, and
    the CD of `vm` in its drive.
    """
    for name, content in _SKETCH.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    (place / "sys/class/dmi/id/product_uuid").write_text(vm.vm_id + "\n")
    (place / "sys/firmware/efi").mkdir(parents=True)  # a Gen2 VM
    for name in ("usr/bin/sudo", "bin/bash"):
        (place / name).chmod(0o755)
    (place / "etc/shadow").chmod(0o640)
    (place / "etc/skel/.link").symlink_to(".profile")
    (place / "dev").mkdir()
    (place / "dev/sr0").write_bytes(media.image(vm))
    wants = place / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "azready.service").symlink_to("../azready.service")


_SKETCH = {
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
    "var/lib/hyperv/.kvp_pool_1": "",
}


def copy_of(guest: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    """Copy the root `guest` to `place`, and add the few devices that programs need.

    Programs and libraries, which nothing changes in place, become hard links where possible:
    copying them takes seconds.
    """
    for entry in sorted(guest.iterdir()):
        linked = entry.name == "usr" and entry.stat().st_dev == place.stat().st_dev
        subprocess.run(["cp", "-a", *(["--link"] if linked else []), entry, place], check=True)
    return with_devices(place)


def with_busybox(place: pathlib.Path) -> pathlib.Path:
    """Make a root with busybox and its names, and nothing else: not even /etc/passwd."""
    (place / "bin").mkdir(parents=True)
    shutil.copy(busybox(), place / "bin/busybox")
    for name in ("sh", *(applet.lower() for applet in _APPLETS if applet != "ASH")):
        (place / "bin" / name).symlink_to("busybox")
    return with_devices(place)


def with_sshd(place: pathlib.Path) -> pathlib.Path:
    """Make a root with sshd, its libraries, configuration and user, a shell, and nothing else."""
    guest = debian()
    programs = [
        "usr/sbin/sshd",
        *(f"usr/lib/openssh/{name}" for name in ("sshd-session", "sshd-auth", "sftp-server")),
    ]
    for path in [program for program in programs if (guest / program).exists()]:
        _copy_program(guest, path, place)
    for folder in ("etc/ssh/sshd_config.d", "run/sshd", "root", "tmp", "bin"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    (place / "bin/sh").unlink(missing_ok=True)
    shutil.copy(guest / "bin/busybox", place / "bin/sh")
    # PAM would need many more files.
    (place / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\n")
    (place / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n"
    )
    (place / "etc/group").write_text("root:x:0:\nsudo:x:27:\n")
    (place / "etc/shadow").write_text("root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n")
    (place / "etc/shadow").chmod(0o600)
    return with_devices(place)


def with_devices(place: pathlib.Path) -> pathlib.Path:
    """Create /dev/null and similar devices in a root.

    Raises BuildError if this user may not.
    """
    (place / "dev").mkdir(exist_ok=True)
    for name, numbers in _DEVICES.items():
        major, minor = numbers if isinstance(numbers, tuple) else (1, numbers)
        device = place / "dev" / name
        if not device.exists():
            try:
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            except OSError as error:
                raise BuildError(f"this user may not make device nodes: {error.strerror}") from None
            device.chmod(0o666)
    return place


def _copy_program(guest: pathlib.Path, path: str, place: pathlib.Path) -> None:
    """Copy a program and all its libraries to the same paths."""
    waiting, done = [path], set[str]()
    while waiting:
        current = waiting.pop()
        if current in done:
            continue
        done.add(current)
        target = place / current
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(guest / current, target)
        with open(guest / current, "rb") as stream:
            for segment in ELFFile(stream).iter_segments():
                if isinstance(segment, InterpSegment):
                    waiting.append(segment.get_interp_name().lstrip("/"))
                if isinstance(segment, DynamicSegment):
                    tags: Any = segment.iter_tags("DT_NEEDED")
                    waiting += [_library(guest, tag.needed) for tag in tags]


def _library(guest: pathlib.Path, name: str) -> str:
    for folder in _LIBRARIES:
        for place in (guest / folder / name, *(guest / folder).glob(f"*-linux-gnu/{name}")):
            if place.exists():
                return str(place.relative_to(guest))
    raise BuildError(f"{guest} has no library {name}")


class Sshd:
    """The sshd of a root, listening on a loopback port; a context manager.

    login() is a person with an ssh client on this machine.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._scratch = tempfile.TemporaryDirectory()
        self.said = pathlib.Path(self._scratch.name, "sshd.log")

    def __enter__(self) -> "Sshd":
        _need_client()
        host_key = self._root / "etc/ssh/ssh_host_ed25519_key"
        if not host_key.exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True
            )
        (self._root / "run/sshd").mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command = [
            "/usr/sbin/sshd",
            "-D",
            "-e",
            "-p",
            str(self._port),
            "-o",
            "ListenAddress=127.0.0.1",
        ]
        with open(self.said, "wb") as log:
            self._process = subprocess.Popen(
                command,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=emptyroot.entering(self._root, writable=True),
            )
        end = time.monotonic() + 10
        while time.monotonic() < end and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), 1) as connection,
            ):
                if connection.recv(4) == b"SSH-":
                    return self
            time.sleep(0.05)
        raise BuildError(f"sshd does not answer: {self.said.read_text()[-500:]}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._scratch.cleanup()

    def login(
        self, user: str, command: str, *, key: pathlib.Path | None = None, password: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Log in with this key or this password and run a command.

        The exit status is ssh's: 255 if the login fails.
        """
        ask = pathlib.Path(self._scratch.name, "ask")
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$AZREADY_PASSWORD"\n')
        ask.chmod(0o700)
        options = {
            "BatchMode": "no" if password else "yes",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(key) if key else "none",
            "NumberOfPasswordPrompts": "1",
            "PreferredAuthentications": "password,keyboard-interactive"
            if password
            else "publickey",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        words = [
            "ssh",
            "-F",
            "none",
            "-p",
            str(self._port),
            *(f"-o{name}={value}" for name, value in options.items()),
            f"{user}@127.0.0.1",
            command,
        ]
        environment = {
            "PATH": os.environ["PATH"],
            "SSH_ASKPASS": str(ask),
            "SSH_ASKPASS_REQUIRE": "force",
            "AZREADY_PASSWORD": password,
        }
        return subprocess.run(
            words,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )


def make_key(place: pathlib.Path, comment: str) -> str:
    """Make a key pair at `place` and `place`.pub; return the public half."""
    _need_client()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", place], check=True
    )
    return place.with_suffix(".pub").read_text().strip()


def _need_client() -> None:
    if not shutil.which("ssh"):
        packages.install(
            {
                "apt-get": "openssh-client",
                "dnf": "openssh-clients",
                "apk": "openssh-client",
                "zypper": "openssh-clients",
                "pacman": "openssh",
            }
        )
