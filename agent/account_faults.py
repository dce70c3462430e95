"""What keeps the owner of an existing account from logging in, and how it is put right.

An image may bring the user that the platform names: as a service account without a shell, with a
date at which it expires, or with a home that root made (passwd(5), shadow(5), sshd(8)).
"""

from agent import accounts
from agent.change import Change
from agent.errors import GuestError
from agent.formats.accounts import PASSWD, SHADOW, entry, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.formats.accounts import Account
    from agent.root import Root

_NO_LOGIN = ("nologin", "false", "true", "sync", "halt", "shutdown")
_LOCKS = ("!", "*")
_CHANGED, _MAX, _EXPIRES = 2, 4, 7  # fields of shadow(5), in days


def faults(
    root: "Root", account: "Account", login_shell: "Callable[[], str]"
) -> "Iterator[tuple[str, Change | None]]":
    """Yield (the fault, what puts it right or None) for an account. Raises GuestError.

    `login_shell` returns the shell for an account that has none to log in with.
    """
    name = account.name
    if why := _shell_fault(root, account):
        shell = login_shell()
        change = Change(
            f"set the shell of {name} to {shell}", lambda: _set_shell(root, name, shell)
        )
        yield why, change if root.is_executable(shell) else None
    if _is_expired(entry(root.read(SHADOW) or b"", name)):
        yield (
            f"the account {name} has expired (shadow(5))",
            Change(f"renew the dates of the account {name}", lambda: _renew(root, name)),
        )


def _shell_fault(root: "Root", account: "Account") -> str:
    """Return why the shell lets nobody in, "" if it does."""
    shell = account.shell or "/bin/sh"
    refuses = f"the shell {shell} of {account.name} refuses logins"
    if shell.rpartition("/")[2] in _NO_LOGIN:
        return refuses
    if not root.is_executable(shell):
        return f"the shell {shell} of {account.name} does not exist"
    return refuses if root.resolve(shell).rpartition("/")[2] in _NO_LOGIN else ""


def home_change(root: "Root", account: "Account") -> "Change | None":
    """Return what makes sshd trust a home that exists, None if nothing is to be done.

    A home that root made in the usual place becomes the user's; of a home that is the user's own,
    others lose the right to write. Any other home stays as it is. Raises GuestError.
    """
    status = root.status(account.home)
    if status is None or not root.is_folder(account.home):
        raise GuestError(f"the home {account.home} of {account.name} is not a folder")
    owner = (account.uid, account.gid)
    is_own = status.st_uid == account.uid
    is_roots = status.st_uid == 0 and account.home == accounts.usual_home(root, account.name)
    if is_roots or (is_own and status.st_mode & 0o022):
        text = f"give the home {account.home} to {account.name}, and to nobody else for writing"
        return Change(text, lambda: root.restrict(account.home, 0o755, owner))
    return None


def _is_expired(fields: "list[str]") -> bool:
    """Tell whether the account, or a locked password that PAM would demand to change, is too old.

    Nobody who has the key alone could change it.
    """
    today = accounts.today()
    if not today:
        return False
    expires, changed, most = (number(fields, at) for at in (_EXPIRES, _CHANGED, _MAX))
    if 0 <= expires <= int(today):
        return True
    if "".join(fields[1:2])[:1] not in _LOCKS:
        return False
    return changed == 0 or (changed > 0 and most >= 0 and changed + most < int(today))


def _renew(root: "Root", name: str) -> None:
    def renewed(fields: "list[str]") -> "list[str]":
        fields = [*fields, *[""] * 9][:9]
        fields[_EXPIRES] = ""
        if fields[1][:1] in _LOCKS:
            fields[_CHANGED] = accounts.today()
        return fields

    accounts.edit_entry(root, SHADOW, name, renewed)


def _set_shell(root: "Root", name: str, shell: str) -> None:
    accounts.edit_entry(root, PASSWD, name, lambda fields: [*fields[:6], shell])
