"""The steps of a first boot, in order. Read this page first.

Everything that can fail does so before Ready is reported: Ready makes the platform take its provisioning data away, and the marker and the disabled
unit may only follow an answer that accepts it. Host name and hosts file warn; what nobody foresaw is reported to the platform as a failure. Every
step may run twice.
"""

import posix

from agent import __version__
from agent.azure import identity
from agent.azure.retry import Deadline
from agent.azure.wireserver import Wireserver
from agent.errors import AzreadyError, GaveUp, GuestError, PrivilegeError, Refused
from agent.guest import hostname, state
from agent.init import systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.azure.http import Endpoint
    from agent.log import Log
    from agent.protocol.imds import InstanceMetadata


class ProvisioningFailed(AzreadyError):
    """A step failed, and the platform was told so (exit code 1)."""


class Job:
    """What one run works on: `root` (path; "/" is this machine), the two endpoints, `deadline`, `log`, and the two choices `force` and `dry_run`."""

    __slots__ = ("deadline", "dry_run", "force", "imds", "log", "root", "wireserver")

    def __init__(
        self, root: str, wireserver: "Endpoint", imds: "Endpoint", deadline: Deadline, log: "Log", *, force: bool = False, dry_run: bool = False
    ) -> None:
        self.root = root
        self.wireserver = wireserver
        self.imds = imds
        self.deadline = deadline
        self.log = log
        self.force = force
        self.dry_run = dry_run


def provision(job: Job) -> None:
    """Provision this VM and report Ready; returns when it is done or there is nothing to do.

    Raises PrivilegeError, ProvisioningFailed (reported), GaveUp or Refused (the wireserver did not accept the report).
    """
    if job.root == "/" and posix.geteuid() != 0 and not job.dry_run:
        raise PrivilegeError("provision changes this machine and needs root: run it as root, or name another tree with --root DIR")
    if not job.force and not _on_azure(job):
        return
    vm_id = identity.vm_id(job.root)
    if _already_done(job, vm_id):
        return

    wireserver = Wireserver(job.wireserver, job.deadline, job.log)
    try:
        metadata = _metadata(job)
        if not vm_id and metadata:
            vm_id = identity.canonical(metadata.vm_id)
            if _already_done(job, vm_id):
                return
        _host_name(job, metadata)
    except Exception as error:
        _report_failure(job, wireserver, error)
    _ready(job, wireserver)
    _mark(job, vm_id)
    _disable_unit(job)
    if not job.dry_run:
        job.log.info(f"provisioned: Ready was reported and accepted after {job.log.elapsed()}")


def _on_azure(job: Job) -> bool:
    tag = identity.asset_tag(job.root)
    if tag == identity.AZURE_ASSET_TAG:
        return True
    found = f"the chassis asset tag is {tag!r}" if tag else "there is no chassis asset tag"
    job.log.info(f"this is not a VM on Azure ({found}): nothing was done; --force provisions all the same")
    return False


def _already_done(job: Job, vm_id: str) -> bool:
    if not vm_id:
        return False
    try:
        done = state.is_provisioned(job.root, (vm_id, identity.swapped(vm_id)))
    except GuestError as error:
        job.log.warning(f"{error}; going on as if this VM had not been provisioned")
        return False
    if done:
        job.log.info(f"this VM ({vm_id}) has been provisioned before: nothing to do")
        _disable_unit(job)  # a run may have been killed between marker and unit
    return done


def _metadata(job: Job) -> "InstanceMetadata | None":
    from agent.azure import imds

    budget = imds.budget(job.deadline)
    try:
        return imds.instance(job.imds, budget, job.log)
    except (GaveUp, Refused) as error:
        job.log.warning(f"going on without instance metadata, the host name stays as it is: {error}")
        return None


def _host_name(job: Job, metadata: "InstanceMetadata | None") -> None:
    if metadata is None:
        return
    wanted = metadata.computer_name or metadata.name
    name = hostname.sanitise(metadata.computer_name) or hostname.sanitise(metadata.name)
    if not name:
        job.log.warning(f"the instance metadata holds no usable host name ({wanted!r}): it stays as it is")
        return
    if name != wanted:
        job.log.info(f"host name {wanted!r} is made legal: {name}")
    if job.dry_run:
        job.log.info(f"would set the host name to {name}")
        return
    old_name = hostname.current() if job.root == "/" else ""
    if job.root == "/" and old_name != name:
        _or_warn(job, lambda: hostname.set_running(name))
    _or_warn(job, lambda: hostname.write_hostname(job.root, name))
    _or_warn(job, lambda: hostname.write_hosts(job.root, name, old_name))
    job.log.info(f"host name: {name}")


def _ready(job: Job, wireserver: Wireserver) -> None:
    if job.dry_run:
        goal_state = wireserver.goal_state()
        job.log.info(f"would report Ready for instance {goal_state.instance_id} in container {goal_state.container_id}, then write the marker")
        return
    goal_state = wireserver.report_ready()
    job.log.info(f"Ready was accepted for instance {goal_state.instance_id} in container {goal_state.container_id}")


def _mark(job: Job, vm_id: str) -> None:
    if job.dry_run:
        return
    if not vm_id:
        job.log.warning("this VM's id is not known (no DMI, no instance metadata): no marker was written, the next boot may provision again")
        return
    _or_warn(job, lambda: state.mark_provisioned(job.root, vm_id, f"azready {__version__} reported Ready"))


def _disable_unit(job: Job) -> None:
    def disable() -> None:
        for place in systemd.disable(job.root):
            job.log.info(f"disabled the unit: removed {place}")

    if not job.dry_run:
        _or_warn(job, disable)


def _or_warn(job: Job, step: "Callable[[], object]") -> None:
    try:
        step()
    except GuestError as error:
        job.log.warning(str(error))


def _report_failure(job: Job, wireserver: Wireserver, error: Exception) -> None:
    """Tell the platform that provisioning failed, so that the person at the portal reads why; always raises."""
    reason = f"unhandled exception: {type(error).__name__}: {error}"
    if job.dry_run:
        raise ProvisioningFailed(f"provisioning would fail: {reason}")
    try:
        wireserver.report_not_ready("ProvisioningFailed", reason)
    except AzreadyError as second:
        raise ProvisioningFailed(f"provisioning failed: {reason}; and it could not be reported: {second}") from None
    raise ProvisioningFailed(f"provisioning failed and was reported: {reason}") from None
