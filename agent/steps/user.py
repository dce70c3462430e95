"""Create the user: account, home, groups. An existing account is kept and completed."""

from agent import account_faults, accounts
from agent.change import Change, Step
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.formats.accounts import Account

_SKELETON = "/etc/skel"


def changes(boot: "Boot") -> "Changes":
    """Yield what the account lacks, and set `boot.account`.

    Raises GuestError if the name is refused or belongs to the system.
    """
    root, name = boot.root, boot.profile.user_name
    if not name:
        boot.log.info("the platform names no user; accounts stay as they are")
        return
    shell = login_shell(boot)
    if boot.config.shell not in ("", shell):
        boot.log.warning(f"user.shell {boot.config.shell} does not exist here; using {shell}")
    account = accounts.find_person(root, name)
    if account is None:
        text = f"create the user {name} with the shell {shell}"
        yield Change(text, lambda: accounts.create(root, name, shell, boot.log, is_new=True))
    elif not accounts.is_complete(root, account):
        text = f"complete the account of {name}"
        yield Change(text, lambda: accounts.create(root, name, shell, boot.log))
    if account is not None:
        for _, change in account_faults.faults(root, account, lambda: shell):
            if change:
                yield change
    account = accounts.find_person(root, name) or accounts.predict(root, name, shell)
    if not account.home.startswith("/"):
        raise GuestError(f"the home {account.home!r} of {name} is not an absolute path")
    if root.status(account.home) is None:
        yield Change(f"create the home {account.home}", lambda: _create_home(boot, account))
    elif mended := account_faults.home_change(root, account):
        yield mended
    if groups := accounts.missing_groups(root, account, boot.config.groups):
        text = f"add {name} to {', '.join(groups)}"
        yield Change(text, lambda: accounts.add_to_groups(root, name, groups))
    boot.account = account


def login_shell(boot: "Boot") -> str:
    """Return the shell that the settings name if the image has it, else its default one."""
    shell = boot.config.shell
    if shell and boot.root.is_executable(shell):
        return shell
    return accounts.default_shell(boot.root)


def known(boot: "Boot") -> "Account | None":
    """Return the account for sudo, keys and password; None without, and the log says so once.

    If the step `user` is off, that is an account of the image.
    """
    if boot.account is None and boot.profile.user_name and not boot.config.steps["user"]:
        try:
            boot.account = accounts.find_person(boot.root, boot.profile.user_name)
        except GuestError as error:
            boot.log.warning(str(error))
        else:
            if boot.account is None:
                boot.log.info(
                    f"the user {boot.profile.user_name} does not exist, and steps.user is off"
                )
    return boot.account


def _create_home(boot: "Boot", account: "Account") -> None:
    """Copy the skeleton next to the home's place and rename it: the home is whole or missing."""
    mode = accounts.login_settings(boot.root)["HOME_MODE"]
    boot.root.plant(account.home, _SKELETON, mode, (account.uid, account.gid))
    accounts.relabel(boot.root, account.home, boot.log)


USER = Step("user", "Create the user: account, home, groups.", changes, fatal=True)
