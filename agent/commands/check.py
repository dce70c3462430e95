"""`azready check`: diagnose why this VM is not Ready. Changes nothing and sends only GETs.

Strategy: one function per question, each adds findings. A finding is good, a hint, or a reason why
provisioning would fail. The answers to people and to programs are made from the same list.
"""

import posix
from time import monotonic

from agent import init, programs, settings
from agent.azure.wireserver import Wireserver
from agent.commands import common, provision
from agent.errors import EXIT_DONE, EXIT_FAILED, AzreadyError
from agent.init import rivals
from agent.log import Quiet, printable
from agent.machine import identity, network
from agent.steps import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.boot import Boot
    from agent.log import Log
    from agent.protocol.imds import InstanceMetadata

GOOD, HINT, BAD = "ok", "hint", "bad"
_MARKS = {GOOD: "ok   ", HINT: "hint ", BAD: "BAD  "}
_WORKS = "provisioning would work"
TOOLS = (
    "useradd",
    "adduser",
    "chpasswd",
    "sudo",
    "doas",
    "sshd",
    "bash",
    "nmcli",
    "restorecon",
    "mount",
    "systemd-run",
)


class Findings:
    """The findings in order, (state, subject, text), each handed to `tell` as it is found.

    `would` is what provision would do; `nothing` is why it would do nothing, "" if it would.
    """

    def __init__(self, tell: "Callable[[str], object]" = bool) -> None:
        self.lines: "list[tuple[str, str, str]]" = []
        self.would: list[str] = []
        self.nothing = ""
        self._tell = tell

    def add(self, verdict: str, subject: str, text: str) -> None:
        """Keep one finding."""
        self.lines.append((verdict, subject, text))
        self._tell(printable(f"{_MARKS[verdict]} {subject:<14} {text}") + "\n")

    @property
    def good(self) -> bool:
        """Tell whether provisioning would work."""
        return all(verdict != BAD for verdict, _, _ in self.lines)

    def end(self) -> str:
        """Return what follows the findings, for people: what would be done, and the verdict."""
        lines = [f"would {'':<14} {line}" for line in self.would]
        if not self.good:
            lines.append("provisioning would NOT work: see the lines that start with BAD")
        else:
            lines.append(f"nothing to do: {self.nothing}" if self.nothing else _WORKS)
        return "".join(f"{printable(line)}\n" for line in lines)

    def as_json(self) -> str:
        """Return them for programs: `schema`, `ok`, `nothing_to_do`, `findings`, `would`."""
        import json

        findings = [
            {"state": verdict, "subject": subject, "text": text}
            for verdict, subject, text in self.lines
        ]
        answer = {
            "schema": 1,
            "ok": self.good,
            "nothing_to_do": self.nothing or None,
            "findings": findings,
            "would": self.would,
        }
        return json.dumps(answer, indent=2) + "\n"


def run(options: "dict[str, str]", log: "Log") -> int:
    """Print the findings about the machine or tree of the command line."""
    root = common.tree(options)
    config = common.config(root, options)
    options = {"--deadline": str(common.CHECK_DEADLINE), **options}
    boot = common.boot(root, options, config, log if "--verbose" in options else Quiet())
    findings = Findings(bool if "--json" in options else common.write)
    files = [options["--config"]] if "--config" in options else settings.places(root)
    findings.add(GOOD, "settings", ", ".join(files) or "no file: the defaults")
    check(boot, findings)
    common.write(findings.as_json() if "--json" in options else findings.end())
    return EXIT_DONE if findings.good else EXIT_FAILED


def check(boot: "Boot", findings: "Findings | None" = None) -> Findings:
    """Look at everything that a first boot depends on; `boot.deadline` limits the time."""
    boot.mounts = False
    findings = findings or Findings()
    _privilege(boot, findings)
    _platform(boot, findings)
    rival = _rival(boot, findings)
    _network(findings)
    boot.metadata = _metadata(boot, findings)
    _goal_state(boot, findings)
    _medium(boot, findings)
    done = _marker(boot, findings)
    _unit(boot, findings, done)
    found = [name for name in TOOLS if programs.find(boot.root, name)]
    findings.add(
        GOOD,
        "tools",
        f"found {', '.join(found) or 'none'}; azready has built-in replacements for the rest",
    )
    if done or rival:
        findings.nothing = f"{rival} is enabled" if rival else "this VM has been provisioned"
        return findings
    findings.would, problems = provision.rehearse(boot)
    for problem in problems:
        findings.add(BAD, "plan", problem)
    return findings


def after_failure(boot: "Boot") -> "list[str]":
    """Return what is not as it should be, after a run that failed; asks nobody but the kernel.

    What the platform answered is in the log, and in `boot`. Raises GuestError.
    """
    findings = Findings()
    _privilege(boot, findings)
    _rival(boot, findings)
    if boot.silence:
        findings.add(HINT, "IMDS", "there is no instance metadata")
    if boot.silence or boot.metadata:  # the CD was looked for before
        _medium(boot, findings, search=False)
    _network(findings)
    links = [text for state, subject, text in findings.lines if (state, subject) == (GOOD, "link")]
    has_link = any(not text.startswith("lo:") for text in links)
    return [
        f"{subject}: {text}"
        for state, subject, text in findings.lines
        if state != GOOD and not (has_link and subject == "link")  # the others need not be up
    ]


def _privilege(boot: "Boot", findings: Findings) -> None:
    if boot.root.is_live and posix.geteuid() != 0:
        findings.add(
            HINT,
            "user",
            "not root: provisioning needs root, and some of the following may be hidden",
        )


def _platform(boot: "Boot", findings: Findings) -> None:
    on_azure, why = identity.on_azure(boot.root)
    if on_azure:
        findings.add(GOOD, "platform", f"Azure: {why}")
    else:
        verdict = HINT if boot.force else BAD
        findings.add(
            verdict,
            "platform",
            f"not Azure: {why}; provision "
            + ("goes on nevertheless" if boot.force else "does nothing without --force"),
        )
    boot.vm_id = identity.vm_id(boot.root)
    if boot.vm_id:
        findings.add(
            GOOD, "VM id", f"{boot.vm_id}, in the other byte order {identity.swapped(boot.vm_id)}"
        )
    else:
        findings.add(
            HINT,
            "VM id",
            "not in DMI (or only root may read it); the instance metadata has it, too",
        )


def _rival(boot: "Boot", findings: Findings) -> str:
    name, link = rivals.enabled(boot.root)
    if name:
        then = (
            "azready does nothing, to avoid conflicts"
            if boot.config.step_back
            else "azready provisions nevertheless, because step_back is off"
        )
        findings.add(HINT, "other agents", f"{name} is enabled: {link}; {then}")
    return name if boot.config.step_back else ""


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
            f"{link.name}: {power}, {link.mac.hex(':') or 'no MAC'}, "
            f"{', '.join(own) or 'no address'}",
        )
    for route in routes:
        target = (
            f"{network.text(route.destination)}/{route.prefix}" if route.destination else "default"
        )
        way = f"by {network.text(route.gateway)} " if route.gateway else ""
        findings.add(GOOD, "route", f"{target} {way}on {names.get(route.index, route.index)}")
    if not any(not route.destination for route in routes):
        findings.add(HINT, "route", "there is no default route: is a DHCP client running?")


def _metadata(boot: "Boot", findings: Findings) -> "InstanceMetadata | None":
    from agent.azure import imds

    started = monotonic()
    try:
        metadata = imds.instance(boot.imds, imds.budget(boot.deadline), boot.log)
    except AzreadyError as error:
        boot.silence = str(error)
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
        f"answered in {took:.3f} s: computer name {metadata.computer_name!r}, "
        f"user {metadata.admin_username!r}, id {metadata.vm_id}",
    )
    known = boot.vm_id
    if known and metadata.vm_id.lower() not in identity.spellings(known):
        findings.add(HINT, "VM id", f"IMDS says {metadata.vm_id}, DMI {known}")
    boot.vm_id = known or identity.canonical(metadata.vm_id)
    return metadata


def _goal_state(boot: "Boot", findings: Findings) -> None:
    started = monotonic()
    try:
        goal_state = Wireserver(boot.wireserver, boot.deadline, boot.log).goal_state()
    except AzreadyError as error:
        findings.add(BAD, "wireserver", str(error))
        return
    took = monotonic() - started
    findings.add(GOOD, "wireserver", f"answered in {took:.3f} s")
    findings.add(
        GOOD,
        "goal state",
        f"incarnation {goal_state.incarnation}, container {goal_state.container_id}, "
        f"instance {goal_state.instance_id}",
    )


def _medium(boot: "Boot", findings: Findings, *, search: bool = True) -> None:
    from agent.machine.media import devices
    from agent.steps import media

    drives = list(boot.config.devices) or devices(boot.root)
    if search:
        boot.medium = media.find(boot, boot.log) if drives else None
    if boot.medium:
        has = [
            name
            for name, value in (
                ("a password", boot.medium.environment.password),
                ("customData", boot.medium.environment.custom_data),
            )
            if value
        ]
        findings.add(
            GOOD,
            "CD",
            f"{boot.medium.device}: user {boot.medium.environment.user_name!r}"
            + (f", with {' and '.join(has)}" if has else ""),
        )
    else:
        seen = (
            f"no provisioning CD in {', '.join(drives)}"
            if drives
            else "no optical device (is its driver, sr_mod, in the image?)"
        )
        needed = (
            "; a password and customData come from there only"
            if boot.metadata and boot.metadata.disable_password is False
            else ""
        )
        findings.add(HINT, "CD", f"{seen}{needed}; it is taken away once Ready was reported")


def _marker(boot: "Boot", findings: Findings) -> bool:
    directory = boot.config.state_directory
    try:
        done = provision.has_marker(boot)
    except AzreadyError as error:
        findings.add(HINT, "marker", str(error))
        return False
    findings.add(
        HINT if done else GOOD,
        "marker",
        f"{directory}: this VM "
        f"{'has been provisioned: nothing to do' if done else 'is not provisioned yet'}",
    )
    return done


def _unit(boot: "Boot", findings: Findings, done: bool) -> None:
    """Tell whether a boot runs azready; `done` if this VM needs none."""
    where = init.enabled(boot.root)
    if where:
        findings.add(GOOD, "unit", f"azready is enabled: {', '.join(where)}")
        return
    if not done and state.provisioned(boot.root, boot.config.state_directory):
        findings.add(
            BAD,
            "unit",
            "no boot runs azready, and its markers are those of another VM: the disk was copied "
            "without azready generalize; run azready provision",
        )
        return
    findings.add(
        HINT,
        "unit",
        "azready is not enabled: no boot runs it (expected after a first boot; "
        "azready install enables it)",
    )
