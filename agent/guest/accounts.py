"""The user whom the platform asks for: account, home folder, groups.

An account is made by the image's own tool (useradd, else busybox adduser) and, without one, by editing the four files under the lock that the shadow
tools use. Whatever made it, what is missing of it is completed then: a run that was killed in between is simply run again. The rules of the files are
those of passwd(5), shadow(5), group(5), gshadow(5) and login.defs(5).
"""

import posix
from errno import EROFS
from time import monotonic, sleep, time

from agent.errors import GuestError, reason
from agent.guest import accountfiles, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.log import Log
    from agent.root import Root

PASSWD, SHADOW, GROUP, GSHADOW = "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"
MAX_NAME = 32  # bytes, LOGIN_NAME_MAX of the tools
LOCK_LIMIT = 15.0  # seconds, as lckpwdf(3)
LOCKED = "!"

_LOCK = "/etc/.pwd.lock"
_DEFAULTS = {
    "UID_MIN": 1000,
    "UID_MAX": 60000,
    "PASS_MIN_DAYS": 0,
    "PASS_MAX_DAYS": 99999,
    "PASS_WARN_AGE": 7,
    "HOME_MODE": 0o700,
}
_OCTAL = ("HOME_MODE",)
_NOBODY = 65534
_FIRST_SANE_DAY = 18262  # 2020-01-01: before it the clock is not set, and a day of last change would make the password look expired


class Account:
    """One line of passwd: `name`, `uid`, `gid`, `home` (path inside the root), `shell`."""

    __slots__ = ("gid", "home", "name", "shell", "uid")

    def __init__(self, fields: "list[str]") -> None:
        self.name = fields[0]
        self.uid = accountfiles.number(fields, 2)
        self.gid = accountfiles.number(fields, 3)
        self.home = fields[5]
        self.shell = fields[6]


class Locked:
    """Holds the lock of the account files below `root` (lckpwdf(3)) as a context manager. Raises GuestError if it is not free within LOCK_LIMIT."""

    def __init__(self, root: "Root") -> None:
        self._root = root
        self._fd = -1

    def __enter__(self) -> None:
        self._root.make_folders("/etc")
        place = self._root.shown(_LOCK)
        end = monotonic() + LOCK_LIMIT
        try:
            self._fd = self._root.open(_LOCK, posix.O_RDWR | posix.O_CREAT)
        except OSError as error:
            if error.errno == EROFS:
                return  # nobody can change a thing; an account that is complete needs no change
            raise GuestError(f"cannot open the lock {place}: {reason(error)}") from None
        while True:
            try:
                posix.lockf(self._fd, posix.F_TLOCK, 0)
                return
            except OSError as error:
                if monotonic() > end:
                    posix.close(self._fd)
                    raise GuestError(
                        f"cannot lock {place} within {LOCK_LIMIT:g} s, another program edits the accounts: {reason(error)}"
                    ) from None
            sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            posix.close(self._fd)


def refusal(name: str) -> str:
    """Why `name` may not be a user's name, "" if it may (the portable characters of POSIX 3.437, and what the shadow tools refuse)."""
    if not name:
        return "it is empty"
    if name == "root":
        return "root is no user to log in as"
    if len(name.encode("utf-8", "replace")) > MAX_NAME:
        return f"it has more than {MAX_NAME} bytes"
    odd = next(
        (
            character
            for character in name
            if not (character.isascii() and (character.isalnum() or character in "._-"))
        ),
        "",
    )
    if odd:
        return f"it holds {odd!r}; letters, digits, '.', '_' and '-' may be in a user name"
    if name.startswith("-"):
        return "it starts with '-'"
    if name in (".", "..") or name.isdigit():
        return "it would be taken for something else than a name"
    return ""


def find(root: "Root", name: str) -> "Account | None":
    """The account `name`, None if there is none. Raises GuestError."""
    fields = accountfiles.entry(_read(root, PASSWD), name)
    return Account([*fields, *[""] * 7][:7]) if fields else None


def check(root: "Root", name: str) -> "Account | None":
    """The account `name`, None if it is to be made. Raises GuestError if nobody may log in by that name."""
    if why := refusal(name):
        raise GuestError(f"the user name {name!r} is refused: {why}")
    account = find(root, name)
    if account and not is_person(root, account):
        raise GuestError(
            f"the user name {name!r} is refused: it belongs to the system, with uid {account.uid}"
        )
    return account


def ensure(root: "Root", name: str, shell: str, log: "Log") -> Account:
    """Make the account `name`, or keep and complete the one that is there; `shell` is for a new one. The home is made, too.

    Raises GuestError if the name is refused, belongs to the system, or the files cannot be written.
    """
    settings = login_settings(root)
    before = check(root, name)
    if not before:
        _create_by_program(root, name, shell, log)
    with Locked(root):
        _complete(root, name, shell, settings)
    account = check(root, name)
    if account is None:
        raise GuestError(f"the user {name} was made and cannot be found in {PASSWD}")
    if not before:
        log.info(f"user {name}: uid {account.uid}, {account.home}, {account.shell}")
    _make_home(root, account, settings["HOME_MODE"])
    return account


def add_to_groups(root: "Root", account: Account, groups: "Iterable[str]", log: "Log") -> None:
    """Make the account a member of those of `groups` that exist. Raises GuestError."""
    with Locked(root):
        content = _read(root, GROUP)
        joined = []
        for group in groups:
            fields = accountfiles.entry(content, group)
            if (
                fields
                and accountfiles.number(fields, 2) != account.gid
                and group not in accountfiles.groups_of(content, account.name)
            ):
                joined.append(group)
        _write_changed(
            root, GSHADOW, lambda old: _with_members(old, joined, account.name), only_existing=True
        )
        _write_changed(root, GROUP, lambda old: _with_members(old, joined, account.name))
    if joined:
        log.info(f"user {account.name} is in {', '.join(joined)}")


def default_shell(root: "Root") -> str:
    """bash if the image has it, in its traditional place if it is there, too; else sh."""
    return "/bin/bash" if root.exists("/bin/bash") else programs.find(root, "bash") or "/bin/sh"


def login_settings(root: "Root") -> "dict[str, int]":
    """What /etc/login.defs says about new accounts, with the tools' own defaults for the rest. Raises GuestError."""
    settings = dict(_DEFAULTS)
    for line in _read(root, "/etc/login.defs").decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in settings:
            try:
                settings[words[0]] = int(words[1], 8 if words[0] in _OCTAL else 10)
            except ValueError:
                continue
    return settings


def remove(root: "Root", name: str) -> None:
    """Take the account out of the account files and out of every group; its files stay. Raises GuestError."""
    with Locked(root):
        for path in (SHADOW, GSHADOW, GROUP, "/etc/subuid", "/etc/subgid"):
            _write_changed(
                root, path, lambda old: accountfiles.without_entry(old, name), only_existing=True
            )
        for path in (GSHADOW, GROUP):
            _write_changed(
                root, path, lambda old: accountfiles.without_member(old, name), only_existing=True
            )
        _write_changed(
            root, PASSWD, lambda old: accountfiles.without_entry(old, name), only_existing=True
        )


def is_person(root: "Root", account: Account) -> bool:
    """Whether the account is one that people log in to: neither root nor the system's. Raises GuestError."""
    return login_settings(root)["UID_MIN"] <= account.uid != _NOBODY


def set_password_field(root: "Root", name: str, value: str) -> None:
    """Put `value`, a hash or a lock, into the second field of the account's shadow entry. Raises GuestError."""
    with Locked(root):
        content = _read(root, SHADOW)
        fields = accountfiles.entry(content, name)
        if not fields:
            raise GuestError(f"{SHADOW} has no entry for {name}")
        if fields[1] != value:
            _write(
                root,
                SHADOW,
                accountfiles.with_entry(
                    content, [fields[0], value, today() or fields[2], *fields[3:]]
                ),
            )


def has_shadow_entry(root: "Root", name: str) -> bool:
    """Whether /etc/shadow knows the account. Raises GuestError."""
    return bool(accountfiles.entry(_read(root, SHADOW), name))


def password_field(root: "Root", name: str) -> str:
    """The second field of the account's shadow entry, "" if there is none. Raises GuestError."""
    fields = accountfiles.entry(_read(root, SHADOW), name)
    return fields[1] if len(fields) > 1 else ""


def today() -> str:
    """The day of today as shadow(5) counts it, "" if the clock is obviously not set."""
    day = int(time()) // 86400
    return str(day) if day >= _FIRST_SANE_DAY else ""


def relabel(root: "Root", path: str, log: "Log") -> None:
    """Give files below `path` the SELinux labels that the policy has for them, where the tool for it is there."""
    restorecon = programs.usable(root, "restorecon")
    if restorecon:
        try:
            result = programs.run([restorecon, "-R", path])
        except GuestError as error:
            log.warning(str(error))
        else:
            if result.code:
                log.warning(f"restorecon -R {path} {result}")


def _create_by_program(root: "Root", name: str, shell: str, log: "Log") -> None:
    """Let the image's own tool make the account, without home: that is ours. If it fails, the files are edited instead."""
    group_exists = bool(accountfiles.entry(_read(root, GROUP), name))
    if root.read(PASSWD) is None:
        return  # no tool starts from nothing
    if useradd := programs.usable(root, "useradd"):
        words = [
            useradd,
            "--no-create-home",
            "--shell",
            shell,
            *(["--gid", name] if group_exists else ["--user-group"]),
            name,
        ]
    elif adduser := _busybox_adduser(root):
        words = [
            adduser,
            "-D",
            "-H",
            "-h",
            f"/home/{name}",
            "-s",
            shell,
            *(["-G", name] if group_exists else []),
            name,
        ]
    else:
        return
    try:
        result = programs.run(words)
    except GuestError as error:
        log.warning(f"{error}; the account files are edited instead")
        return
    if result.code:
        log.warning(f"{words[0]} {result}; the account files are edited instead")


def _busybox_adduser(root: "Root") -> str:
    """The adduser of busybox; Debian has another program of that name, with other options."""
    adduser = programs.usable(root, "adduser")
    return (
        adduser
        if adduser and root.resolve(adduser).rpartition("/")[2].startswith("busybox")
        else ""
    )


def _complete(root: "Root", name: str, shell: str, settings: "dict[str, int]") -> None:
    """Write the entries of the account that are missing, passwd last, so that the account is there only when it is whole."""
    passwd, group = _read(root, PASSWD), _read(root, GROUP)
    fields, own_group = accountfiles.entry(passwd, name), accountfiles.entry(group, name)
    if fields:
        uid, gid = accountfiles.number(fields, 2), accountfiles.number(fields, 3)
        needs_group = (
            not any(accountfiles.number(other, 2) == gid for other in accountfiles.entries(group))
            and not own_group
        )
    else:
        uid, gid = _free_ids(passwd, group, own_group, settings)
        needs_group = not own_group
    if needs_group or own_group:
        _write_changed(
            root,
            GSHADOW,
            lambda old: (
                old
                if accountfiles.entry(old, name)
                else accountfiles.with_entry(old, [name, "!", "", ""])
            ),
            only_existing=True,
        )
    if needs_group:
        _write(root, GROUP, accountfiles.with_entry(group, [name, "x", str(gid), ""]))
    shadow = _read(root, SHADOW)
    if not accountfiles.entry(shadow, name) and (not fields or fields[1] == "x"):
        days = [str(settings[key]) for key in ("PASS_MIN_DAYS", "PASS_MAX_DAYS", "PASS_WARN_AGE")]
        _write(
            root,
            SHADOW,
            accountfiles.with_entry(shadow, [name, LOCKED, today(), *days, "", "", ""]),
        )
    if not fields:
        _write(
            root,
            PASSWD,
            accountfiles.with_entry(
                passwd, [name, "x", str(uid), str(gid), "", f"/home/{name}", shell]
            ),
        )


def _free_ids(
    passwd: bytes, group: bytes, own_group: "list[str]", settings: "dict[str, int]"
) -> "tuple[int, int]":
    """(uid, gid) for a new account: the first number that is free as both, or the number of a group that has the name already."""
    uids = {accountfiles.number(fields, 2) for fields in accountfiles.entries(passwd)}
    gids = {accountfiles.number(fields, 2) for fields in accountfiles.entries(group)}
    if own_group:
        gid = accountfiles.number(own_group, 2)
        if gid < 0:
            raise GuestError(f"the group {own_group[0]} has no number in {GROUP}")
        gids.clear()
        if settings["UID_MIN"] <= gid <= settings["UID_MAX"] and gid not in uids:
            return gid, gid
    for number in range(settings["UID_MIN"], settings["UID_MAX"] + 1):
        if number not in uids and number not in gids:
            return number, gid if own_group else number
    raise GuestError(f"no user id from {settings['UID_MIN']} to {settings['UID_MAX']} is free")


def _make_home(root: "Root", account: Account, mode: int) -> None:
    """Make the home from /etc/skel beside its place and rename it there, so that it is whole or not there. An existing one is kept."""
    if not account.home.startswith("/"):
        raise GuestError(f"the home {account.home!r} of {account.name} is no absolute path")
    root.plant(account.home, "/etc/skel", mode, (account.uid, account.gid))


def _with_members(content: bytes, groups: "list[str]", member: str) -> bytes:
    for group in groups:
        content = accountfiles.with_member(content, group, member)
    return content


def _read(root: "Root", path: str) -> bytes:
    return root.read(path) or b""


def _write(root: "Root", path: str, content: bytes) -> None:
    """Replace an account file; one that is not there yet gets the rights that distributions give it."""
    if path in (SHADOW, GSHADOW):
        shadow_group = accountfiles.number(accountfiles.entry(_read(root, GROUP), "shadow"), 2)
        root.replace(
            path, content, 0o640 if shadow_group >= 0 else 0o600, (0, max(shadow_group, 0))
        )
    else:
        root.replace(path, content)


def _write_changed(
    root: "Root", path: str, edit: "Callable[[bytes], bytes]", *, only_existing: bool = False
) -> None:
    old = root.read(path)
    if old is None and only_existing:
        return
    new = edit(old or b"")
    if new != (old or b""):
        _write(root, path, new)
