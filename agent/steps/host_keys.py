"""Generate host keys: without one sshd lets nobody in, and not every image makes them at boot.

A key of each kind is made by a run of ssh-keygen of its own, side by side, beside whatever else a
first boot does or waits for, at low priority until the step waits for what is left of that. Each
key is made under a name that sshd does not look for, synced, and renamed. So whatever ends a boot,
sshd finds whole keys or none.
"""

from agent import programs, sshd
from agent.change import Change, Step, discarding, perform
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes

_FOLDER = "/etc/ssh"
_KINDS = ("rsa", "ecdsa", "ed25519")  # those that sshd looks for by default (sshd_config(5))
_LIMIT = 180.0  # seconds for one: slow, and at low priority


class Keys:
    """What is to be made: the unfinished keys that are `left`, the kinds that are `missing`.

    `text` says so. The keys are made from start() on, and used by finish().
    """

    def __init__(self, boot: "Boot", keygen: str) -> None:
        self._boot = boot
        self._keygen = keygen
        self._beside: "programs.Beside | None" = None
        self._made: "set[str]" = set()
        self._refusals: "dict[str, str]" = {}
        names = boot.root.names(_FOLDER)
        self.left = [f"{_FOLDER}/{name}" for name in names if name.startswith(".ssh_host_")]
        there = [name for name in names if name.startswith("ssh_host_") and name.endswith("_key")]
        usable = [name for name in there if _is_usable(keygen, name)]
        self._is_first = not usable
        # Of several some may be missing on purpose, unless an earlier run was interrupted.
        wanted = [kind for kind in _KINDS if _name(kind) in there or self.left or not usable]
        self.missing = [kind for kind in wanted if _name(kind) not in usable]
        which = f" ({', '.join(self.missing)})" if usable else ""
        self.text = f"generate host keys for sshd{which}"

    def start(self) -> None:
        """Start an ssh-keygen for each kind; what cannot be started is a refusal."""
        if self._beside:
            return
        self._beside = programs.Beside()
        for kind in self.missing:
            words = [self._keygen, "-q", "-t", kind, "-N", "", "-f", _unfinished(kind)]
            try:
                self._beside.start(kind, words, limit=_LIMIT)
            except GuestError as error:
                self._refusals[kind] = str(error)

    def has_ended(self) -> bool:
        """Tell whether finish() would not have to wait."""
        return self._beside is not None and self._beside.has_ended()

    def first(self) -> str:
        """Wait for the kind that is made fastest; return where its private key is.

        "" if there is none, or if sshd has another key already and need not wait for this one.
        """
        kind = self.missing[-1] if self.missing and self._is_first else ""
        return _unfinished(kind) if kind and self._is_made(kind) else ""

    def finish(self) -> None:
        """Put each key in its place; a kind that the image cannot make (FIPS) is left out.

        Raises GuestError if there is none.
        """
        self.start()
        if self._beside:
            self._beside.hurry()
        for kind in self.missing:
            if self._is_made(kind):
                old, new = f"{_FOLDER}/{_name(kind)}", _unfinished(kind)
                # The private one last: where it is, the public one is, too.
                self._boot.root.rename(f"{new}.pub", f"{old}.pub")
                self._boot.root.rename(new, old)
        refusals = [self._refusals[kind] for kind in self.missing if kind in self._refusals]
        if len(refusals) == len(self.missing):
            raise GuestError("; ".join(refusals))
        for refusal in refusals:
            self._boot.log.warning(refusal)

    def _is_made(self, kind: str) -> bool:
        """Wait for a kind, once; a failure is a refusal."""
        if self._beside and self._beside.knows(kind):
            try:
                result = self._beside.wait(kind)
            except GuestError as error:
                self._refuse(kind, f"{self._keygen} -t {kind}: {error}")
            else:
                if result.code:
                    self._refuse(kind, f"{self._keygen} -t {kind} {result}")
                else:
                    self._made.add(kind)
        return kind in self._made

    def _refuse(self, kind: str, why: str) -> None:
        self._refusals[kind] = why
        self._discard(kind)

    def _discard(self, kind: str) -> None:
        for path in (_unfinished(kind), f"{_unfinished(kind)}.pub"):
            self._boot.root.discard(path)

    def end(self) -> None:
        """Kill what still runs, and remove what it has begun. Raises GuestError."""
        if self._beside:
            self._beside.end()
            for kind in self.missing:
                self._discard(kind)


def begin(boot: "Boot") -> None:
    """Start to make what the step will wait for; a failure is for the step to tell."""
    if boot.rehearsing or boot.keys or not boot.config.steps[HOST_KEYS.name]:
        return
    try:
        if keys := _planned(boot):
            if keys.left:
                perform(iter([discarding(boot.root, *keys.left)]), boot.log)
            keys.start()
            boot.keys = keys
    except GuestError:
        return


def changes(boot: "Boot") -> "Changes":
    """Yield the removal of unfinished keys, and the run of the image's ssh-keygen.

    Keys are made if the image has sshd and not a single usable key, and in the place of each that
    is not usable: empty or cut short, as a power cut leaves them, or readable for others.
    """
    keys = boot.keys or _planned(boot)
    if not keys:
        return
    if keys.left and not boot.keys:
        yield discarding(boot.root, *keys.left)
    boot.keys = keys
    try:
        if keys.missing:
            yield Change(keys.text, keys.finish)
    except GuestError:
        boot.keys = None
        raise
    boot.keys = None
    yield from sshd.starting(boot)


def end(boot: "Boot") -> None:
    """End what was begun and never waited for, as a run that is over. Raises GuestError."""
    begun, boot.keys = boot.keys, None
    if begun:
        begun.end()


def _planned(boot: "Boot") -> "Keys | None":
    root = boot.root
    keygen = programs.usable(root, "ssh-keygen")
    if not keygen or not root.is_folder(_FOLDER) or not programs.find(root, "sshd"):
        return None
    return Keys(boot, keygen)


def _name(kind: str) -> str:
    return f"ssh_host_{kind}_key"


def _unfinished(kind: str) -> str:
    return f"{_FOLDER}/.{_name(kind)}"


def _is_usable(keygen: str, name: str) -> bool:
    """Tell whether ssh-keygen, like sshd, can read the key without a passphrase."""
    return programs.run([keygen, "-y", "-P", "", "-f", f"{_FOLDER}/{name}"]).code == 0


HOST_KEYS = Step("host_keys", "Have ssh-keygen generate host keys if there are none.", changes)
