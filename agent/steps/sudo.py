"""Let the user become root, by a drop-in for sudo or doas (sudoers(5), doas.conf(5))."""

from agent import accounts, programs
from agent.change import Change, Step
from agent.errors import GuestError
from agent.formats import sudoers
from agent.steps import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.root import Root

_SUDOERS = ("/etc/sudoers", "/usr/etc/sudoers")
_MODE = 0o440


def changes(boot: "Boot") -> "Changes":
    """Yield the rule for sudo, or without sudo the one for doas, if it is not there yet."""
    account = user.known(boot)
    if account is None:
        return
    root, name = boot.root, account.name
    check: "tuple[str, ...]"
    free = _without_password(boot, name)
    if programs.find(root, "sudo"):
        if other := accounts.twin(root, name):
            raise GuestError(f"no rule for sudo lets {name} become root that would not let {other}")
        path, line, check = sudoers.SUDO_FILE, sudoers.sudo_line(name, free), _VISUDO
        if not _includes_drop_ins(root):
            boot.log.warning(
                f"/etc/sudoers does not include {path}: {name} can use sudo only by a group"
            )
    elif programs.find(root, "doas"):
        line, check = sudoers.doas_line(name, free), _DOAS
        has_folder = root.is_folder(sudoers.DOAS_FILE.rpartition("/")[0])
        path = sudoers.DOAS_FILE if has_folder else sudoers.DOAS_CONF
        if not has_folder and root.read(path) not in (None, line.encode()):
            boot.log.warning(
                f"{path} exists and /etc/doas.d does not: "
                f"{name} can use doas only if {path} says so"
            )
            return
    else:
        return
    if root.read(path) != line.encode():
        text = f"let {name} become root {'without' if free else 'with'} a password, in {path}"
        yield Change(text, lambda: _put(root, path, line, check))


_VISUDO = ("visudo", "-c", "-q", "-f")
_DOAS = ("doas", "-C")


def _without_password(boot: "Boot", name: str) -> bool:
    if boot.config.sudo != "auto":
        return boot.config.sudo == "nopasswd"
    return not boot.profile.password and not accounts.has_password(boot.root, name)


def _put(root: "Root", path: str, line: str, check: "tuple[str, ...]") -> None:
    """Write the rule, after the tool's own check has accepted it. Raises GuestError."""
    if checker := programs.usable(root, check[0]):
        _check(root, path, line, [checker, *check[1:]])
    root.replace(path, line.encode(), _MODE, like_old=False)


def _check(root: "Root", path: str, line: str, words: "list[str]") -> None:
    """Show the rule to the tool in a file that does not count: its name begins with a dot."""
    folder, _, name = path.rpartition("/")
    trial = f"{folder}/.{name}.trial"
    root.replace(trial, line.encode(), _MODE, like_old=False)
    try:
        result = programs.run([*words, trial])
    finally:
        root.discard(trial)
    if result.code:
        raise GuestError(f"{words[0]} refuses the rule {line.strip()!r}: it {result}")


def _includes_drop_ins(root: "Root") -> bool:
    for path in _SUDOERS:
        content = root.read(path)
        if content is not None:
            return sudoers.includes_drop_ins(content)
    return False


SUDO = Step("sudo", "Write the drop-in for sudo or doas.", changes)
