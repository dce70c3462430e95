"""Others that make a machine ready for Azure: which of them does a boot start?

Two of them at work make users, host names and reports that contradict each other, so azready steps back for one that is enabled. Enabled is, as for
azready itself, that a link starts it; and that what switches it off in its own way is not there: a masked unit, for cloud-init also
/etc/cloud/cloud-init.disabled, cloud-init=disabled on the kernel's command line, and what its generator found at this boot (cloud-init's documentation,
"How to disable cloud-init").
"""

from agent.init import systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

# name -> names of its services, without ".service"
_SERVICES = {
    "cloud-init": ("cloud-init", "cloud-init-local", "cloud-init-main", "cloud-init-network"),
    "the Azure Linux agent": ("walinuxagent", "waagent"),
    "azure-init": ("azure-init",),
}
# Folders of other init systems whose entries a boot starts.
_STARTED = (
    *(f"/etc/runlevels/{level}" for level in ("sysinit", "boot", "default")),
    *(f"/etc/rc{level}.d" for level in "S2345"),
    "/etc/runit/runsvdir/default",
    "/var/service",
    "/etc/dinit.d/boot.d",
    "/etc/init.d",  # S* only, as busybox starts them
)
_SWITCHED_OFF = ("/etc/cloud/cloud-init.disabled", "/run/cloud-init/disabled")


def enabled(root: "Root") -> "tuple[str, str]":
    """The name of another agent that a boot of this image starts, and what starts it; ("", "") if there is none. Raises GuestError."""
    for name, services in _SERVICES.items():
        link = _by_systemd(root, services) if systemd.is_used(root) else _by_another(root, services)
        if link and not (name == "cloud-init" and _switched_off(root)):
            return name, link
    return "", ""


def _by_systemd(root: "Root", services: "tuple[str, ...]") -> str:
    for service in services:
        unit = f"{service}.service"
        # A package that went may have left its links behind; and most images have none of these, for which looking for links can be spared.
        if not systemd.place(root, unit) or systemd.is_masked(root, unit):
            continue
        links = [link for folder in systemd.FOLDERS for link in systemd.links(root, folder, unit)]
        if links:
            return links[0]
    return ""


def _by_another(root: "Root", services: "tuple[str, ...]") -> str:
    for folder in _STARTED:
        for entry in root.names(folder):
            is_numbered = entry[:1] == "S" and entry[1:3].isdigit()
            if (entry[3:] if is_numbered else entry) in services and (
                is_numbered or not folder.startswith(("/etc/rc", "/etc/init.d"))
            ):
                return f"{folder}/{entry}"
    return ""


def _switched_off(root: "Root") -> bool:
    if any(root.exists(path) for path in _SWITCHED_OFF):
        return True
    return b"cloud-init=disabled" in root.head("/proc/cmdline", 4096).split()
