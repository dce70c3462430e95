"""`azready provision`: carry out a first boot (agent/steps), and report Ready or the failure.

Whatever ends a run before Ready is accepted, the marker stays away and the unit stays enabled: the
next boot tries again. A signal ends it, too, and leaves 20 s to tell why (agent/signals.py).
"""

from agent import notify, profile, signals
from agent.azure.retry import Deadline
from agent.change import perform
from agent.change import rehearse as say
from agent.commands import common, failure, wanted
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
from agent.log import Quiet
from agent.machine import identity
from agent.steps import (
    DISABLE,
    EARLY,
    HOST_KEYS,
    MARKER,
    READY,
    STEPS,
    host_keys,
    media,
    state,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.boot import Boot
    from agent.change import Change, Step
    from agent.log import Log
    from agent.protocol.imds import InstanceMetadata

# Where a first boot changes files; each may be a file system of its own.
_CHANGED = ("/etc", "/etc/doas.d", "/etc/ssh", "/etc/ssh/sshd_config.d", "/etc/sudoers.d", "/home")


def run(options: "dict[str, str]", log: "Log") -> int:
    """Provision the machine or tree of the command line."""
    log.watch = notify.status
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
            _or_warn(boot, lambda: host_keys.end(boot))
            when = "while Ready was reported" if boot.ready_sent else "before Ready was reported"
            boot.failure = boot.failure or f"terminated by {ended} {when}"
            failure.finish(boot, Deadline(signals.left()), EXIT_FAILED)
        _or_warn(boot, lambda: _act(boot, MARKER.changes(boot)))
        _or_warn(boot, lambda: _act(boot, DISABLE.changes(boot)))
    if not boot.rehearsing:
        boot.log.info(f"provisioned: Ready was reported and accepted after {boot.log.elapsed()}")


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
        _begin(boot)
        if not find_identity(boot, fetch_metadata(boot)):
            signals.mute()
            return False
        host_keys.begin(boot)
        _carry_out(boot, lambda changes: _attempt(boot, changes), boot.log.warning)
        if not boot.rehearsing:
            _or_warn(boot, lambda: boot.root.settle((*_CHANGED, boot.config.state_directory)))
            notify.ready()  # only the report is left: people may log in meanwhile
        _act(boot, READY.changes(boot))
        signals.mute()  # the rest takes milliseconds and must not be lost
    except Exception as error:
        if boot.keys:  # whoever comes to help needs them
            _or_warn(boot, lambda: _act(boot, host_keys.changes(boot)))
        failure.fail(boot, error)
    return True


def _begin(boot: "Boot") -> None:
    """Do what needs no network, which may not be there yet. Raises GuestError.

    The CD is read, host keys are begun, and the host name is set before anybody asks for a lease.
    The metadata may still change the name.
    """
    if boot.rehearsing and boot.dhcp is not None and boot.root.is_live:
        from agent.machine import dhcp

        _act(boot, dhcp.changes(boot.root, boot.dhcp))
    if boot.rehearsing or not boot.vm_id:
        return  # without an id, the metadata have to say whether all is done
    host_keys.begin(boot)
    boot.beside = lambda: _use_keys(boot)
    if boot.config.steps["media"]:
        media.look(boot, Quiet(), waits=False)
    boot.profile = profile.merge(None, boot.medium)
    _perform(boot, EARLY)


def _use_keys(boot: "Boot") -> None:
    """Put the host keys in their place once all are made: sshd may wait for them."""
    if boot.keys and boot.keys.has_ended():
        _perform(boot, (HOST_KEYS,))


def _perform(boot: "Boot", steps: "Sequence[Step]") -> None:
    _carry_out(boot, lambda changes: _attempt(boot, changes), boot.log.warning, steps)


def rehearse(boot: "Boot") -> "tuple[list[str], list[str]]":
    """Return (what `provision` would do, what would fail the run), for a boot with its metadata.

    A step whose failure would be a warning says so among the first.
    """
    texts: "list[str]" = []

    def act(changes: "Iterator[Change]") -> None:
        texts.extend(change.text for change in changes)

    boot.rehearsing = True
    boot.profile = profile.merge(boot.metadata, None)
    try:
        _carry_out(boot, act, lambda text: texts.append(f"warn: {text}"))
    except GuestError as error:
        return texts, [str(error)]
    return texts, []


def _carry_out(
    boot: "Boot",
    act: "Callable[[Iterator[Change]], object]",
    warn: "Callable[[str], object]",
    steps: "Sequence[Step]" = STEPS,
) -> None:
    """Hand the stream of each of `steps` that is switched on to `act`. Raises GuestError."""
    for step in steps:
        if not boot.config.steps[step.name]:
            boot.log.debug(f"steps.{step.name} is off")
            continue
        if step is HOST_KEYS and step.name in boot.done:
            continue  # in a pause
        boot.log.status(f"step {step.name}: {step.summary}")
        try:
            act(step.changes(boot))
        except GuestError as error:
            if step.name in boot.config.fatal:
                raise
            warn(str(error))
        else:
            boot.done.add(step.name)
    if boot.profile.preprovisioned and steps is STEPS:  # said once
        boot.log.warning(
            "this VM comes from a pool of preprovisioned VMs, which azready does not support: its "
            "settings may be the pool's, not the owner's"
        )


def _attempt(boot: "Boot", changes: "Iterator[Change]") -> None:
    signals.listen()  # the clean-up of an earlier one that failed may have hidden a signal
    _act(boot, changes)


def _act(boot: "Boot", changes: "Iterator[Change]") -> int:
    return say(changes, boot.log) if boot.rehearsing else perform(changes, boot.log)


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
    boot.profile = profile.merge(metadata, boot.medium)
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
        # A run may have been killed between marker and unit.
        _or_warn(boot, lambda: _act(boot, DISABLE.changes(boot)))
    return done


def _or_warn(boot: "Boot", work: "Callable[[], object]") -> None:
    try:
        work()
    except GuestError as error:
        boot.log.warning(str(error))
