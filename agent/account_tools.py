"""Lets the image's own tool create an account: useradd(8), or the adduser of busybox."""

from agent import programs
from agent.errors import GuestError
from agent.formats import accounts
from agent.formats.accounts import GROUP, PASSWD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log
    from agent.root import Root


def create(root: "Root", name: str, home: str, shell: str, log: "Log") -> None:
    """Let the tool create the account, without the folder `home`; the ids are the tool's choice.

    A tool that fails, or none, leaves the account to whoever edits the files next.
    """
    words = _command(root, name, home, shell)
    if not words:
        return
    try:
        result = programs.run(words)
    except GuestError as error:
        log.warning(f"{error}; the account files are edited instead")
        return
    if result.code:
        log.warning(f"{words[0]} {result}; the account files are edited instead")


def _command(root: "Root", name: str, home: str, shell: str) -> "list[str]":
    """Return the command that creates the account, [] if there is no tool for it."""
    useradd = programs.usable(root, "useradd")
    adduser = "" if useradd else _busybox_adduser(root)
    if not (useradd or adduser) or root.read(PASSWD) is None:
        return []  # every tool needs a passwd to start from
    group_exists = bool(accounts.entry(root.read(GROUP) or b"", name))
    if useradd:
        group = ["--gid", name] if group_exists else ["--user-group"]
        return [useradd, "--no-create-home", "--home-dir", home, "--shell", shell, *group, name]
    group = ["-G", name] if group_exists else []
    return [adduser, "-D", "-H", "-h", home, "-s", shell, *group, name]


def _busybox_adduser(root: "Root") -> str:
    """Return the adduser of busybox; Debian has another one, with other options."""
    adduser = programs.usable(root, "adduser")
    real = root.resolve(adduser).rpartition("/")[2] if adduser else ""
    return adduser if real.startswith("busybox") else ""
