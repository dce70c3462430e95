"""sshd_config: what it says about passwords and PAM, and the lines that change it (sshd_config(5)).

sshd takes the first value that it reads. So the name of the drop-in sorts first, and a block in
sshd_config itself stands at its start.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIGS = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")  # the first that exists counts
FOLDER = "/etc/ssh/sshd_config.d"
DROP_IN = f"{FOLDER}/00-azready.conf"

_BEGIN, _END = "# azready begin\n", "# azready end\n"


def settings(content: bytes) -> "list[tuple[str, list[str]]]":
    """Return (keyword in lower case, arguments without their quotes) of each line."""
    found = []
    for line in content.decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].replace("=", " ", 1).split()
        if words:
            found.append((words[0].lower(), [word.strip('"') for word in words[1:]]))
    return found


def includes_drop_in(content: bytes) -> bool:
    """Return whether this sshd_config reads DROP_IN, before any Match block."""
    for keyword, arguments in settings(content):
        if keyword == "match":
            return False
        if keyword == "include" and any(_matches(pattern) for pattern in arguments):
            return True
    return False


def uses_pam(contents: "Iterable[bytes]") -> bool:
    """Return whether sshd asks PAM, by its configuration files in the order in which it reads them.

    Without PAM, sshd rejects every login to an account whose password is locked with "!", also by
    key (sshd(8)).
    """
    for content in contents:
        for keyword, arguments in settings(content):
            if keyword == "match":
                break
            if keyword == "usepam" and arguments:
                return arguments[0].lower() == "yes"
    return False


def password_lines(allowed: bool) -> str:
    """Return the lines that allow or forbid logins with a password."""
    if allowed:
        return "PasswordAuthentication yes\n"
    # Keyboard-interactive would ask PAM for the same password by another name.
    return "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"


def with_block(content: bytes, lines: str) -> bytes:
    """Return the content with `lines` in a marked block at its start, replacing an older one."""
    text = content.decode("utf-8", "surrogateescape")
    before, _, rest = text.partition(_BEGIN)
    new = f"{_BEGIN}{lines}{_END}{before}{rest.partition(_END)[2]}"
    return new.encode("utf-8", "surrogateescape")


def _matches(pattern: str) -> bool:
    """Return whether an Include pattern, with at most one *, takes in the drop-in."""
    absolute = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
    start, star, end = absolute.partition("*")
    if not star:
        return absolute == DROP_IN
    between = DROP_IN[len(start) : len(DROP_IN) - len(end)]
    return DROP_IN.startswith(start) and DROP_IN.endswith(end) and "/" not in between
