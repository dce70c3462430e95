"""Tell sshd whether passwords count, in a drop-in or in sshd_config itself (sshd_config(5)).

sshd_config is edited only if the settings say so. What sshd makes of it is looked at afterwards.
"""

from agent import sshd
from agent.change import Change, Step
from agent.errors import GuestError
from agent.formats import sshd_config
from agent.formats.sshd_config import CONFIGS, DROP_IN, FOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes

_MODE = 0o600


def changes(boot: "Boot") -> "Changes":
    """Yield the change of _passwords, and what has an sshd that runs already notice it.

    Raises GuestError as _passwords does.
    """
    refusal, written = None, False
    try:
        for change in _passwords(boot):
            written = True
            yield change
    except GuestError as error:
        refusal = error
    if written:
        yield from sshd.rereading(boot)
    if refusal is not None:
        raise refusal


def _passwords(boot: "Boot") -> "Changes":
    """Yield the change, if the platform says something about passwords and sshd does not yet.

    A password for which the platform says nothing is meant to be used. Raises GuestError if
    sshd_config includes no drop-ins and must not be edited, or if sshd does otherwise nevertheless.
    """
    found = sshd.config(boot.root)
    allowed = _allowed(boot)
    if found is None or allowed is None:
        return
    root = boot.root
    path, content = found
    lines = sshd_config.password_lines(allowed)
    what = f"{'allow' if allowed else 'forbid'} SSH logins with a password in"
    if sshd_config.includes_drop_in(content):
        path, new = DROP_IN, lines.encode()
        if root.read(path) != new:
            yield Change(f"{what} {path}", lambda: root.replace(path, new, _MODE))
    elif not boot.config.edit_sshd_config:
        raise GuestError(
            f"{path} does not include {FOLDER}/*.conf: whether passwords count stays as it is "
            "(sshd.edit = true edits the file)"
        )
    elif path != CONFIGS[0]:
        raise GuestError(
            f"{path} belongs to the distribution and is not edited: copy it to {CONFIGS[0]}"
        )
    else:
        new = sshd_config.with_block(content, lines)
        if new != content:
            yield Change(f"{what} {path}", lambda: root.replace(path, new))
    boot.server = sshd.look(boot, {path: new})
    if boot.profile.user_name and boot.server.asks_password != allowed:
        name = boot.profile.user_name
        raise GuestError(
            f"sshd still {'forbids' if allowed else 'allows'} logins with a password to {name}: "
            f"a line that it reads before {path}, or a Match block, says so"
        )


def _allowed(boot: "Boot") -> "bool | None":
    disabled = boot.profile.disable_password
    if disabled is None:
        return True if boot.profile.password else None
    return not disabled


SSHD = Step("sshd", "Write the drop-in that allows or forbids SSH logins with a password.", changes)
