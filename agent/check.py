"""`azready check`: says what stands between this machine and Ready. Changes nothing and sends nothing but GETs.

Strategy: one function per question, each adds findings; a finding is good, a hint, or a reason why provisioning would not work. The answers to people
and to programs are made from the same list.
"""

import posix
from time import monotonic

from agent import init, plan, provision
from agent.azure import identity, network
from agent.azure.wireserver import Wireserver
from agent.errors import AzreadyError, GuestError
from agent.guest import programs
from agent.init import rivals
from agent.osprofile import OSProfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.media import Medium
    from agent.protocol.imds import InstanceMetadata

GOOD, HINT, BAD = "ok", "hint", "bad"
TOOLS = (
    "useradd",
    "adduser",
    "chpasswd",
    "sudo",
    "doas",
    "sshd",
    "bash",
    "networkctl",
    "restorecon",
    "mount",
    "systemd-run",
)


class Findings:
    """What was found, in order: (state, subject, text). `would` is what provision would do."""

    def __init__(self) -> None:
        self.lines: "list[tuple[str, str, str]]" = []
        self.would: list[str] = []

    def add(self, verdict: str, subject: str, text: str) -> None:
        """Keep one finding."""
        self.lines.append((verdict, subject, text))

    @property
    def good(self) -> bool:
        """Whether provisioning would work."""
        return all(verdict != BAD for verdict, _, _ in self.lines)

    def as_text(self) -> str:
        """For people: a line each."""
        marks = {GOOD: "ok   ", HINT: "hint ", BAD: "BAD  "}
        lines = [f"{marks[verdict]} {subject:<14} {text}" for verdict, subject, text in self.lines]
        lines += [f"would {'':<14} {line}" for line in self.would]
        lines.append(
            "provisioning would work"
            if self.good
            else "provisioning would NOT work: see the lines that start with BAD"
        )
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """For programs: an object with `ok`, `findings` and `would`."""
        import json

        findings = [
            {"state": verdict, "subject": subject, "text": text}
            for verdict, subject, text in self.lines
        ]
        return (
            json.dumps({"ok": self.good, "findings": findings, "would": self.would}, indent=2)
            + "\n"
        )


def check(job: "provision.Job") -> Findings:
    """Look at everything that a first boot depends on. `job.deadline` bounds all of it."""
    findings = Findings()
    _privilege(job, findings)
    _platform(job, findings)
    rival = _rival(job, findings)
    _network(findings)
    metadata = _metadata(job, findings)
    _goal_state(job, findings)
    medium = _medium(job, metadata, findings)
    done = _marker(job, findings)
    _unit(job, findings)
    found = [name for name in TOOLS if programs.find(job.root, name)]
    findings.add(
        GOOD, "tools", f"found {', '.join(found) or 'none'}; what is missing is done without"
    )
    if done or rival:
        findings.would = [
            f"do nothing: {f'{rival} is enabled' if rival else 'this VM has been provisioned'}"
        ]
        return findings
    try:
        findings.would, problems = plan.plan(job.root, job.config, OSProfile(metadata, medium))
    except GuestError as error:
        problems = [str(error)]
    for problem in problems:
        findings.add(BAD, "plan", problem)
    return findings


def _privilege(job: "provision.Job", findings: Findings) -> None:
    if job.root.is_live and posix.geteuid() != 0:
        findings.add(
            HINT,
            "user",
            "this is not root: provisioning needs root, and some of what follows may be hidden from this user",
        )


def _platform(job: "provision.Job", findings: Findings) -> None:
    on_azure, why = identity.on_azure(job.root)
    if on_azure:
        findings.add(GOOD, "platform", f"Azure: {why}")
    else:
        verdict = HINT if job.force else BAD
        findings.add(
            verdict,
            "platform",
            f"not Azure: {why}; provision {'--force goes on' if job.force else 'does nothing here without --force'}",
        )
    job.vm_id = identity.vm_id(job.root)
    if job.vm_id:
        findings.add(
            GOOD, "VM id", f"{job.vm_id}, in the other byte order {identity.swapped(job.vm_id)}"
        )
    else:
        findings.add(
            HINT,
            "VM id",
            "not in DMI (or only root may read it); the instance metadata has it, too",
        )


def _rival(job: "provision.Job", findings: Findings) -> str:
    name, link = rivals.enabled(job.root)
    if name:
        then = (
            "azready steps back for it"
            if job.config.step_back
            else "azready provisions all the same, as the configuration says"
        )
        findings.add(HINT, "other agents", f"{name} is enabled: {link}; {then}")
    return name if job.config.step_back else ""


def _network(findings: Findings) -> None:
    try:
        links, addresses, routes = network.survey()
    except AzreadyError as error:
        findings.add(HINT, "network", str(error))
        return
    names = {link.index: link.name for link in links}
    for link in links:
        own = [
            f"{network.text(address.packed)}/{address.prefix}"
            for address in addresses
            if address.index == link.index
        ]
        power = ("up" if link.running else "up, no carrier") if link.up else "down"
        findings.add(
            GOOD if link.running and own else HINT,
            "link",
            f"{link.name}: {power}, {link.mac.hex(':') or 'no MAC'}, {', '.join(own) or 'no address'}",
        )
    for route in routes:
        target = (
            f"{network.text(route.destination)}/{route.prefix}" if route.destination else "default"
        )
        way = f"by {network.text(route.gateway)} " if route.gateway else ""
        findings.add(GOOD, "route", f"{target} {way}on {names.get(route.index, route.index)}")
    if not any(not route.destination for route in routes):
        findings.add(HINT, "route", "there is no default route: is a DHCP client running?")


def _metadata(job: "provision.Job", findings: Findings) -> "InstanceMetadata | None":
    from agent.azure import imds

    started = monotonic()
    try:
        metadata = imds.instance(job.imds, imds.budget(job.deadline), job.log)
    except AzreadyError as error:
        findings.add(
            HINT,
            "IMDS",
            f"{error}; provision goes on without it, with what the provisioning CD says",
        )
        return None
    took = monotonic() - started
    findings.add(
        GOOD,
        "IMDS",
        f"answered in {took:.3f} s: computer name {metadata.computer_name!r}, user {metadata.admin_username!r}, id {metadata.vm_id}",
    )
    known = job.vm_id
    if known and metadata.vm_id.lower() not in (known, identity.swapped(known)):
        findings.add(HINT, "VM id", f"IMDS says {metadata.vm_id}, DMI {known}")
    job.vm_id = known or identity.canonical(metadata.vm_id)
    return metadata


def _goal_state(job: "provision.Job", findings: Findings) -> None:
    started = monotonic()
    try:
        goal_state = Wireserver(job.wireserver, job.deadline, job.log).goal_state()
    except AzreadyError as error:
        findings.add(BAD, "wireserver", str(error))
        return
    took = monotonic() - started
    findings.add(GOOD, "wireserver", f"answered in {took:.3f} s")
    findings.add(
        GOOD,
        "goal state",
        f"incarnation {goal_state.incarnation}, container {goal_state.container_id}, instance {goal_state.instance_id}",
    )


def _medium(
    job: "provision.Job", metadata: "InstanceMetadata | None", findings: Findings
) -> "Medium | None":
    from agent.azure import media

    def by_kernel(_: str) -> "dict[str, bytes]":
        raise GuestError("check mounts nothing")

    devices = list(job.config.devices) or media.devices(job.root)
    medium = (
        media.find(job.root, tuple(devices), job.deadline.within(0), by_kernel, job.log)
        if devices
        else None
    )
    if medium:
        has = [
            name
            for name, value in (
                ("a password", medium.environment.password),
                ("customData", medium.environment.custom_data),
            )
            if value
        ]
        findings.add(
            GOOD,
            "CD",
            f"{medium.device}: user {medium.environment.user_name!r}"
            + (f", with {' and '.join(has)}" if has else ""),
        )
    else:
        seen = (
            f"no provisioning CD in {', '.join(devices)}"
            if devices
            else "no optical device (is its driver, sr_mod, in the image?)"
        )
        needed = (
            "; a password and customData come from there only"
            if metadata and metadata.disable_password is False
            else ""
        )
        findings.add(HINT, "CD", f"{seen}{needed}; it is taken away once Ready was reported")
    return medium


def _marker(job: "provision.Job", findings: Findings) -> bool:
    directory = job.config.state_directory
    try:
        done = provision.has_marker(job)
    except AzreadyError as error:
        findings.add(HINT, "marker", str(error))
        return False
    findings.add(
        HINT if done else GOOD,
        "marker",
        f"{directory}: this VM {'has been provisioned: provision does nothing' if done else 'is not provisioned yet'}",
    )
    return done


def _unit(job: "provision.Job", findings: Findings) -> None:
    where = init.enabled(job.root)
    if where:
        findings.add(GOOD, "unit", f"azready is enabled: {', '.join(where)}")
    else:
        findings.add(
            HINT,
            "unit",
            "azready is not enabled: no boot runs it (azready install enables it; after a first boot this is as it should be)",
        )
