"""Generate host keys: without one sshd lets nobody in, and not every image makes them at boot."""

from agent import programs
from agent.change import Change, Step
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes

_FOLDER = "/etc/ssh"


def changes(boot: "Boot") -> "Changes":
    """Yield the run of the image's ssh-keygen if the image has sshd and not a single host key."""
    root = boot.root
    keygen = programs.usable(root, "ssh-keygen")
    if not keygen or not root.is_folder(_FOLDER) or not programs.find(root, "sshd"):
        return
    names = root.names(_FOLDER)
    if not any(name.startswith("ssh_host_") and name.endswith("_key") for name in names):
        yield Change("generate host keys for sshd", lambda: _generate(keygen))


def _generate(keygen: str) -> None:
    result = programs.run([keygen, "-A"])
    if result.code:
        raise GuestError(f"{keygen} -A {result}")


HOST_KEYS = Step("host_keys", "Have ssh-keygen generate host keys if there are none.", changes)
