"""The account files of a root: read, and edited under the lock that the shadow tools use.

The rules of the files are those of passwd(5), shadow(5), group(5), gshadow(5) and login.defs(5).
An account is created by the image's own tool (useradd, else busybox adduser) or, without one, by
editing the four files. `create` also completes what an interrupted run left.
"""

from time import time

from agent import account_tools, programs
from agent.account_lock import Locked
from agent.errors import GuestError
from agent.formats import accounts
from agent.formats.accounts import GROUP, GSHADOW, LOCKED, PASSWD, SHADOW, Account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.log import Log
    from agent.root import Root

_NOBODY = 65534
# 2020-01-01: before it the clock is not set, and the day would make the password look expired.
_FIRST_SANE_DAY = 18262


def find(root: "Root", name: str) -> "Account | None":
    """Return the account `name`, None if it does not exist. Raises GuestError."""
    return accounts.find(_read(root, PASSWD), name)


def find_person(root: "Root", name: str) -> "Account | None":
    """Return the account `name`, None if it can be created.

    Raises GuestError if nobody may log in under that name.
    """
    if why := accounts.refusal(name):
        raise GuestError(f"the user name {name!r} is refused: {why}")
    passwd = _read(root, PASSWD)
    account = accounts.find(passwd, name)
    if not account and (other := accounts.twin(passwd, name)):
        raise GuestError(
            f"the user name {name!r} is refused: there is {other} already, and sudo does not "
            "tell upper case from lower case"
        )
    if account and not is_person(root, account):
        raise GuestError(
            f"the user name {name!r} is refused: it belongs to the system, with uid {account.uid}"
        )
    return account


def twin(root: "Root", name: str) -> str:
    """Return the name of another account that differs only in its case, "" without.

    What sudo allows one of them, it allows the other (case_insensitive_user in sudoers(5)).
    """
    return accounts.twin(_read(root, PASSWD), name)


def is_person(root: "Root", account: Account) -> bool:
    """Tell whether people log in to the account: it is not root's or the system's."""
    return login_settings(root)["UID_MIN"] <= account.uid != _NOBODY


def login_settings(root: "Root") -> "dict[str, int]":
    """Return the settings for new accounts, see formats.accounts.login_settings."""
    return accounts.login_settings(_read(root, "/etc/login.defs"))


def default_shell(root: "Root") -> str:
    """Return bash if the image has it, preferably in its traditional place, else sh."""
    return "/bin/bash" if root.exists("/bin/bash") else programs.find(root, "bash") or "/bin/sh"


def predict(root: "Root", name: str, shell: str) -> Account:
    """Return the account that `create` will create. Raises GuestError."""
    group = _read(root, GROUP)
    own_group = accounts.entry(group, name)
    uid, gid = accounts.free_ids(_read(root, PASSWD), group, own_group, login_settings(root))
    return Account(name, uid, gid, usual_home(root, name), shell)


def is_complete(root: "Root", account: Account) -> bool:
    """Tell whether an existing account has its shadow entry and its group. Raises GuestError."""
    return not needs_shadow(root, account.name) and not _needs_group(_read(root, GROUP), account)


def needs_shadow(root: "Root", name: str) -> bool:
    """Tell whether `create` will write the shadow entry, for an account that may not exist yet."""
    return accounts.needs_shadow(_read(root, PASSWD), _read(root, SHADOW), name)


def create(root: "Root", name: str, shell: str, log: "Log", *, is_new: bool = False) -> None:
    """Create the account `name` without a home, or complete it; `shell` is for a new one.

    Raises GuestError if the files cannot be written.
    """
    home = usual_home(root, name)
    if is_new:
        account_tools.create(root, name, home, shell, log)
    with Locked(root):
        _complete(root, name, home, shell)
    if find(root, name) is None:
        raise GuestError(f"the user {name} was created but is missing in {PASSWD}")


def missing_groups(root: "Root", account: Account, groups: "Sequence[str]") -> "list[str]":
    """Return those of `groups` that exist and do not have the account as a member."""
    content = _read(root, GROUP)
    own = accounts.groups_of(content, account.name)
    found = []
    for group in groups:
        fields = accounts.entry(content, group)
        if fields and accounts.number(fields, 2) != account.gid and group not in own:
            found.append(group)
    return found


def group_names(root: "Root", name: str, joining: "Sequence[str]" = ()) -> "list[str]":
    """Return the groups of the account `name`, with its primary one and those of `joining`.

    Of `joining` those count that exist; an account that is missing has a group of its name.
    """
    content, account = _read(root, GROUP), find(root, name)
    gid = account.gid if account else -1
    primary = [
        fields[0] for fields in accounts.entries(content) if accounts.number(fields, 2) == gid
    ]
    known = [group for group in joining if accounts.entry(content, group)]
    own = accounts.groups_of(content, name)
    return list(dict.fromkeys((*(primary or [name]), *own, *known)))


def add_to_groups(root: "Root", name: str, groups: "Sequence[str]") -> None:
    """Make the account a member of `groups`, as far as they exist. Raises GuestError."""

    def with_members(content: bytes) -> bytes:
        for group in groups:
            content = accounts.with_member(content, group, name)
        return content

    with Locked(root):
        _edit(root, GSHADOW, with_members)
        _edit(root, GROUP, with_members)


def remove(root: "Root", name: str) -> None:
    """Remove the account from the account files and from every group; its files stay.

    Raises GuestError.
    """
    with Locked(root):
        for path in (SHADOW, GSHADOW, GROUP, "/etc/subuid", "/etc/subgid"):
            _edit(root, path, lambda old: accounts.without_entry(old, name))
        for path in (GSHADOW, GROUP):
            _edit(root, path, lambda old: accounts.without_member(old, name))
        _edit(root, PASSWD, lambda old: accounts.without_entry(old, name))


def password_field(root: "Root", name: str) -> "str | None":
    """Return the password field of the shadow entry, None without an entry. Raises GuestError."""
    fields = accounts.entry(_read(root, SHADOW), name)
    return (fields[1] if len(fields) > 1 else "") if fields else None


def has_password(root: "Root", name: str) -> bool:
    """Tell whether the account has a password that lets somebody in. Raises GuestError."""
    return (password_field(root, name) or "")[:1] not in ("", "!", "*")


def set_password_field(root: "Root", name: str, value: str) -> None:
    """Put a hash or a lock into the shadow entry of the account. Raises GuestError."""

    def with_value(fields: "list[str]") -> "list[str]":
        if fields[1] == value:
            return fields
        return [fields[0], value, today() or fields[2], *fields[3:]]

    edit_entry(root, SHADOW, name, with_value)


def edit_entry(
    root: "Root", path: str, name: str, edit: "Callable[[list[str]], list[str]]"
) -> None:
    """Replace the entry `name` of an account file if `edit` changes its fields.

    Raises GuestError, also if there is no such entry.
    """
    with Locked(root):
        content = _read(root, path)
        fields = accounts.entry(content, name)
        if not fields:
            raise GuestError(f"{path} has no entry for {name}")
        if (changed := edit(fields)) != fields:
            _write(root, path, accounts.with_entry(content, changed))


def today() -> str:
    """Return the number of today in shadow(5), "" if the clock is obviously not set."""
    day = int(time()) // 86400
    return str(day) if day >= _FIRST_SANE_DAY else ""


def relabel(root: "Root", path: str, log: "Log") -> None:
    """Give the files below `path` their SELinux labels, if the image has the tool for that."""
    restorecon = programs.usable(root, "restorecon")
    if not restorecon:
        return
    try:
        result = programs.run([restorecon, "-R", path])
    except GuestError as error:
        log.warning(str(error))
    else:
        if result.code:
            log.warning(f"restorecon -R {path} {result}")


def usual_home(root: "Root", name: str) -> str:
    """Return the home of a new account, in the folder that useradd(8) would choose."""
    for line in _read(root, "/etc/default/useradd").decode("utf-8", "replace").splitlines():
        key, _, folder = line.partition("=")
        if key == "HOME" and folder.startswith("/") and folder.isprintable() and ":" not in folder:
            return f"{folder.rstrip('/')}/{name}"
    return f"/home/{name}"


def _complete(root: "Root", name: str, home: str, shell: str) -> None:
    """Write the missing entries of the account, passwd last: no account before it is whole."""
    settings = login_settings(root)
    passwd, group, shadow = (_read(root, path) for path in (PASSWD, GROUP, SHADOW))
    fields, own_group = accounts.entry(passwd, name), accounts.entry(group, name)
    if fields:
        account = accounts.account(fields)
    else:
        uid, gid = accounts.free_ids(passwd, group, own_group, settings)
        account = Account(name, uid, gid, home, shell)
    needs_group = _needs_group(group, account)
    if needs_group or own_group:
        _edit(root, GSHADOW, lambda old: _with_group_shadow(old, name))
    if needs_group:
        _write(root, GROUP, accounts.with_entry(group, [name, "x", str(account.gid), ""]))
    if accounts.needs_shadow(passwd, shadow, name):
        days = [str(settings[key]) for key in ("PASS_MIN_DAYS", "PASS_MAX_DAYS", "PASS_WARN_AGE")]
        field = fields[1] if fields and fields[1] != "x" else LOCKED
        entry = [name, field, today(), *days, "", "", ""]
        _write(root, SHADOW, accounts.with_entry(shadow, entry), group)
        if fields:
            _write(root, PASSWD, accounts.with_entry(passwd, [name, "x", *fields[2:]]))
    if not fields:
        ids = [str(account.uid), str(account.gid)]
        entry = [name, "x", *ids, "", account.home, shell]
        _write(root, PASSWD, accounts.with_entry(passwd, entry))


def _needs_group(group: bytes, account: Account) -> bool:
    """Tell whether no group has the account's number or name."""
    return not any(
        fields[0] == account.name or accounts.number(fields, 2) == account.gid
        for fields in accounts.entries(group)
    )


def _with_group_shadow(content: bytes, name: str) -> bytes:
    if accounts.entry(content, name):
        return content
    return accounts.with_entry(content, [name, "!", "", ""])


def _read(root: "Root", path: str) -> bytes:
    return root.read(path) or b""


def _write(root: "Root", path: str, content: bytes, group: bytes = b"") -> None:
    """Replace an account file; a new one gets the mode and group that distributions give it.

    The number of that group is in `group`, the content of the file; without, root alone reads it.
    """
    if path in (SHADOW, GSHADOW):
        shadow_group = accounts.number(accounts.entry(group, "shadow"), 2)
        mode = 0o640 if shadow_group >= 0 else 0o600
        root.replace(path, content, mode, (0, max(shadow_group, 0)))
    else:
        root.replace(path, content)


def _edit(root: "Root", path: str, edit: "Callable[[bytes], bytes]") -> None:
    """Replace an existing account file if `edit` changes it."""
    old = root.read(path)
    if old is not None and (new := edit(old)) != old:
        _write(root, path, new)
