"""Make sure that the user can log in, as sshd sees it. Ready means nothing else to its owner."""

from stat import S_IMODE

from agent import account_faults, accounts, sshd
from agent.change import Step
from agent.errors import GuestError
from agent.formats import authorized_keys, sshd_config
from agent.steps import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.formats.accounts import Account
    from agent.formats.sshd_config import Server

_CLOSED = "/etc/nologin"  # where it exists, sshd or PAM lets in root alone


def changes(boot: "Boot") -> "Changes":
    """Change nothing. Raises GuestError, with the reasons, if there is no way in."""
    yield from ()
    account = user.known(boot)
    if account and (why := _obstacle(boot, account)):
        raise GuestError(f"nobody could log in as {account.name}: {why}")


def _obstacle(boot: "Boot", account: "Account") -> str:
    """Return what keeps the user out, "" if nothing does. Raises GuestError."""
    has_sshd = sshd.config(boot.root) is not None
    if has_sshd and boot.root.exists(_CLOSED):
        return f"remove {_CLOSED}, see nologin(5)"
    server = sshd.server(boot)
    groups = sshd.groups(boot) if server.allow_groups or server.deny_groups else []
    if keyword := sshd_config.refusal(server, account.name, groups):
        return f"{keyword} in sshd's configuration"
    if has_sshd:
        mends = boot.rehearsing and boot.config.steps["user"]
        login_shell = lambda: user.login_shell(boot)  # noqa: E731
        for why, change in account_faults.faults(boot.root, account, login_shell):
            if not (mends and change):
                return why
    reasons = {"publickey": _without_key(boot, server, account), **_without_password(boot, server)}
    ways = server.methods or tuple((method,) for method in reasons)
    missing = [[why for method in way if (why := _missing(reasons, method))] for way in ways]
    if [] in missing:
        return ""
    return "; ".join(dict.fromkeys(why for way in missing for why in way))


def _missing(reasons: "dict[str, str]", method: str) -> str:
    """Return why a method, perhaps with a device behind a colon, does not work; "" if it does."""
    method = method.partition(":")[0]
    return reasons.get(method, f"sshd demands the method {method}")


def _without_password(boot: "Boot", server: "Server") -> "dict[str, str]":
    """Return why the methods that ask for a password let nobody in, "" if they do."""
    name = boot.profile.user_name
    why = ""
    if not (_is_promised(boot, "password") or accounts.has_password(boot.root, name)):
        why = "no password came (one comes on the provisioning CD only)"
    refused = "sshd accepts no passwords"
    return {
        "password": why or (refused if not server.passwords else ""),
        "keyboard-interactive": why or (refused if not server.asks_by_pam else ""),
    }


def _is_promised(boot: "Boot", way: str) -> bool:
    """Tell whether a rehearsed step would make this way in; a performed one is looked at."""
    return boot.rehearsing and way in boot.promised


def _without_key(boot: "Boot", server: "Server", account: "Account") -> str:
    """Return why no key lets anybody in, "" if one does."""
    if not server.public_keys:
        return "sshd accepts no keys (PubkeyAuthentication no)"
    if server.asks_elsewhere:
        return ""  # the image's author has a way of their own
    files = sshd_config.key_files(server, account.name, account.uid, account.home)
    if not files:
        return "sshd reads no file of keys (AuthorizedKeysFile none)"
    if _is_promised(boot, "key"):
        return ""
    distrusted = ""
    for file in files:
        try:
            kinds = authorized_keys.kinds(boot.root.read(file) or b"")
            if not kinds:
                continue
            if any(sshd_config.accepts(server, kind) for kind in kinds):
                why = _distrust(boot, account, file, server.strict)
            else:
                why = f"PubkeyAcceptedAlgorithms lacks {', '.join(sorted(kinds))}"
        except GuestError as error:
            why = str(error)  # a pipe, for one; another file may do
        if not why:
            return ""
        distrusted = distrusted or f"sshd ignores the keys in {file}: {why}"
    keys = boot.profile.public_keys
    by_path, remarks = authorized_keys.sort(account.name, keys, files)
    if keys and not by_path:
        return f"none of the {len(keys)} SSH keys is usable by sshd: {remarks[0]}"
    return distrusted or "no SSH key came"


def _distrust(boot: "Boot", account: "Account", file: str, strict: bool) -> str:
    """Return why sshd cannot read a file of keys as the user or distrusts it, "" if it does not.

    With StrictModes, it and each folder up to the home or the top belongs to the user or to root,
    and nobody else may write there (safe_path in OpenSSH's misc.c).
    """
    path = target = boot.root.resolve(file)
    top = boot.root.resolve(account.home.rstrip("/") or "/")
    while True:
        status = boot.root.status(path or "/")
        if status is None:
            return f"{path} cannot be looked at"
        if strict and status.st_uid not in (0, account.uid):
            return f"{path or '/'} belongs to the user id {status.st_uid}"
        needed = 0o044 if path == target else 0o011
        # The top of a tree may be closed while the tree is built.
        if path and status.st_uid != account.uid and not status.st_mode & needed:
            return f"{account.name} cannot read {path} (mode {S_IMODE(status.st_mode):04o})"
        if strict and status.st_mode & 0o022:
            return f"others may write to {path or '/'} (mode {S_IMODE(status.st_mode):04o})"
        if path in ("", "/"):
            return ""
        strict = strict and path != top
        path = path.rpartition("/")[0]


LOGIN = Step(
    "login", "Fail if nobody could log in as the user, as sshd sees it.", changes, fatal=True
)
