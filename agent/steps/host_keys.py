"""Generate host keys: without one sshd lets nobody in, and not every image makes them at boot.

A key of each kind is made by a run of ssh-keygen of its own, side by side, beside whatever else a
first boot does or waits for, at low priority until somebody waits for what is left of that. Each
key is made under a name that sshd does not look for, synced, and renamed. So whatever ends a boot,
sshd finds whole keys or none.

An RSA key takes seconds where the others take moments, and few clients ask for it. So the step
does not wait for it where systemd can start sshd without it: it follows the report. As long as it
is missing, a file says so, and the next boot makes it if this one does not.
"""

from agent import notify, programs, sshd
from agent.change import Change, Step, discarding, perform
from agent.errors import GuestError
from agent.formats import openssh_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.root import Root

_FOLDER = "/etc/ssh"
_KINDS = ("rsa", "ecdsa", "ed25519")  # those that sshd looks for by default (sshd_config(5))
_SLOW = ("rsa",)
_HIDDEN = ".ssh_host_"  # how a name begins that sshd does not look for
_PENDING = f"{_FOLDER}/{_HIDDEN}keys_pending"
_LIMIT = 180.0  # seconds for one: slow, and at low priority


class Keys:
    """What is to be made: the unfinished keys that are `left`, the kinds that are `missing`.

    The keys are made from start() on, and used by finish().
    """

    def __init__(self, boot: "Boot", keygen: str) -> None:
        self._boot = boot
        self._keygen = keygen
        self._beside: "programs.Beside | None" = None
        self._made: "set[str]" = set()
        self._refusals: "dict[str, str]" = {}
        names = boot.root.names(_FOLDER)
        unfinished = [f"{_FOLDER}/{name}" for name in names if name.startswith(_HIDDEN)]
        self.left = [path for path in unfinished if path != _PENDING]
        there = [name for name in names if name.startswith("ssh_host_") and name.endswith("_key")]
        usable = [name for name in there if _is_usable(boot.root, keygen, name)]
        self._has_one = bool(usable)
        # Of several some may be missing on purpose, unless an earlier run was interrupted.
        wanted = [kind for kind in _KINDS if _name(kind) in there or unfinished or not usable]
        self.missing = [kind for kind in wanted if _name(kind) not in usable]
        # What sshd is to use; looked up here, because soon() is asked in each pause.
        self._used = sshd.host_keys(boot.root) if notify.is_heard() else ()

    def soon(self) -> "list[str]":
        """Return the missing kinds that the step waits for.

        These are all if sshd does not start before the end of this process, or uses no other.
        """
        if not notify.is_heard():
            return self.missing
        soon = [kind for kind in self.missing if kind not in _SLOW]
        used = self._used
        will_do = (
            self._has_one or not used or any(f"{_FOLDER}/{_name(one)}" in used for one in soon)
        )
        return soon if will_do else self.missing

    def text(self, kinds: "list[str]") -> str:
        """Return what finish() does, in words."""
        return f"generate host keys for sshd ({', '.join(kinds)})"

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

    def has_ended(self, kinds: "list[str]") -> bool:
        """Tell whether finish() would not have to wait."""
        return self._beside is not None and self._beside.has_ended(kinds)

    def first(self) -> str:
        """Wait for the kind that is made fastest; return where its private key is.

        "" if there is none, or if sshd has another key already and need not wait for this one.
        """
        kind = self.missing[-1] if self.missing and not self._has_one else ""
        return _unfinished(kind) if kind and self._is_made(kind) else ""

    def finish(self, kinds: "list[str]") -> None:
        """Put the keys of these kinds in their place; one that the image cannot make is left out.

        (FIPS, for one.) If sshd has none then, the other kinds are waited for. Raises GuestError
        if there is none at all.
        """
        self.start()
        if self._beside and not self._has_one:
            self._beside.hurry(kinds)
        self.missing = later = [kind for kind in self.missing if kind not in kinds]
        if later:
            self._boot.root.replace(_PENDING, b"", 0o600)
        for kind in kinds:
            if self._is_made(kind):
                old, new = f"{_FOLDER}/{_name(kind)}", _unfinished(kind)
                # The private one last: where it is, the public one is, too.
                self._boot.root.rename(f"{new}.pub", f"{old}.pub")
                self._boot.root.rename(new, old)
                self._has_one = True
        if later and not self._has_one:
            self.finish(later)
            return
        if not later:
            self._boot.root.discard(_PENDING)
        refusals = [self._refusals[kind] for kind in _KINDS if kind in self._refusals]
        if not self._has_one:
            raise GuestError("; ".join(refusals))
        for refusal in refusals:
            self._boot.log.warning(refusal)
        self._refusals.clear()

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
            for kind in _KINDS:
                self._discard(kind)


def begin(boot: "Boot") -> None:
    """Start to make what the step will wait for; a failure is for the step to tell."""
    if boot.rehearsing or boot.keys or not boot.config.steps[HOST_KEYS.name]:
        return
    try:
        if keys := _planned(boot):
            if keys.left:
                perform(iter([discarding(boot.root, *keys.left)]), boot.log)
            boot.keys = keys  # before the start, which a signal may end
            keys.start()
    except GuestError:
        return


def changes(boot: "Boot") -> "Changes":
    """Yield the removal of unfinished keys, and the making of those that sshd needs to be of use.

    Keys are made if the image has sshd and not a single usable key, and in the place of each that
    is not usable: empty or cut short, as a power cut leaves them, or readable for others. What is
    still missing then is for rest().
    """
    keys = boot.keys or _planned(boot)
    if not keys:
        return
    if keys.left and not boot.keys:
        yield discarding(boot.root, *keys.left)
    boot.keys = keys
    soon = keys.soon()
    if soon:
        yield Change(keys.text(soon), lambda: keys.finish(soon))
        keys.missing = [kind for kind in keys.missing if kind not in soon]  # if this is a rehearsal
    yield from sshd.starting(boot)


def rest(boot: "Boot") -> "Changes":
    """Yield the making of the keys that the step did not wait for, in this run or an earlier one.

    Raises GuestError.
    """
    keys = boot.keys
    if not keys and boot.config.steps[HOST_KEYS.name] and boot.root.exists(_PENDING):
        keys = _planned(boot)
    if keys and keys.missing:
        missing = keys.missing
        yield Change(keys.text(missing), lambda: keys.finish(missing))
        yield from sshd.rereading(boot)


def end(boot: "Boot") -> None:
    """End what was begun and never waited for, as a run that is over. Raises GuestError."""
    begun, boot.keys = boot.keys, None
    if begun:
        begun.end()


def are_missing(boot: "Boot") -> bool:
    """Tell whether sshd needs one of the keys that are being made to be of use."""
    return boot.keys is not None and HOST_KEYS.name not in boot.done and bool(boot.keys.soon())


def due(boot: "Boot") -> "Step | None":
    """Return the step whose keys have been made beside the work, if there is one."""
    if keys := boot.keys:
        step = REST if HOST_KEYS.name in boot.done else HOST_KEYS
        kinds = keys.missing if step is REST else keys.soon()
        if kinds and keys.has_ended(kinds):
            return step
    return None


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


def _is_usable(root: "Root", keygen: str, name: str) -> bool:
    """Tell whether sshd can read the key without a passphrase. Raises GuestError.

    ssh-keygen, which takes long to say the same, is asked about formats of old.
    """
    path = f"{_FOLDER}/{name}"
    verdict = openssh_key.is_usable(root.read(path) or b"")
    if verdict is None:
        return programs.run([keygen, "-y", "-P", "", "-f", path]).code == 0
    status = root.status(path)
    # A key of its own that others may read is refused by sshd (sshkey_perm_ok in authfile.c).
    return verdict and status is not None and not (status.st_uid == 0 and status.st_mode & 0o077)


HOST_KEYS = Step("host_keys", "Have ssh-keygen generate host keys if there are none.", changes)
REST = Step("host_keys", "Have ssh-keygen generate the host keys that take long.", rest)
