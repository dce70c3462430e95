"""Init systems: one file each, in the order in which they are looked for.

A new one is a file that declares SYSTEM, and a line in SYSTEMS. `--init`, its help, the shell
completions and the table of README.md follow.
"""

from agent.init import (
    busybox,
    dinit,
    dracut,
    finit,
    initramfs_tools,
    openrc,
    runit,
    s6,
    s6_rc,
    systemd,
    sysvinit,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.init.scripts import Scripts
    from agent.root import Root

# Debian's sysvinit and Buildroot's rcS come last: others keep their files for themselves.
SYSTEMS: "dict[str, Scripts]" = {
    system.name: system
    for system in (
        systemd.SYSTEM,
        openrc.SYSTEM,
        runit.SYSTEM,
        s6_rc.SYSTEM,
        s6.SYSTEM,
        dinit.SYSTEM,
        finit.SYSTEM,
        sysvinit.SYSTEM,
        busybox.SYSTEM,
        dracut.SYSTEM,
        initramfs_tools.SYSTEM,
    )
}


def detect(root: "Root") -> "tuple[str, str]":
    """Return (the name of the image's init system, the reason), ("", "") if none is found.

    Raises GuestError.
    """
    target = root.target("/sbin/init")
    for system in SYSTEMS.values():
        if system.init and system.init in target and root.is_folder(system.init_with):
            why = f"/sbin/init is a link to {target}"
            return system.name, why + f", and {system.init_with} exists" * (system.init_with != "/")
    has_systemd = systemd.is_used(root)
    if has_systemd and not target and not root.exists("/sbin/init"):
        return "systemd", "systemd is there, and no other /sbin/init"
    for system in SYSTEMS.values():
        for path in system.evidence:
            if root.exists(path):
                return system.name, f"{path} exists"
    return ("systemd", "systemd is there") if has_systemd else ("", "")


def enabled(root: "Root") -> "list[str]":
    """Return every link or file that makes a boot start azready. Raises GuestError."""
    return unique(starting(root).values())


def starting(root: "Root") -> "dict[Scripts, list[str]]":
    """Return the init systems that start azready, with their links or files. Raises GuestError."""
    there = set(root.names("/etc"))
    likely = [system for system in SYSTEMS.values() if system.may_be_enabled(there)]
    found = ((system, system.enabled(root)) for system in likely)
    return {system: links for system, links in found if links}


def vendors(root: "Root") -> "list[Scripts]":
    """Return what a vendor has installed: by the link below /usr, which no package has.

    Raises GuestError.
    """
    found = (system.vendor for system in SYSTEMS.values())
    return [vendor for vendor in found if vendor and vendor.enabled(root)]


def unique(lists: "Iterable[list[str]]") -> "list[str]":
    """Return all items in order, each once: init systems share folders of links."""
    return list(dict.fromkeys(item for items in lists for item in items))


def installed(root: "Root") -> "list[str]":
    """Return the names of the init systems whose script or unit is in the image.

    Raises GuestError.
    """
    return [system.name for system in SYSTEMS.values() if system.place(root)]
