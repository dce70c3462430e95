"""Other agents that make a machine ready for Azure: which of them does a boot start?

Two active agents would make users, host names and reports that contradict each other, so azready
leaves the work to one that is enabled. Enabled means, as for azready itself, that a link starts it,
and that nothing switches it off in its own way: a masked unit; for cloud-init also
/etc/cloud/cloud-init.disabled, cloud-init=disabled on the kernel's command line, and what its
generator found at this boot (cloud-init's documentation, "How to disable cloud-init").

The Azure Linux agent also runs extensions, for which many keep it. It provisions by itself if
Provisioning.Agent is `waagent`, or `auto`, which is the default, while cloud-init is not enabled.
With `disabled` it leaves the machine alone, and with `cloud-init` it waits for cloud-init (its
README, and azurelinuxagent/pa/provision in its source): no reason to step back. But with `disabled`
it reports Ready at once, which takes the CD away: so the unit is ordered before it.
"""

from agent.init import SYSTEMS, systemd
from agent.init.scripts import may_exist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.root import Root

# name -> names of its services, without ".service"
_SERVICES = {
    "cloud-init": ("cloud-init", "cloud-init-local", "cloud-init-main", "cloud-init-network"),
    "the Azure Linux agent": ("walinuxagent", "waagent"),
    "azure-init": ("azure-init",),
}
_SWITCHED_OFF = ("/etc/cloud/cloud-init.disabled", "/run/cloud-init/disabled")


def enabled(root: "Root") -> "tuple[str, str]":
    """Return (the other agent that a boot of this image starts, what starts it), or ("", "").

    Raises GuestError.
    """
    has_systemd = systemd.is_used(root)
    started = [] if has_systemd else list(_by_others(root))
    for name, services in _SERVICES.items():
        if has_systemd:
            link = _by_systemd(root, services)
        else:
            link = next((link for service, link in started if service in services), "")
        if link and name == "the Azure Linux agent" and not _provisions(root):
            continue
        if link and not (name == "cloud-init" and _switched_off(root)):
            return name, link
    return "", ""


def reports_at_its_start(root: "Root") -> bool:
    """Tell whether systemd starts the Azure Linux agent, for extensions. Raises GuestError."""
    return bool(_by_systemd(root, _SERVICES["the Azure Linux agent"]))


def _by_systemd(root: "Root", services: "tuple[str, ...]") -> str:
    for service in services:
        unit = f"{service}.service"
        # A removed package may have left its links. And most images have none of these units, so
        # that nobody need look for links.
        if not systemd.place(root, unit) or systemd.is_masked(root, unit):
            continue
        links = [link for folder in systemd.FOLDERS for link in systemd.links(root, folder, unit)]
        if links:
            return links[0]
    return ""


def _by_others(root: "Root") -> "Iterator[tuple[str, str]]":
    """Yield (service, what starts it) for what other init systems start."""
    there = set(root.names("/etc"))
    folders = [folder for system in SYSTEMS.values() for folder in system.started]
    for folder in (folder for folder in folders if may_exist(folder, there)):
        for entry in root.names(folder):
            if entry[:1] == "S" and entry[1:3].isdigit():
                yield entry[3:], f"{folder}/{entry}"
            elif not folder.startswith(("/etc/rc", "/etc/init.d")):
                yield entry, f"{folder}/{entry}"


def _provisions(root: "Root") -> bool:
    """Tell whether the Azure Linux agent provisions, where cloud-init does not. Raises GuestError.

    As it reads its settings: the last line counts, and quotes and what follows # do not.
    """
    chosen = "auto"
    for line in (root.read("/etc/waagent.conf") or b"").decode("utf-8", "replace").split("\n"):
        key, _, value = line.partition("=")
        if key.strip() == "Provisioning.Agent":
            chosen = value.partition("#")[0].strip('" \t\r')
    return chosen not in ("disabled", "cloud-init")


def _switched_off(root: "Root") -> bool:
    if any(root.exists(path) for path in _SWITCHED_OFF):
        return True
    return b"cloud-init=disabled" in root.head("/proc/cmdline", 4096).split()
