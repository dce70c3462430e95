"""Authorize the user's SSH keys, in the files that the platform names or the default one."""

from stat import S_IMODE

from agent import accounts, sshd
from agent.change import Change, Step
from agent.errors import GuestError
from agent.formats import authorized_keys, sshd_config
from agent.steps import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.formats.accounts import Account
    from agent.formats.authorized_keys import Key
    from agent.root import Root

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_READABLE = 0o444  # of a file outside of the home


def changes(boot: "Boot") -> "Changes":
    """Yield one change for each file that lacks keys, or that sshd would not trust.

    Keys that cannot be used are warnings: the step `login` knows whether there is another way in.
    Raises GuestError if there is no home to put them in.
    """
    account = user.known(boot)
    if account is None:
        return
    keys = boot.profile.public_keys
    if not keys:
        return
    server = sshd.server(boot)
    files = sshd_config.key_files(server, account.name, account.uid, account.home)
    if not files:
        files = (f"{account.home.rstrip('/')}/.ssh/authorized_keys",)
        boot.log.warning(f"sshd reads no file of keys (AuthorizedKeysFile none); using {files[0]}")
    by_path, remarks = authorized_keys.sort(account.name, keys, files)
    for path in sorted(set(by_path) & set(sshd_config.key_files(server, "", -1, "/none"))):
        remarks.append(f"sshd reads {path} for every account: these keys open all of them")
    for remark in remarks:
        boot.log.warning(remark)
    if by_path and not boot.config.steps["user"] and boot.root.status(account.home) is None:
        raise GuestError(
            f"the home {account.home} of {account.name} does not exist, and steps.user is off"
        )
    for path, wanted in by_path.items():
        if not _is_authorized(boot.root, account, path, wanted):
            yield _authorizing(boot, account, path, wanted)
            boot.promised.add("key")


def _authorizing(boot: "Boot", account: "Account", path: str, keys: "list[Key]") -> Change:
    text = f"authorize {len(keys)} SSH key{'s' * (len(keys) != 1)} in {path}"

    def apply() -> None:
        authorize(boot.root, account, path, keys)
        accounts.relabel(boot.root, path.rpartition("/")[0], boot.log)

    return Change(text, apply)


def _is_inside(account: "Account", path: str) -> bool:
    """Tell whether the file is in the user's home, where the user can exchange everything.

    What is below a home / is not the user's.
    """
    home = account.home.rstrip("/")
    return bool(home) and path.startswith(f"{home}/") and ".." not in path.split("/")


def _inside(account: "Account", path: str) -> "tuple[list[str], str]":
    """Return (the folders from the home down, the file), all as paths below the home."""
    inside = path.removeprefix(account.home.rstrip("/"))
    folders = []
    reached = ""
    for part in inside.rpartition("/")[0].split("/"):
        if part:
            reached += f"/{part}"
            folders.append(reached)
    return folders, inside


def _is_authorized(root: "Root", account: "Account", path: str, keys: "list[Key]") -> bool:
    if not _is_inside(account, path):
        status = root.status(path)
        return (
            status is not None
            and status.st_mode & _READABLE == _READABLE
            and authorized_keys.merged(content := root.read(path) or b"", keys) == content
        )
    folders, inside = _inside(account, path)
    if root.status(account.home) is None:
        return False
    with root.below(account.home) as home:
        for place, most in (*((folder, _FOLDER_MODE) for folder in folders), (inside, _FILE_MODE)):
            status = home.status(place)
            if status is None or S_IMODE(status.st_mode) & ~most:
                return False
            if (status.st_uid, status.st_gid) != (account.uid, account.gid):
                return False
        content = home.read(inside) or b""
        return authorized_keys.merged(content, keys) == content


def authorize(root: "Root", account: "Account", path: str, keys: "list[Key]") -> None:
    """Merge the keys into the file. In the home, folders get 0700, the file 0600, both the owner.

    The owner of the home may work against this: it is entered once, and no link leads out of it.
    A file elsewhere belongs to root, and sshd reads it as the user. Raises GuestError.
    """
    if not _is_inside(account, path):
        root.replace(path, authorized_keys.merged(root.read(path) or b"", keys))
        root.add_permissions(path, _READABLE)
        root.settle((path.rpartition("/")[0],))
        return
    owner = (account.uid, account.gid)
    folders, inside = _inside(account, path)
    with root.below(account.home) as home:
        for folder in folders:
            home.make_folders(folder, _FOLDER_MODE)
            home.restrict(folder, _FOLDER_MODE, owner)
        before = home.read(inside)
        after = authorized_keys.merged(before or b"", keys)
        if after != before:
            home.replace(inside, after, _FILE_MODE, owner)
            home.settle(("/", *folders[-1:]))
        home.restrict(inside, _FILE_MODE, owner)


SSH_KEYS = Step("ssh_keys", "Authorize the user's SSH keys.", changes, fatal=True)
