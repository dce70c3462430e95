"""`azready provision`: carry out a first boot (agent/steps), and report Ready or the failure.

Whatever ends a run before Ready is accepted, the marker stays away and the unit stays enabled: the
next boot tries again. A signal ends it, too, and leaves 20 s to tell why (agent/signals.py).
"""

from agent import notify, profile, signals, sshd
from agent.azure.retry import Deadline
from agent.commands import common, early, failure, wanted
from agent.commands.carrying import act, carry_out, or_warn, run_steps
from agent.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    AzreadyError,
    GaveUp,
    GuestError,
    PrivilegeError,
    Refused,
)
from agent.lock import Busy, Lock
from agent.machine import identity
from agent.steps import DISABLE, HOST_KEYS, MARKER, READY, REST, host_keys, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.boot import Boot
    from agent.change import Change
    from agent.log import Log
    from agent.protocol.imds import InstanceMetadata

# Where a first boot changes files; each may be a file system of its own.
_CHANGED = ("/etc", "/etc/doas.d", "/etc/ssh", "/etc/ssh/sshd_config.d", "/etc/sudoers.d", "/home")


def run(options: "dict[str, str]", log: "Log") -> int:
    """Provision the machine or tree of the command line."""
    log.watch = notify.status if notify.is_heard() else None
    root = common.tree(options)
    config, wrong = None, None
    try:
        config = common.config(root, options)
    except AzreadyError as error:
        if "--config" in options or "--dry-run" in options:
            raise
        wrong = error  # a failure of the run: at a first boot nobody reads this machine's log
    boot = common.boot(root, options, config, log)
    boot.dhcp = common.grace(options, boot.config)
    provision(boot, wrong)
    notify.ready()  # for systemd, an end without it would be a failure
    return EXIT_DONE


def provision(boot: "Boot", wrong: "AzreadyError | None" = None) -> None:
    """Provision this VM and report Ready; return when that is done or there is nothing to do.

    `wrong` is what is wrong with the settings, which fails the run. Raises PrivilegeError, Busy,
    and ProvisioningFailed.
    """
    try:
        is_wanted = wanted.is_wanted(boot)
    except PrivilegeError as error:
        if not wrong:
            raise
        boot.log.error(str(error))
        is_wanted = False
    if not is_wanted:
        if wrong:
            raise wrong
        return
    with Lock(boot.root) as lock:
        try:
            if not boot.rehearsing and not lock.take(boot.log):
                _wait(boot, lock)
            if _is_done(boot):
                return
            signals.listen()
            if not _work(boot, wrong):
                return
        except signals.Ended as ended:
            or_warn(boot, lambda: early.end(boot))
            when = "while Ready was reported" if boot.ready_sent else "before Ready was reported"
            boot.failure = boot.failure or f"terminated by {ended} {when}"
            failure.finish(boot, Deadline(signals.left()), EXIT_FAILED)
        elapsed = boot.log.elapsed()
        or_warn(boot, lambda: act(boot, MARKER.changes(boot)))
        _end(boot)
    if not boot.rehearsing:
        boot.log.info(f"provisioned: Ready was reported and accepted after {elapsed}")


def _end(boot: "Boot") -> None:
    """Do what is left of a run whose VM has its marker, and disable azready.

    A signal leaves both to the next boot.
    """
    try:
        signals.listen()
        or_warn(boot, lambda: act(boot, REST.changes(boot)))
        signals.mute()
    except signals.Ended as ended:
        or_warn(boot, lambda: early.end(boot))
        boot.log.warning(f"{ended} came before all host keys: the next boot makes the others")
        return
    or_warn(boot, lambda: act(boot, DISABLE.changes(boot)))


def _wait(boot: "Boot", lock: Lock) -> None:
    """Wait for the end of another run, which may report Ready. Raises Busy."""
    try:
        signals.listen()
        lock.wait(boot.deadline, boot.log)
        signals.mute()
    except signals.Ended as ended:
        raise Busy(f"ended by {ended} while another azready provision is at work") from None


def _work(boot: "Boot", wrong: "AzreadyError | None") -> bool:
    """Do all that comes before the marker; False if there is nothing to do.

    Raises ProvisioningFailed.
    """
    try:
        if wrong:
            raise wrong
        early.begin(boot)
        if not find_identity(boot, fetch_metadata(boot)):
            signals.mute()
            return False
        host_keys.begin(boot)
        run_steps(boot)
        if not boot.rehearsing:
            or_warn(boot, lambda: boot.root.settle((*_CHANGED, boot.config.state_directory)))
            notify.ready()  # only the report is left: people may log in meanwhile
        act(boot, READY.changes(boot))
        signals.mute()  # the rest takes milliseconds and must not be lost
    except Exception as error:
        sshd.forget(boot)
        if boot.keys:  # whoever comes to help needs them
            or_warn(boot, lambda: act(boot, HOST_KEYS.changes(boot)))
            or_warn(boot, lambda: act(boot, REST.changes(boot)))
        failure.fail(boot, error)
    return True


def rehearse(boot: "Boot") -> "tuple[list[str], list[str]]":
    """Return (what `provision` would do, what would fail the run), for a boot with its metadata.

    A step whose failure would be a warning says so among the first.
    """
    texts: "list[str]" = []

    def tell(changes: "Iterator[Change]") -> None:
        texts.extend(change.text for change in changes)

    boot.rehearsing = True
    boot.profile = profile.merge(boot.metadata, None)
    try:
        carry_out(boot, tell, lambda text: texts.append(f"warn: {text}"))
    except GuestError as error:
        return texts, [str(error)]
    return texts, []


def fetch_metadata(boot: "Boot") -> "InstanceMetadata | None":
    """Return the instance metadata; None, with a warning, if IMDS fails within its budget."""
    from agent.azure import imds

    try:
        boot.silence = "it has not answered yet"
        budget = imds.budget(boot.deadline, is_needed=not profile.suffices(boot.medium))
        metadata = imds.instance(boot.imds, budget, boot.log, boot.meanwhile)
    except (GaveUp, Refused) as error:
        boot.silence = str(error)
        boot.log.warning(f"going on without instance metadata: {error}")
        return None
    boot.silence = ""
    return metadata


def find_identity(boot: "Boot", metadata: "InstanceMetadata | None") -> bool:
    """Keep the metadata, and take the VM id as they spell it; False if all is done."""
    boot.metadata = metadata
    early.take(boot, profile.merge(metadata, boot.medium))
    told, known = identity.canonical(metadata.vm_id) if metadata else "", boot.vm_id
    if known and told and told not in identity.spellings(known):
        boot.log.warning(f"the instance metadata are about another VM ({told}) than {known}")
        return True
    boot.vm_id = told or known
    return bool(known) or not _is_done(boot)


def has_marker(boot: "Boot") -> bool:
    """Tell whether this VM has been provisioned, as far as its id is known. Raises GuestError."""
    ids = identity.spellings(boot.vm_id)
    return state.is_provisioned(boot.root, boot.config.state_directory, ids)


def _is_done(boot: "Boot") -> bool:
    try:
        done = has_marker(boot)
    except GuestError as error:
        boot.log.warning(f"{error}; going on as if this VM had not been provisioned")
        return False
    if done:
        boot.log.info(f"this VM ({boot.vm_id}) has been provisioned: nothing to do")
        _end(boot)  # an earlier run may have been killed between marker and unit
    return done
