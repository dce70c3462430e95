"""What sshd needs of a first boot: whether passwords count, and host keys (sshd_config(5), ssh-keygen(1)).

It is told in a drop-in, if sshd_config includes the folder for them; sshd takes the first value that it reads, so the drop-in's name sorts first.
sshd_config itself is edited only if the configuration says so.
"""

from agent.errors import GuestError
from agent.guest import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

FOLDER = "/etc/ssh/sshd_config.d"
DROP_IN = f"{FOLDER}/00-azready.conf"

_CONFIGS = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")
_HOST_KEYS = "/etc/ssh"
_BEGIN, _END = "# azready begin\n", "# azready end\n"


def is_there(root: "Root") -> bool:
    """Whether the image has a sshd_config. Raises GuestError."""
    return _config(root) is not None


def set_password_login(root: "Root", *, allowed: bool, edit: bool) -> str:
    """Allow or forbid logins with a password; returns the file that says so, "" if there is no sshd_config.

    `edit` puts the lines into sshd_config itself where that does not include the folder. Raises GuestError, also if neither is possible.
    """
    config = _config(root)
    if config is None:
        return ""
    path, content = config
    word = "yes" if allowed else "no"
    # Keyboard-interactive would ask PAM for the same password by another name.
    lines = f"PasswordAuthentication {word}\n" + (
        "" if allowed else "KbdInteractiveAuthentication no\n"
    )
    if includes_folder(content):
        if root.read(DROP_IN) != lines.encode():
            root.replace(DROP_IN, lines.encode(), 0o600)
        return DROP_IN
    if edit:
        if path != _CONFIGS[0]:
            raise GuestError(
                f"{path} belongs to the distribution and is not edited: copy it to {_CONFIGS[0]}"
            )
        text = content.decode("utf-8", "surrogateescape")
        before, _, rest = text.partition(_BEGIN)  # ours of an earlier run, if there is one
        new = f"{_BEGIN}{lines}{_END}{before}{rest.partition(_END)[2]}"
        root.replace(path, new.encode("utf-8", "surrogateescape"))
        return path
    raise GuestError(
        f"{path} does not include {FOLDER}/*.conf: it decides about passwords as it is"
    )


def make_host_keys(root: "Root") -> bool:
    """Let the image's ssh-keygen make host keys of every usual kind if sshd has none, as in an image that was made for capture; False if nothing was done.

    Without a host key sshd lets nobody in, and not every distribution makes them at boot. Raises GuestError.
    """
    keygen = programs.usable(root, "ssh-keygen")
    if not keygen or not root.is_folder(_HOST_KEYS) or not programs.find(root, "sshd"):
        return False
    if any(
        name.startswith("ssh_host_") and name.endswith("_key") for name in root.names(_HOST_KEYS)
    ):
        return False
    result = programs.run([keygen, "-A"])
    if result.code:
        raise GuestError(f"{keygen} -A {result}")
    return True


def includes_folder(content: bytes) -> bool:
    """Whether a sshd_config reads the drop-in, before any Match block."""
    for keyword, arguments in _settings(content):
        if keyword == "match":
            return False
        if keyword == "include" and any(_matches(pattern) for pattern in arguments):
            return True
    return False


def uses_pam(root: "Root") -> bool:
    """Whether sshd asks PAM. If it does not, it refuses every login, also by key, of an account whose password is locked with "!" (sshd(8))."""
    config = _config(root)
    contents = [
        root.read(f"{FOLDER}/{name}") or b""
        for name in root.names(FOLDER)
        if name.endswith(".conf")
    ]
    for content in [*contents, config[1] if config else b""]:
        for keyword, arguments in _settings(content):
            if keyword == "match":
                break
            if keyword == "usepam" and arguments:
                return arguments[0].lower() == "yes"
    return False


def _config(root: "Root") -> "tuple[str, bytes] | None":
    for path in _CONFIGS:
        content = root.read(path)
        if content is not None:
            return path, content
    return None


def _settings(content: bytes) -> "list[tuple[str, list[str]]]":
    """(keyword in lower case, arguments) of each line; quotes around arguments are taken off."""
    settings = []
    for line in content.decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].replace("=", " ", 1).split()
        if words:
            settings.append((words[0].lower(), [word.strip('"') for word in words[1:]]))
    return settings


def _matches(pattern: str) -> bool:
    """Whether an Include pattern takes in the drop-in; a pattern with one * is all that is in use."""
    absolute = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
    before, star, after = absolute.partition("*")
    if not star:
        return absolute == DROP_IN
    return (
        DROP_IN.startswith(before)
        and DROP_IN.endswith(after)
        and "/" not in DROP_IN[len(before) : len(DROP_IN) - len(after)]
    )
