"""The steps of a first boot, in order. Read this page first.

Everything that can fail does so before Ready is reported: Ready makes the platform take its provisioning CD away and read the key-value pool, and the
marker and the disabled unit may only follow an answer that accepts it. A step whose failure would lock the user out makes the run fail, the others
warn; a failure is told to the host and to the platform, with its reason. Every step may run twice.
"""

import posix
from _signal import SIG_IGN, SIGTERM, signal

from agent import __version__, init, osprofile
from agent.azure import identity
from agent.azure.retry import Deadline
from agent.azure.wireserver import Wireserver
from agent.config import DEFAULT_PATH
from agent.errors import AzreadyError, GaveUp, GuestError, PrivilegeError, Refused
from agent.guest import hostname, state
from agent.osprofile import OSProfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from agent.azure.http import Endpoint
    from agent.azure.media import Medium
    from agent.config import Config
    from agent.guest.accounts import Account
    from agent.log import Log
    from agent.protocol.imds import InstanceMetadata
    from agent.root import Root

    T = TypeVar("T")

# Where a first boot changes files; each may be a file system of its own.
_CHANGED = ("/etc", "/etc/doas.d", "/etc/ssh", "/etc/ssh/sshd_config.d", "/etc/sudoers.d", "/home")

LAST_WORDS = 20.0  # seconds for telling the platform that the run was terminated; init systems wait longer than that


class ProvisioningFailed(AzreadyError):
    """A step failed, and the platform was told so (exit code 1)."""


class Terminated(AzreadyError):
    """SIGTERM came in the middle."""


class Job:
    """What one run works on: `root` (Root), the two endpoints, `deadline`, `config`, `log`, the choices `force` and `dry_run`; and what
    it finds out: `vm_id` ("" if unknown) and `notes` for the report.
    """

    __slots__ = (
        "config",
        "deadline",
        "dry_run",
        "force",
        "imds",
        "log",
        "notes",
        "root",
        "vm_id",
        "wireserver",
    )

    def __init__(
        self,
        root: "Root",
        wireserver: "Endpoint",
        imds: "Endpoint",
        deadline: Deadline,
        config: "Config",
        log: "Log",
        *,
        force: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.root = root
        self.wireserver = wireserver
        self.imds = imds
        self.deadline = deadline
        self.config = config
        self.log = log
        self.force = force
        self.dry_run = dry_run
        self.vm_id = ""
        self.notes: "tuple[str, ...]" = ()


def provision(job: Job) -> None:
    """Provision this VM and report Ready; returns when it is done or there is nothing to do.

    Raises PrivilegeError, ProvisioningFailed (reported), GaveUp or Refused (the wireserver did not accept the report).
    """
    if not is_wanted(job):
        return
    signal(SIGTERM, _terminate)
    try:
        metadata = fetch_metadata(job)
        if not job.vm_id and metadata:
            job.vm_id = identity.canonical(metadata.vm_id)
            if _already_done(job):
                return
        medium = find_medium(job, metadata)
        if medium is None and "media" in job.config.fatal and osprofile.needs_medium(metadata):
            raise GuestError("something must come from the provisioning CD, and none could be read")
        profile = OSProfile(metadata, medium)
        if job.dry_run:
            _say_plan(job, profile)
        else:
            _carry_out(job, profile)
        _ready(job)
    except (GaveUp, Refused) as error:
        _record_failure(job, str(error))
        raise
    except Exception as error:
        _report_failure(job, error)
    signal(
        SIGTERM, SIG_IGN
    )  # Ready is accepted: what is left takes milliseconds and must not be lost
    _mark(job)
    _disable_unit(job)
    if not job.dry_run:
        job.log.info(f"provisioned: Ready was reported and accepted after {job.log.elapsed()}")


def _carry_out(job: Job, profile: OSProfile) -> None:
    """All steps between what the platform wants and the report."""
    if profile.preprovisioned:
        job.log.warning(
            "this VM comes from a pool of pre-provisioned ones, which azready does not know: what it finds may be the pool's, not the owner's"
        )
    old_name = hostname.current()
    _step(job, "host_name", lambda: _host_name(job, profile))
    if hostname.current() != old_name:
        _step(job, "publish_host_name", lambda: _publish(job))
    if profile.user_name:
        account = (
            _step(job, "user", lambda: _user(job, profile))
            if job.config.steps["user"]
            else _existing_user(job, profile)
        )
        if account:
            _step(job, "sudo", lambda: _sudo(job, profile))
            _step(job, "ssh_keys", lambda: _ssh_keys(job, profile, account))
            _step(job, "password", lambda: _password(job, profile))
    else:
        job.log.info("the platform names no user: accounts stay as they are")
    if profile.disable_password is not None:
        _step(job, "sshd", lambda: _sshd(job, allowed=not profile.disable_password))
    _step(job, "host_keys", lambda: _host_keys(job))
    _step(job, "custom_data", lambda: _custom_data(job, profile))
    _step(job, "user_data", lambda: _save(job, "userData", profile.user_data()))
    _or_warn(job, lambda: job.root.settle((*_CHANGED, job.config.state_directory)))
    _step(job, "kvp", lambda: _record_success(job))


def is_wanted(job: Job) -> bool:
    """Whether this machine is on Azure and not provisioned yet; if not, the log says so. Raises PrivilegeError if this user may not find out."""
    if job.root.is_live and posix.geteuid() != 0 and not job.dry_run:
        raise PrivilegeError(
            "provision changes this machine and needs root: run it as root, or name another tree with --root DIR"
        )
    if not job.force and not _on_azure(job):
        return False
    if _steps_back(job):
        return False
    job.vm_id = identity.vm_id(job.root)
    return not _already_done(job)


def _on_azure(job: Job) -> bool:
    on_azure, why = identity.on_azure(job.root)
    if not on_azure:
        job.log.info(
            f"this is not a VM on Azure ({why}): nothing was done; --force provisions all the same"
        )
    return on_azure


def _steps_back(job: Job) -> bool:
    if not job.config.step_back:
        return False
    from agent.init import rivals

    try:
        name, link = rivals.enabled(job.root)
    except GuestError as error:
        job.log.warning(f"{error}; going on as if no other agent were enabled")
        return False
    if name:
        job.log.info(
            f"{name} is enabled ({link}): nothing was done, that is its work now; step_back = false in {DEFAULT_PATH} provisions all the same"
        )
    return bool(name)


def fetch_metadata(job: Job) -> "InstanceMetadata | None":
    """The instance metadata; None, with a warning, if it cannot be had in its part of the time."""
    from agent.azure import imds

    try:
        return imds.instance(job.imds, imds.budget(job.deadline), job.log)
    except (GaveUp, Refused) as error:
        job.log.warning(f"going on without instance metadata: {error}")
        return None


def find_medium(job: Job, metadata: "InstanceMetadata | None") -> "Medium | None":
    """The provisioning CD; one from which something is needed may take its time to appear."""
    if not job.config.steps["media"]:
        return None
    from agent.azure import media
    from agent.guest import mount

    wait = job.config.media_wait if osprofile.needs_medium(metadata) else 0.0
    return media.find(
        job.root,
        job.config.devices,
        job.deadline.within(wait),
        lambda device: mount.read_files(
            job.root,
            device,
            f"{job.config.state_directory}/media",
            (media.DOCUMENT, media.CUSTOM_DATA),
        ),
        job.log,
    )


def _step(job: Job, name: str, work: "Callable[[], T]") -> "T | None":
    """Do one step if the configuration wants it; its failure is the run's or a warning, as the configuration says."""
    if not job.config.steps[name]:
        job.log.debug(f"{name} is switched off in the configuration")
        return None
    try:
        return work()
    except GuestError as error:
        if name in job.config.fatal:
            raise
        job.log.warning(str(error))
        return None


def has_marker(job: Job) -> bool:
    """Whether this VM, if its id is known by now, has been provisioned before. Raises GuestError if the state directory cannot be looked at."""
    return bool(job.vm_id) and state.is_provisioned(
        job.root, job.config.state_directory, (job.vm_id, identity.swapped(job.vm_id))
    )


def _already_done(job: Job) -> bool:
    try:
        done = has_marker(job)
    except GuestError as error:
        job.log.warning(f"{error}; going on as if this VM had not been provisioned")
        return False
    if done:
        job.log.info(f"this VM ({job.vm_id}) has been provisioned before: nothing to do")
        _disable_unit(job)  # a run may have been killed between marker and unit
    return done


def _host_name(job: Job, profile: OSProfile) -> None:
    name, wanted = hostname.choose(profile.host_names)
    if not name:
        if any(profile.host_names):
            job.log.warning(
                f"the platform gives no usable host name ({wanted!r}): it stays as it is"
            )
        return
    if name != wanted:
        job.log.info(f"host name {wanted!r} is made legal: {name}")
    problems = hostname.apply(job.root, name)
    job.log.info(f"host name: {name}")
    if problems:
        raise GuestError("; ".join(problems))


def _publish(job: Job) -> None:
    from agent.guest import publish

    for link in publish.again(job.root):
        job.log.info(f"asked networkd to get the lease of {link} again, under the new name")


def _user(job: Job, profile: OSProfile) -> "Account":
    from agent.guest import accounts

    account = accounts.ensure(
        job.root, profile.user_name, job.config.shell or accounts.default_shell(job.root), job.log
    )
    accounts.add_to_groups(job.root, account, job.config.groups, job.log)
    accounts.relabel(job.root, account.home, job.log)
    return account


def _existing_user(job: Job, profile: OSProfile) -> "Account | None":
    from agent.guest import accounts

    try:
        account = accounts.check(job.root, profile.user_name)
    except GuestError as error:
        job.log.warning(str(error))
        return None
    if account is None:
        job.log.info(f"there is no user {profile.user_name}, and none is to be made")
    return account


def _sudo(job: Job, profile: OSProfile) -> None:
    from agent.guest import passwords, sudo

    without = job.config.sudo == "nopasswd"
    if job.config.sudo == "auto":
        without = not profile.password and not passwords.is_set(job.root, profile.user_name)
    if path := sudo.permit(job.root, profile.user_name, without_password=without, log=job.log):
        job.log.info(
            f"{path} lets {profile.user_name} become root {'without' if without else 'with'} a password"
        )


def _ssh_keys(job: Job, profile: OSProfile, account: "Account") -> None:
    from agent.guest import accounts, sshkeys

    by_path, remarks = sshkeys.sort(account, profile.public_keys)
    for remark in remarks:
        job.log.warning(remark)
    for path, keys in by_path.items():
        added = sshkeys.authorize(job.root, account, path, keys)
        job.log.info(
            f"{path}: {len(keys)} SSH key{'s' * (len(keys) != 1)} {'authorized' if added else 'authorized before'}"
        )
        accounts.relabel(job.root, path.rpartition("/")[0], job.log)


def _password(job: Job, profile: OSProfile) -> None:
    from agent.guest import passwords, sshd

    name = profile.user_name
    if profile.password:
        passwords.set_password(job.root, name, profile.password, job.log)
        job.log.info(f"the password of {name} is set")
        return
    passwords.lock(job.root, name, "!" if sshd.uses_pam(job.root) else "*")
    passwords.check_login(
        job.root, name, has_keys=bool(profile.public_keys), password=profile.password
    )


def _sshd(job: Job, *, allowed: bool) -> None:
    from agent.guest import sshd

    if path := sshd.set_password_login(job.root, allowed=allowed, edit=job.config.edit_sshd_config):
        job.log.info(f"{path} {'allows' if allowed else 'forbids'} logins with a password")


def _host_keys(job: Job) -> None:
    from agent.guest import sshd

    if sshd.make_host_keys(job.root):
        job.log.info("host keys for sshd are made")


def _custom_data(job: Job, profile: OSProfile) -> None:
    path = _save(job, "customData", profile.custom_data())
    if path and job.config.run_custom_data:
        from agent.guest import payload

        code = payload.run_once(job.root, path, job.vm_id, job.deadline.left(), job.log)
        if code is not None:
            job.notes = (f"custom_data_exit_code={code}",)
        if code:
            raise GuestError(f"the customData script ended with exit code {code}")


def _save(job: Job, what: str, data: bytes) -> str:
    """Save customData or userData in the state directory; returns the path, "" if there is none."""
    if not data:
        return ""
    from agent.guest import payload

    path = f"{job.config.state_directory}/{what.lower()}"
    payload.save(job.root, path, data)
    job.log.info(f"{what}: {len(data)} bytes saved as {path}")
    return path


def _say_plan(job: Job, profile: OSProfile) -> None:
    from agent import plan

    steps, problems = plan.plan(job.root, job.config, profile)
    for line in steps:
        job.log.info(f"would {line}")
    if problems:
        raise GuestError("; ".join(problems))


def _ready(job: Job) -> None:
    wireserver = Wireserver(job.wireserver, job.deadline, job.log)
    if job.dry_run:
        goal_state = wireserver.goal_state()
        job.log.info(
            f"would report Ready for instance {goal_state.instance_id} in container {goal_state.container_id}, then write the marker"
        )
        return
    goal_state = wireserver.report_ready()
    job.log.info(
        f"Ready was accepted for instance {goal_state.instance_id} in container {goal_state.container_id}"
    )


def _mark(job: Job) -> None:
    if job.dry_run:
        return
    if not job.vm_id:
        job.log.warning(
            "this VM's id is not known (no DMI, no instance metadata): no marker was written, the next boot may provision again"
        )
        return
    _or_warn(
        job,
        lambda: state.mark_provisioned(
            job.root, job.config.state_directory, job.vm_id, f"azready {__version__} reported Ready"
        ),
    )


def _disable_unit(job: Job) -> None:
    if job.dry_run:
        return
    try:
        for place in init.disable(job.root):
            job.log.info(f"disabled the unit: removed {place}")
    except GuestError as error:
        job.log.warning(str(error))
        # The way of an image whose /etc is read-only: the unit has a condition.
        _or_warn(
            job,
            lambda: job.log.info(
                f"{state.mark_disabled(job.root, job.config.state_directory)} keeps the unit from running again"
            ),
        )


def _or_warn(job: Job, step: "Callable[[], object]") -> None:
    try:
        step()
    except GuestError as error:
        job.log.warning(str(error))


def _terminate(*_: object) -> None:
    signal(SIGTERM, SIG_IGN)  # the report comes next, and once is enough
    raise Terminated("terminated by SIGTERM before Ready was reported")


def _report_failure(job: Job, error: Exception) -> None:
    """Tell host and platform that provisioning failed, so that the person at the portal reads why; always raises."""
    reason = (
        str(error)
        if isinstance(error, AzreadyError)
        else f"unhandled exception: {type(error).__name__}: {error}"
    )
    if job.dry_run:
        raise ProvisioningFailed(f"provisioning would fail: {reason}") from None
    report_failure(job, reason)
    raise ProvisioningFailed(f"provisioning failed and was reported: {reason}") from None


def report_failure(job: Job, reason: str) -> None:
    """Report ProvisioningFailed: the record in the key-value pool first, then to the wireserver. Raises ProvisioningFailed if that does not take it."""
    description = _record_failure(job, reason)
    deadline = job.deadline if job.deadline.left() > 0 else Deadline(LAST_WORDS)
    try:
        Wireserver(job.wireserver, deadline, job.log).report_not_ready(
            "ProvisioningFailed", description
        )
    except AzreadyError as error:
        raise ProvisioningFailed(
            f"provisioning failed: {reason}; and it could not be reported: {error}"
        ) from None


def _record_failure(job: Job, reason: str) -> str:
    """Write the record of a failure into the key-value pool; returns its text."""
    from agent.protocol import kvp

    text = kvp.error(reason, f"azready/{__version__}", state.timestamp(), job.vm_id)
    if job.config.steps["kvp"] and not job.dry_run:
        _or_warn(job, lambda: _record(job, text))
    return text


def _record_success(job: Job) -> None:
    from agent.protocol import kvp

    _record(job, kvp.success(f"azready/{__version__}", state.timestamp(), job.vm_id, job.notes))


def _record(job: Job, text: str) -> None:
    from agent.guest import hyperv

    if hyperv.write_report(job.root, text):
        job.log.debug(f"{hyperv.POOL}: {text}")
