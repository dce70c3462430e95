"""`azready provision`: carry out a first boot (agent/steps), and report Ready or the failure.

A failure is told to the Hyper-V host first and then to the platform, because the person at the
portal can read nothing else. Whatever ends a run before Ready is accepted, the marker stays away
and the unit stays enabled: the next boot tries again.
"""

import posix
from _signal import SIG_IGN, SIGTERM, signal

from agent import profile
from agent.azure.retry import Deadline
from agent.azure.wireserver import Wireserver
from agent.change import perform
from agent.change import rehearse as say
from agent.commands import common
from agent.errors import EXIT_DONE, AzreadyError, GaveUp, GuestError, PrivilegeError, Refused
from agent.init import rivals
from agent.machine import identity
from agent.protocol import kvp as records
from agent.settings import DEFAULT_PATH
from agent.steps import DISABLE, MARKER, READY, STEPS, kvp, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.boot import Boot
    from agent.change import Change
    from agent.log import Log
    from agent.protocol.imds import InstanceMetadata

# Where a first boot changes files; each may be a file system of its own.
_CHANGED = ("/etc", "/etc/doas.d", "/etc/ssh", "/etc/ssh/sshd_config.d", "/etc/sudoers.d", "/home")

LAST_WORDS = 20.0  # seconds to report a terminated run; init systems wait longer than that


class ProvisioningFailed(AzreadyError):
    """A step failed, and the platform was told so (exit status 1)."""


class Terminated(AzreadyError):
    """SIGTERM arrived before Ready was reported."""


def run(options: "dict[str, str]", log: "Log") -> int:
    """Provision the machine or tree of the command line."""
    root = common.tree(options)
    try:
        config = common.config(root, options)
    except AzreadyError as error:
        if "--config" not in options and "--dry-run" not in options:
            _report_configuration(common.boot(root, options, None, log), error)
        raise
    provision(common.boot(root, options, config, log))
    return EXIT_DONE


def provision(boot: "Boot") -> None:
    """Provision this VM and report Ready; return when that is done or there is nothing to do.

    Raises PrivilegeError; ProvisioningFailed, which was reported; GaveUp or Refused, if the
    wireserver did not accept the report.
    """
    if not is_wanted(boot):
        return
    signal(SIGTERM, _terminate)
    try:
        if not find_identity(boot, fetch_metadata(boot)):
            return
        _carry_out(boot, lambda changes: _act(boot, changes), boot.log.warning)
        if not boot.rehearsing:
            _or_warn(boot, lambda: boot.root.settle((*_CHANGED, boot.config.state_directory)))
        _act(boot, READY.changes(boot))
    except (GaveUp, Refused) as error:
        _record_failure(boot, str(error))
        raise
    except Exception as error:
        _fail(boot, error)
    # Ready is accepted: the rest takes milliseconds and must not be lost.
    signal(SIGTERM, SIG_IGN)
    _or_warn(boot, lambda: _act(boot, MARKER.changes(boot)))
    _or_warn(boot, lambda: _act(boot, DISABLE.changes(boot)))
    if not boot.rehearsing:
        boot.log.info(f"provisioned: Ready was reported and accepted after {boot.log.elapsed()}")


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
) -> None:
    """Hand the stream of every step that is switched on to `act`. Raises GuestError."""
    for step in STEPS:
        if not boot.config.steps[step.name]:
            boot.log.debug(f"steps.{step.name} is off")
            continue
        try:
            act(step.changes(boot))
        except GuestError as error:
            if step.name in boot.config.fatal:
                raise
            warn(str(error))
    if boot.profile.preprovisioned:
        boot.log.warning(
            "this VM comes from a pool of preprovisioned VMs, which azready does not support: its "
            "settings may be the pool's, not the owner's"
        )


def _act(boot: "Boot", changes: "Iterator[Change]") -> int:
    return say(changes, boot.log) if boot.rehearsing else perform(changes, boot.log)


def is_wanted(boot: "Boot") -> bool:
    """Tell whether this is Azure, nobody else provisions, and this VM is not provisioned yet.

    If not, the log says so. Raises PrivilegeError if this user may not find out.
    """
    if boot.root.is_live and posix.geteuid() != 0 and not boot.rehearsing:
        raise PrivilegeError(
            "provision changes this machine and needs root: run it as root, or name another tree "
            "with --root DIR"
        )
    if not boot.force and not _is_on_azure(boot):
        return False
    if _has_rival(boot):
        return False
    boot.vm_id = identity.vm_id(boot.root)
    return not _is_done(boot)


def _is_on_azure(boot: "Boot") -> bool:
    on_azure, why = identity.on_azure(boot.root)
    if not on_azure:
        boot.log.info(f"not a VM on Azure ({why}): nothing to do; --force overrides this")
    return on_azure


def _has_rival(boot: "Boot") -> bool:
    """Tell whether another agent is enabled that azready leaves the work to."""
    if not boot.config.step_back:
        return False
    try:
        name, link = rivals.enabled(boot.root)
    except GuestError as error:
        boot.log.warning(f"{error}; going on as if no other agent were enabled")
        return False
    if name:
        boot.log.info(
            f"{name} is enabled ({link}) and provisions this VM: nothing to do; "
            f"step_back = false in {DEFAULT_PATH} overrides this"
        )
    return bool(name)


def fetch_metadata(boot: "Boot") -> "InstanceMetadata | None":
    """Return the instance metadata; None, with a warning, if IMDS fails within its budget."""
    from agent.azure import imds

    try:
        return imds.instance(boot.imds, imds.budget(boot.deadline), boot.log)
    except (GaveUp, Refused) as error:
        boot.silence = str(error)
        boot.log.warning(f"going on without instance metadata: {error}")
        return None


def find_identity(boot: "Boot", metadata: "InstanceMetadata | None") -> bool:
    """Keep the metadata, and take the VM id as they spell it; False if all is done."""
    boot.metadata = metadata
    boot.profile = profile.merge(metadata, None)
    told, known = identity.canonical(metadata.vm_id) if metadata else "", boot.vm_id
    if known and told and told not in (known, identity.swapped(known)):
        boot.log.warning(f"the instance metadata are about another VM ({told}) than {known}")
        return True
    boot.vm_id = told or known
    return bool(known) or not _is_done(boot)


def has_marker(boot: "Boot") -> bool:
    """Tell whether this VM has been provisioned, as far as its id is known. Raises GuestError."""
    ids = (boot.vm_id, identity.swapped(boot.vm_id)) if boot.vm_id else ()
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


def _terminate(*_: object) -> None:
    signal(SIGTERM, SIG_IGN)  # the report comes next, and once is enough
    raise Terminated("terminated by SIGTERM before Ready was reported")


def _fail(boot: "Boot", error: Exception) -> None:
    """Report the failure to host and platform. Always raises ProvisioningFailed."""
    reason = str(error)
    if not isinstance(error, AzreadyError):
        reason = f"unhandled exception: {type(error).__name__}: {error}"
    if boot.rehearsing:
        raise ProvisioningFailed(f"provisioning would fail: {reason}") from None
    _report_failure(boot, reason)
    raise ProvisioningFailed(f"provisioning failed and was reported: {reason}") from None


def _report_failure(boot: "Boot", reason: str) -> None:
    """Report ProvisioningFailed. Raises ProvisioningFailed if the wireserver does not accept it."""
    description = _record_failure(boot, reason)
    deadline = boot.deadline if boot.deadline.left() > 0 else Deadline(LAST_WORDS)
    wireserver = Wireserver(boot.wireserver, deadline, boot.log)
    try:
        wireserver.report_not_ready("ProvisioningFailed", description)
    except AzreadyError as error:
        raise ProvisioningFailed(
            f"provisioning failed: {reason}; and it could not be reported: {error}"
        ) from None


def _record_failure(boot: "Boot", reason: str) -> str:
    """Record the failure for the Hyper-V host; return the text of the record."""
    text = records.error(reason, kvp.source(boot))
    if boot.config.steps["kvp"] and not boot.rehearsing and kvp.has_pool(boot.root):
        _or_warn(boot, lambda: kvp.write(boot.root, text))
    return text


def _report_configuration(boot: "Boot", error: AzreadyError) -> None:
    """Report settings that cannot be used: at a first boot nobody reads this machine's log."""
    try:
        if is_wanted(boot):
            _report_failure(boot, str(error))
    except AzreadyError as second:
        boot.log.error(str(second))
