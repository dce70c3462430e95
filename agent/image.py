"""Images: putting azready into one, taking it out, and preparing one for capture. Works offline, on a tree below any root, without systemctl."""

import posix
import sys
from stat import S_ISDIR, S_ISREG

from agent import init
from agent.config import DEFAULT_PATH
from agent.errors import GuestError, UsageError
from agent.guest import accountfiles, accounts, hostname, sshd, sudo
from agent.init import rivals
from agent.log import printable
from agent.root import read_given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.log import Log
    from agent.root import Root

# Programs that every image with an init system has in some form: what they are made for, the image is.
_TYPICAL = (
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/bin/sh",
    "/usr/bin/env",
    "/bin/busybox",
    "/usr/bin/bash",
)
_MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}  # elf(5)
_MAX_OWN = 64 * 1024 * 1024  # bytes of the static file
# What some systems need after it, which only their own tools in the image can do.
_THEN = {
    "s6-rc": "to do, in the image: s6-db-reload, which compiles the services",
    "dracut": "to do, in the image: dracut --force, which makes the initramfs anew",
    "initramfs-tools": "to do, in the image: update-initramfs -u, which makes the initramfs anew",
}


def install(
    root: "Root", executable: str, log: "Log", *, dry_run: bool, system: str = "", file: str = ""
) -> None:
    """Put the running file, or `file`, at `executable` (path inside the root), the unit for the init system `system` (found out if ""), and what enables it.

    Raises GuestError, UsageError.
    """
    content = _given_file(file) if file else _own_file()
    why = "as asked for"
    if not system:
        system, why = init.detect(root)
    if not system:
        raise GuestError(
            f"no init system was found in {root}: name it with --init, or put the file there by hand and run {executable} provision once at boot"
        )
    used = init.load(system)
    _check_machine(root, content)
    log.info(f"init system: {system} ({why})")
    rival, link = rivals.enabled(root)
    if rival:
        log.warning(
            f"{rival} is enabled in this image ({link}): azready steps back for it, unless {DEFAULT_PATH} has step_back = false"
        )
    if dry_run:
        log.info(f"would put {executable}, its {system} unit, and the link that enables it")
        return
    if root.head(executable, len(content) + 1) == content:
        log.info(f"{executable} is there already")
    else:
        root.replace(executable, content, 0o755)
        log.info(f"{executable}: {len(content)} bytes")
    root.add_permissions(executable, 0o111)
    changed = used.install(root, executable)
    log.info(used.place(root) + ("" if changed else " is there already"))
    log.info(
        f"azready {'is enabled: it runs at the next boot' if used.enable(root) else 'was enabled already'}"
    )
    if system in _THEN:
        log.info(_THEN[system])


def uninstall(root: "Root", executable: str, log: "Log", *, dry_run: bool) -> None:
    """Take the unit, its links and the file away; markers and the configuration stay. Raises GuestError."""
    if dry_run:
        places = [init.load(name).place(root) for name in init.installed(root)]
        for path in (
            *init.enabled(root),
            *(place for place in places if place.startswith("/etc/")),
            executable,
        ):  # a package's unit is the package's
            log.info(f"would remove {path}")
        return
    removed = init.disable(root)
    for name in init.installed(root):
        place = init.load(name).place(root)
        if init.load(name).uninstall(root):
            removed.append(place)
    if root.discard(executable):
        removed.append(executable)
    log.info(f"removed {', '.join(removed)}" if removed else "nothing of azready was found")


class Generalization:
    """What makes a machine an image again: `actions` is a list of (what is done, in words; the function that does it)."""

    def __init__(self, root: "Root", state_directory: str, user: str) -> None:
        """Look at the system below `root`; nothing is changed yet. Raises UsageError if `user` cannot be removed, GuestError."""
        self._root = root
        removed = list(self._removed(state_directory))
        self.actions = [(f"remove {printable(path)}", self._remover(path)) for path in removed]
        self.actions += self._logs(removed)
        self.actions += self._machine_id()
        self.actions += self._host_name()
        if user:
            self.actions += self._user(user)
        for name in init.installed(root):
            self.actions.append((f"enable azready for the next boot ({name})", self._enabler(name)))

    def _removed(self, state_directory: str) -> "Iterator[str]":
        for pattern in (f"{state_directory}/*", *_REMOVED):
            for path in sorted(_glob(self._root, pattern)):
                if path == _DBUS_ID and self._root.is_link(path):
                    continue  # to /etc/machine-id, which is emptied
                yield path

    def _logs(self, removed: "list[str]") -> "Iterator[tuple[str, Callable[[], object]]]":
        """Empty logs that are written to, and remove those that were rotated.

        So does what is nested too deep to be a log, and a file with a second name, which may be
        another's. What is removed as a whole needs neither.
        """
        waiting = [_LOGS]
        while waiting:
            folder = waiting.pop()
            for name in self._root.names(folder):
                path = f"{folder}/{name}"
                status = self._root.status(path, follow=False)
                if status is None or path in removed:
                    continue
                if S_ISDIR(status.st_mode) and path.count("/") < _DEEPEST_LOG:
                    waiting.append(path)
                elif S_ISDIR(status.st_mode) or (
                    S_ISREG(status.st_mode) and (name.endswith(_ROTATED) or status.st_nlink != 1)
                ):
                    yield f"remove {printable(path)}", self._remover(path)
                elif S_ISREG(status.st_mode) and status.st_size:
                    yield f"empty {printable(path)}", self._emptier(path)

    def _machine_id(self) -> "Iterator[tuple[str, Callable[[], object]]]":
        if self._root.read("/etc/machine-id"):
            # Empty, not missing and not "uninitialized": machine-id(5) on images.
            yield "empty /etc/machine-id", self._emptier("/etc/machine-id")

    def _host_name(self) -> "Iterator[tuple[str, Callable[[], object]]]":
        old = self._root.read(hostname.HOSTNAME)
        if old is None:
            return
        name = old.decode("utf-8", "replace").strip()
        hosts = self._root.read(hostname.HOSTS) or b""
        cleaned = hostname.hosts_without(hosts, name)
        if cleaned != hosts:
            yield (
                f"take {name} out of {hostname.HOSTS}",
                lambda: self._root.replace(hostname.HOSTS, cleaned),
            )
        yield f"remove {hostname.HOSTNAME} ({name})", self._remover(hostname.HOSTNAME)

    def _user(self, user: str) -> "Iterator[tuple[str, Callable[[], object]]]":
        account = accounts.find(self._root, user)
        refused = f"--user {user!r} cannot be removed: "
        if account is None:
            raise UsageError(f"{refused}there is no such user")
        if not accounts.is_person(self._root, account):
            raise UsageError(f"{refused}it belongs to the system, with uid {account.uid}")
        if why := accounts.refusal(user):
            raise UsageError(f"{refused}{why}")
        home = self._home(account, refused)
        if processes := _processes(self._root, account.uid):
            raise UsageError(f"{refused}it has processes ({processes}): end them first")
        for path in (*(f"{folder}/{user}" for folder in _OF_USERS), account.home, home):
            if self._root.status(path, follow=False) is not None:
                yield f"remove {printable(path)}", self._remover(path)
                if path == home:
                    break
        yield (
            f"remove the user {user} (uid {account.uid})",
            lambda: accounts.remove(self._root, user),
        )

    def _home(self, account: "accounts.Account", refused: str) -> str:
        """Return the home of a user with every link followed; refuse one that is not the user's own.

        Raises UsageError: whatever stands in passwd, what is removed must belong to that user.
        """
        home = account.home
        parts = home.strip("/").split("/")
        if not home.startswith("/") or set(parts) & {"", ".", ".."}:
            raise UsageError(f"{refused}its home {home!r} is not a plain absolute path")
        content = self._root.read(accounts.PASSWD) or b""
        for other in accountfiles.entries(content):
            if (
                other[0] != account.name
                and len(other) > 5
                and f"{other[5].rstrip('/')}/".startswith(f"/{'/'.join(parts)}/")
            ):
                raise UsageError(f"{refused}its home {home} holds that of {other[0]}")
        real = self._root.resolve(home.rstrip("/"))
        for path in (home, real):
            if path.strip("/").count("/") == 0 or path.startswith(_SYSTEM_FOLDERS):
                raise UsageError(f"{refused}its home {path} is a folder of the system's")
        status = self._root.status(real)
        if status is not None and (status.st_uid != account.uid or not S_ISDIR(status.st_mode)):
            raise UsageError(
                f"{refused}its home {real} is not a folder of that user (it belongs to uid {status.st_uid})"
            )
        return real

    def _enabler(self, name: str) -> "Callable[[], object]":
        return lambda: init.load(name).enable(self._root)

    def _remover(self, path: str) -> "Callable[[], object]":
        return lambda: self._root.discard_tree(path)

    def _emptier(self, path: str) -> "Callable[[], object]":
        return lambda: self._root.empty(path)


_LOGS = "/var/log"
_DEEPEST_LOG = 16  # parts of a path
_OF_USERS = ("/var/mail", "/var/spool/mail", "/var/spool/cron/crontabs", "/var/spool/cron")
_SYSTEM_FOLDERS = ("/boot/", "/dev/", "/etc/", "/proc/", "/run/", "/sys/", "/usr/")
_USER_MANAGER = ("systemd", "(sd-pam)")  # stays while the user is logged in, and ends after that
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


def _glob(root: "Root", pattern: str) -> "list[str]":
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
                    name
                    for name in root.names(folder or "/")
                    if len(name) >= len(before + after)
                    and name.startswith(before)
                    and name.endswith(after)
                ]
            step += [f"{folder}/{name}" for name in names]
        found = step
    return [path for path in found if root.status(path, follow=False) is not None]


def _processes(root: "Root", uid: int) -> str:
    """Name the processes of a user on this machine, "" if there are none.

    The user may be the one who runs this by sudo: the ancestors of this process do not count, nor
    does the user's own service manager. The fields are those of proc_pid_status(5).
    """
    if not root.is_live:
        return ""
    parents, found = {}, {}
    for pid in root.names("/proc"):
        if not pid.isdigit():
            continue
        try:
            lines = (
                (root.read(f"/proc/{pid}/status") or b"").decode("utf-8", "replace").splitlines()
            )
        except GuestError:
            continue  # it has ended meanwhile
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parents[pid] = fields.get("PPid", "")
        if str(uid) in fields.get("Uid", "").split() and fields.get("Name") not in _USER_MANAGER:
            found[pid] = fields.get("Name", "")
    ancestor = str(posix.getpid())
    while ancestor:
        found.pop(ancestor, None)
        ancestor = parents.pop(ancestor, "")
    return printable(", ".join(f"{pid} {name}" for pid, name in found.items()))


def _own_file() -> bytes:
    """The bytes of the running static file. Raises UsageError when this is Python running from source."""
    if not hasattr(sys, "frozen"):
        raise UsageError(
            "install puts the running file into an image, and this is not the static file: run dist/azready-... install"
        )
    for path in ("/proc/self/exe", sys.executable):
        content = read_given(path, _MAX_OWN)
        if content:
            return content
    raise GuestError(
        f"cannot read the running file, neither as /proc/self/exe nor as {sys.executable}"
    )


def _given_file(path: str) -> bytes:
    """The bytes of a static file for another machine. Raises UsageError, GuestError."""
    content = read_given(path, _MAX_OWN)
    if content is None:
        raise UsageError(f"--file {path!r} cannot be used: no such file")
    if not _machine(content):
        raise UsageError(
            f"--file {path!r} cannot be used: it is no program; name a file such as azready-linux-aarch64"
        )
    return content


def _check_machine(root: "Root", content: bytes) -> None:
    """Refuse an image whose programs are for another processor. Raises GuestError."""
    own = _machine(content)
    for path in _TYPICAL:
        try:
            found = _machine(root.head(path, 64))
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
