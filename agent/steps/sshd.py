"""Tell sshd whether passwords count, in a drop-in or in sshd_config itself (sshd_config(5)).

sshd takes the first value that it reads, so the name of the drop-in sorts first. sshd_config is
edited only if the settings say so.
"""

from agent.change import Change, Step
from agent.errors import GuestError
from agent.formats import sshd_config
from agent.formats.sshd_config import CONFIGS, DROP_IN, FOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.root import Root

_MODE = 0o600


def changes(boot: "Boot") -> "Changes":
    """Yield the change, if the platform says something about passwords and sshd does not yet.

    Raises GuestError if sshd_config includes no drop-ins and must not be edited.
    """
    config = _config(boot.root)
    if config is None or boot.profile.disable_password is None:
        return
    root = boot.root
    path, content = config
    allowed = not boot.profile.disable_password
    lines = sshd_config.password_lines(allowed)
    what = f"{'allow' if allowed else 'forbid'} SSH logins with a password in"
    if sshd_config.includes_drop_in(content):
        if root.read(DROP_IN) != lines.encode():
            yield Change(f"{what} {DROP_IN}", lambda: root.replace(DROP_IN, lines.encode(), _MODE))
        return
    if not boot.config.edit_sshd_config:
        raise GuestError(
            f"{path} does not include {FOLDER}/*.conf: whether passwords count stays as it is "
            "(sshd.edit = true edits the file)"
        )
    if path != CONFIGS[0]:
        raise GuestError(
            f"{path} belongs to the distribution and is not edited: copy it to {CONFIGS[0]}"
        )
    new = sshd_config.with_block(content, lines)
    if new != content:
        yield Change(f"{what} {path}", lambda: root.replace(path, new))


def uses_pam(root: "Root") -> bool:
    """Tell whether sshd asks PAM, see formats.sshd_config.uses_pam. Raises GuestError."""
    config = _config(root)
    drop_ins = [f"{FOLDER}/{name}" for name in root.names(FOLDER) if name.endswith(".conf")]
    contents = [root.read(path) or b"" for path in drop_ins]
    return sshd_config.uses_pam([*contents, config[1] if config else b""])


def _config(root: "Root") -> "tuple[str, bytes] | None":
    for path in CONFIGS:
        content = root.read(path)
        if content is not None:
            return path, content
    return None


SSHD = Step("sshd", "Write the drop-in that allows or forbids SSH logins with a password.", changes)
