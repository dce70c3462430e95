"""Removes a user from a machine: account, home, mail, crontab. What is not surely theirs stays.

Used by `azready generalize --user`. Whatever /etc/passwd says, only what belongs to that user is
removed, because this may run as root on the machine that builds images.
"""

import posix
from stat import S_ISDIR

from agent import accounts
from agent.change import Change, removal
from agent.errors import GuestError, UsageError
from agent.formats import accounts as formats
from agent.log import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.formats.accounts import Account
    from agent.root import Root

_OF_USERS = ("/var/mail", "/var/spool/mail", "/var/spool/cron/crontabs", "/var/spool/cron")
_SYSTEM_FOLDERS = ("/boot/", "/dev/", "/etc/", "/proc/", "/run/", "/sys/", "/usr/")
_USER_MANAGER = ("systemd", "(sd-pam)")  # stays while the user is logged in, and ends after that


def changes(root: "Root", user: str) -> "Iterator[Change]":
    """Yield the removal of the user. Raises UsageError if it cannot be removed, GuestError."""
    refused = f"--user {user!r} cannot be removed: "
    account = accounts.find(root, user)
    if account is None:
        raise UsageError(f"{refused}there is no such user")
    if not accounts.is_person(root, account):
        raise UsageError(f"{refused}it belongs to the system, with uid {account.uid}")
    if why := formats.refusal(user):
        raise UsageError(f"{refused}{why}")
    home = _home(root, account, refused)
    if processes := _processes(root, account.uid):
        raise UsageError(f"{refused}it has processes ({processes}): end them first")
    paths = [*(f"{folder}/{user}" for folder in _OF_USERS), account.home, home]
    for path in dict.fromkeys(paths):
        if root.status(path, follow=False) is not None:
            yield removal(root, path)
    yield Change(f"remove the user {user} (uid {account.uid})", lambda: accounts.remove(root, user))


def _home(root: "Root", account: "Account", refused: str) -> str:
    """Return the home of a user with every link followed; refuse one that is not the user's own.

    Raises UsageError: whatever stands in passwd, what is removed must belong to that user.
    """
    home = account.home
    parts = home.strip("/").split("/")
    if not home.startswith("/") or set(parts) & {"", ".", ".."}:
        raise UsageError(f"{refused}its home {home!r} is not a plain absolute path")
    content = root.read(formats.PASSWD) or b""
    for other in formats.entries(content):
        if (
            other[0] != account.name
            and len(other) > 5
            and f"{other[5].rstrip('/')}/".startswith(f"/{'/'.join(parts)}/")
        ):
            raise UsageError(f"{refused}its home {home} holds that of {other[0]}")
    real = root.resolve(home.rstrip("/")) if root.exists(home) else home.rstrip("/")
    for path in (home, real):
        if path.strip("/").count("/") == 0 or path.startswith(_SYSTEM_FOLDERS):
            raise UsageError(f"{refused}its home {path} is a folder of the system's")
    status = root.status(real)
    if status is not None and (status.st_uid != account.uid or not S_ISDIR(status.st_mode)):
        raise UsageError(
            f"{refused}its home {real} is not a folder of that user "
            f"(it belongs to uid {status.st_uid})"
        )
    return real


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
