"""Images: putting azready into one, taking it out, and preparing one for capture. Works offline, on a tree below any root, without systemctl."""

import posix
import sys
from stat import S_ISDIR, S_ISREG

from agent import init
from agent.config import DEFAULT_PATH
from agent.errors import GuestError, UsageError, reason
from agent.guest import accountfiles, accounts, files, hostname, sshd, sudo
from agent.init import rivals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.log import Log

# Programs that every image with an init system has in some form: what they are made for, the image is.
_TYPICAL = ("/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/bin/sh", "/usr/bin/env", "/bin/busybox", "/usr/bin/bash")
_MACHINES = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv", 258: "loongarch"}  # elf(5)
_MAX_OWN = 64 * 1024 * 1024  # bytes of the static file
# What some systems need after it, which only their own tools in the image can do.
_THEN = {
    "s6-rc": "to do, in the image: s6-db-reload, which compiles the services",
    "dracut": "to do, in the image: dracut --force, which makes the initramfs anew",
    "initramfs-tools": "to do, in the image: update-initramfs -u, which makes the initramfs anew",
}


def install(root: str, executable: str, log: "Log", *, dry_run: bool, system: str = "", file: str = "") -> None:
    """Put the running file, or `file`, at `executable` (path inside the root), the unit for the init system `system` (found out if ""), and what enables it.

    Raises GuestError, UsageError.
    """
    content = _given_file(file) if file else _own_file()
    why = "as asked for"
    if not system:
        system, why = init.detect(root)
    if not system:
        raise GuestError(f"no init system was found in {root}: name it with --init, or put the file there by hand and run {executable} provision once at boot")
    used = init.load(system)
    _check_machine(root, content)
    log.info(f"init system: {system} ({why})")
    rival, link = rivals.enabled(root)
    if rival:
        log.warning(f"{rival} is enabled in this image ({link}): azready steps back for it, unless {DEFAULT_PATH} has step_back = false")
    if dry_run:
        log.info(f"would put {executable}, its {system} unit, and the link that enables it")
        return
    if files.head(root, executable, len(content) + 1) == content:
        log.info(f"{executable} is there already")
    else:
        files.replace(root, executable, content, 0o755)
        log.info(f"{executable}: {len(content)} bytes")
    _make_executable(root, executable)
    changed = used.install(root, executable)
    log.info(used.place(root) + ("" if changed else " is there already"))
    log.info(f"azready {'is enabled: it runs at the next boot' if used.enable(root) else 'was enabled already'}")
    if system in _THEN:
        log.info(_THEN[system])


def uninstall(root: str, executable: str, log: "Log", *, dry_run: bool) -> None:
    """Take the unit, its links and the file away; markers and the configuration stay. Raises GuestError."""
    if dry_run:
        places = [init.load(name).place(root) for name in init.installed(root)]
        for path in (*init.enabled(root), *(place for place in places if place.startswith("/etc/")), executable):  # a package's unit is the package's
            log.info(f"would remove {path}")
        return
    removed = init.disable(root)
    for name in init.installed(root):
        place = init.load(name).place(root)
        if init.load(name).uninstall(root):
            removed.append(place)
    if files.discard(root, executable):
        removed.append(executable)
    log.info(f"removed {', '.join(removed)}" if removed else "nothing of azready was found")


class Generalization:
    """What makes a machine an image again: `actions` is a list of (what is done, in words; the function that does it)."""

    def __init__(self, root: str, state_directory: str, user: str) -> None:
        """Look at the system below `root`; nothing is changed yet. Raises UsageError if `user` cannot be removed, GuestError."""
        self._root = root
        removed = list(self._removed(state_directory))
        self.actions = [(f"remove {path}", self._remover(path)) for path in removed]
        self.actions += self._logs("/var/log", removed)
        self.actions += self._machine_id()
        self.actions += self._host_name()
        if user:
            self.actions += self._user(user)
        for name in init.installed(root):
            self.actions.append((f"enable azready for the next boot ({name})", self._enabler(name)))

    def _removed(self, state_directory: str) -> "Iterator[str]":
        for pattern in (f"{state_directory}/*", *_REMOVED):
            for path in sorted(_glob(self._root, pattern)):
                if path == _DBUS_ID and files.is_link(self._root, path):
                    continue  # to /etc/machine-id, which is emptied
                yield path

    def _logs(self, folder: str, removed: "list[str]") -> "Iterator[tuple[str, Callable[[], object]]]":
        """Logs that were rotated go, those that are written to are emptied, at any depth; what is removed as a whole needs neither."""
        for name in files.names(self._root, folder):
            path = f"{folder}/{name}"
            try:
                status = posix.lstat(files.itself(self._root, path))
            except OSError:
                continue
            if path in removed:
                continue
            if S_ISDIR(status.st_mode):
                yield from self._logs(path, removed)
            elif S_ISREG(status.st_mode) and name.endswith(_ROTATED):
                yield f"remove {path}", self._remover(path)
            elif S_ISREG(status.st_mode) and status.st_size:
                yield f"empty {path}", self._emptier(path)

    def _machine_id(self) -> "Iterator[tuple[str, Callable[[], object]]]":
        if files.read(self._root, "/etc/machine-id"):
            # Empty, not missing and not "uninitialized": machine-id(5) on images.
            yield "empty /etc/machine-id", self._emptier("/etc/machine-id")

    def _host_name(self) -> "Iterator[tuple[str, Callable[[], object]]]":
        old = files.read(self._root, hostname.HOSTNAME)
        if old is None:
            return
        name = old.decode("utf-8", "replace").strip()
        hosts = files.read(self._root, hostname.HOSTS) or b""
        cleaned = hostname.hosts_without(hosts, name)
        if cleaned != hosts:
            yield f"take {name} out of {hostname.HOSTS}", lambda: files.replace(self._root, hostname.HOSTS, cleaned)
        yield f"remove {hostname.HOSTNAME} ({name})", self._remover(hostname.HOSTNAME)

    def _user(self, user: str) -> "Iterator[tuple[str, Callable[[], object]]]":
        account = accounts.find(self._root, user)
        if account is None:
            raise UsageError(f"--user {user!r} cannot be removed: there is no such user")
        if not accounts.is_person(self._root, account):
            raise UsageError(f"--user {user!r} cannot be removed: it belongs to the system, with uid {account.uid}")
        content = files.read(self._root, accounts.PASSWD) or b""
        for other in accountfiles.entries(content):
            if other[0] != user and len(other) > 5 and f"{other[5].rstrip('/')}/".startswith(f"{account.home.rstrip('/')}/"):
                raise UsageError(f"--user {user!r} cannot be removed: its home {account.home} holds that of {other[0]}")
        if account.home.strip("/").count("/") == 0:
            raise UsageError(f"--user {user!r} cannot be removed: its home {account.home} is a folder of the system's")
        for path in (f"/var/mail/{user}", f"/var/spool/mail/{user}", f"/var/spool/cron/crontabs/{user}", f"/var/spool/cron/{user}", account.home):
            if files.exists(self._root, path):
                yield f"remove {path}", self._remover(path)
        yield f"remove the user {user} (uid {account.uid})", lambda: accounts.remove(self._root, user)

    def _enabler(self, name: str) -> "Callable[[], object]":
        return lambda: init.load(name).enable(self._root)

    def _remover(self, path: str) -> "Callable[[], object]":
        return lambda: files.discard_tree(self._root, path)

    def _emptier(self, path: str) -> "Callable[[], object]":
        def empty() -> None:
            place = files.resolve(self._root, path)
            try:
                # In place: who has a log open goes on writing into it.
                posix.truncate(place, 0)
            except OSError as error:
                raise GuestError(f"cannot empty {place}: {reason(error)}") from None

        return empty


_ROTATED = (".gz", ".xz", ".old", ".1")
_DBUS_ID = "/var/lib/dbus/machine-id"
# Each with at most one * in a part; what is not there is passed over.
_REMOVED = (
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssh/ssh_host_*_key.pub",
    _DBUS_ID,
    sudo.SUDO_FILE,
    sudo.DOAS_FILE,
    sshd.DROP_IN,
    # leases
    "/var/lib/dhcp/*.leases",
    "/var/lib/dhclient/*",
    "/var/lib/dhcpcd/*",
    "/var/lib/dhcpcd5/*",
    "/var/lib/NetworkManager/*.lease",
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/systemd/network/*",
    # random seeds, systemd's credential key
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/urandom/random-seed",
    "/var/lib/random-seed",
    "/var/lib/seedrng/*",
    "/boot/loader/random-seed",
    "/boot/efi/loader/random-seed",
    "/efi/loader/random-seed",
    "/var/log/journal/*",
    # shell histories
    "/root/.*_history",
    "/home/*/.*_history",
    "/root/.lesshst",
    "/home/*/.lesshst",
    # what other agents leave
    "/var/lib/cloud/*",
    "/var/log/cloud-init*",
    "/etc/sudoers.d/90-cloud-init-users",
    "/etc/ssh/sshd_config.d/50-cloud-init.conf",
    "/var/lib/waagent/*",
    "/var/log/azure/*",
    "/etc/sudoers.d/waagent",
    "/var/lib/azure-init/*",
)


def _glob(root: str, pattern: str) -> "list[str]":
    """The paths inside the root that match; links in folders on the way are followed inside the root, the last part is not."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        before, star, after = part.partition("*")
        step = []
        for folder in found:
            if not star:
                names = [part]
            else:
                names = [
                    name for name in files.names(root, folder or "/") if len(name) >= len(before + after) and name.startswith(before) and name.endswith(after)
                ]
            step += [f"{folder}/{name}" for name in names]
        found = step
    return [path for path in found if _is_there(root, path)]


def _is_there(root: str, path: str) -> bool:
    try:
        posix.lstat(files.itself(root, path))
    except OSError:
        return False
    return True


def _own_file() -> bytes:
    """The bytes of the running static file. Raises UsageError when this is Python running from source."""
    if not hasattr(sys, "frozen"):
        raise UsageError("install puts the running file into an image, and this is not the static file: run dist/azready-... install")
    for path in ("/proc/self/exe", sys.executable):
        content = files.read_at(path, _MAX_OWN)
        if content:
            return content
    raise GuestError(f"cannot read the running file, neither as /proc/self/exe nor as {sys.executable}")


def _given_file(path: str) -> bytes:
    """The bytes of a static file for another machine. Raises UsageError, GuestError."""
    content = files.read_at(path, _MAX_OWN)
    if content is None:
        raise UsageError(f"--file {path!r} cannot be used: no such file")
    if not _machine(content):
        raise UsageError(f"--file {path!r} cannot be used: it is no program; name a file such as azready-linux-aarch64")
    return content


def _check_machine(root: str, content: bytes) -> None:
    """Refuse an image whose programs are for another processor. Raises GuestError."""
    own = _machine(content)
    for path in _TYPICAL:
        try:
            found = _machine(files.head(root, path, 64))
        except GuestError:
            continue
        if found and found != own:
            raise GuestError(
                f"the file is for {_MACHINES.get(own, own)}, the image below {root} for {_MACHINES.get(found, found)} ({path}): "
                "name the file for that with --file"
            )
        if found:
            return


def _machine(program: bytes) -> int:
    """e_machine of an ELF file, 0 for anything else."""
    if len(program) < 20 or program[:4] != b"\x7fELF":
        return 0
    return int.from_bytes(program[18:20], "big" if program[5] == 2 else "little")


def _make_executable(root: str, path: str) -> None:
    place = files.resolve(root, path)
    try:
        if posix.stat(place).st_mode & 0o111 != 0o111:
            posix.chmod(place, 0o755)
    except OSError as error:
        raise GuestError(f"cannot make {place} executable: {reason(error)}") from None
