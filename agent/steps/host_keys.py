"""Generate host keys: without one sshd lets nobody in, and not every image makes them at boot.

Each key is made under a name that sshd does not look for, synced, and renamed. So whatever ends a
boot, sshd finds whole keys or none.
"""

from agent import programs
from agent.change import Change, Step, discarding
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes

_FOLDER = "/etc/ssh"
_KINDS = ("rsa", "ecdsa", "ed25519")  # those that sshd looks for by default (sshd_config(5))


def changes(boot: "Boot") -> "Changes":
    """Yield the removal of unfinished keys, and the run of the image's ssh-keygen.

    Keys are made if the image has sshd and not a single usable key, and in the place of each that
    is not usable: empty or cut short, as a power cut leaves them, or readable for others.
    """
    root = boot.root
    keygen = programs.usable(root, "ssh-keygen")
    if not keygen or not root.is_folder(_FOLDER) or not programs.find(root, "sshd"):
        return
    names = root.names(_FOLDER)
    if left := [f"{_FOLDER}/{name}" for name in names if name.startswith(".ssh_host_")]:
        yield discarding(root, *left)
    there = [name for name in names if name.startswith("ssh_host_") and name.endswith("_key")]
    usable = [name for name in there if _is_usable(keygen, name)]
    # Of several some may be missing on purpose, unless an earlier run was interrupted.
    wanted = [kind for kind in _KINDS if _name(kind) in there or left or not usable]
    missing = [kind for kind in wanted if _name(kind) not in usable]
    if missing:
        which = f" ({', '.join(missing)})" if usable else ""
        text = f"generate host keys for sshd{which}"
        yield Change(text, lambda: _generate(boot, keygen, missing))


def _name(kind: str) -> str:
    return f"ssh_host_{kind}_key"


def _is_usable(keygen: str, name: str) -> bool:
    """Tell whether ssh-keygen, like sshd, can read the key without a passphrase."""
    return programs.run([keygen, "-y", "-P", "", "-f", f"{_FOLDER}/{name}"]).code == 0


def _generate(boot: "Boot", keygen: str, kinds: "list[str]") -> None:
    """Make a key of each kind; a kind that the image cannot make (FIPS) is left out.

    Raises GuestError if none can be made.
    """
    refusals = []
    for kind in kinds:
        old, new = f"{_FOLDER}/{_name(kind)}", f"{_FOLDER}/.{_name(kind)}"
        result = programs.run([keygen, "-q", "-t", kind, "-N", "", "-f", new])
        if result.code:
            refusals.append(f"{keygen} -t {kind} {result}")
            for left in (new, f"{new}.pub"):
                boot.root.discard(left)
            continue
        # The private one last: where it is, the public one is, too.
        boot.root.rename(f"{new}.pub", f"{old}.pub")
        boot.root.rename(new, old)
    if len(refusals) == len(kinds):
        raise GuestError("; ".join(refusals))
    for refusal in refusals:
        boot.log.warning(refusal)


HOST_KEYS = Step("host_keys", "Have ssh-keygen generate host keys if there are none.", changes)
