"""The right to become root: a drop-in for sudo or doas, if the image has one of them (sudoers(5), doas.conf(5))."""

from agent.errors import GuestError
from agent.guest import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log
    from agent.root import Root

SUDO_FILE = "/etc/sudoers.d/90-azready"
DOAS_FILE = "/etc/doas.d/azready.conf"
_DOAS_CONF = "/etc/doas.conf"


def permit(root: "Root", name: str, *, without_password: bool, log: "Log") -> str:
    """Let the user `name` become root; returns the file that says so, "" if the image has neither sudo nor doas.

    The user name was validated before: none of its characters means anything here. Raises GuestError, with nothing changed, if the tool's own check
    refuses the file.
    """
    if programs.find(root, "sudo"):
        line = f"{name} ALL=(ALL:ALL) {'NOPASSWD: ' if without_password else ''}ALL\n"
        _put(root, SUDO_FILE, line, ("visudo", "-c", "-q", "-f"), log)
        if not _includes_drop_ins(root):
            log.warning(
                f"/etc/sudoers does not include {SUDO_FILE}: {name} cannot use sudo unless a group allows it"
            )
        return SUDO_FILE
    if programs.find(root, "doas"):
        line = f"permit {'nopass ' if without_password else ''}{name}\n"
        folder_is_there = root.is_folder(DOAS_FILE.rpartition("/")[0])
        path = DOAS_FILE if folder_is_there else _DOAS_CONF
        if not folder_is_there and root.read(_DOAS_CONF) not in (None, line.encode()):
            log.warning(
                f"{_DOAS_CONF} is there and no /etc/doas.d: {name} cannot use doas unless it says so"
            )
            return ""
        _put(root, path, line, ("doas", "-C"), log)
        return path
    return ""


def _put(root: "Root", path: str, line: str, check: "tuple[str, ...]", log: "Log") -> None:
    if root.read(path) == line.encode():
        return
    if checker := programs.usable(root, check[0]):
        _check(root, path, line, [checker, *check[1:]])
        log.debug(f"{checker} accepts {path}")
    root.replace(path, line.encode(), 0o440, like_old=False)


def _check(root: "Root", path: str, line: str, words: "list[str]") -> None:
    """Let the tool's own check see the rule before it counts: the tools skip a file with a dot in front. Raises GuestError if it is refused."""
    folder, _, name = path.rpartition("/")
    trial = f"{folder}/.{name}.trial"
    root.replace(trial, line.encode(), 0o440, like_old=False)
    try:
        result = programs.run([*words, trial])
    finally:
        root.discard(trial)
    if result.code:
        raise GuestError(f"{words[0]} refuses the rule {line.strip()!r}: it {result}")


def _includes_drop_ins(root: "Root") -> bool:
    for path in ("/etc/sudoers", "/usr/etc/sudoers"):
        content = root.read(path)
        if content is not None:
            words = [line.split() for line in content.decode("utf-8", "replace").splitlines()]
            return any(
                line[:1] in (["@includedir"], ["#includedir"]) and line[1:] == ["/etc/sudoers.d"]
                for line in words
            )
    return False
