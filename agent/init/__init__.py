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
    found = (link for system in SYSTEMS.values() for link in system.enabled(root))
    return list(dict.fromkeys(found))


def entries(root: "Root") -> "list[str]":
    """Return every link or file that `disable` removes, in effect or not. Raises GuestError."""
    found = (link for system in SYSTEMS.values() for link in system.entries(root))
    return list(dict.fromkeys(found))


def disable(root: "Root") -> "list[str]":
    """Remove every link or file that makes a boot start azready; return them.

    Raises GuestError.
    """
    return [link for system in SYSTEMS.values() for link in system.disable(root)]


def installed(root: "Root") -> "list[str]":
    """Return the names of the init systems whose script or unit is in the image.

    Raises GuestError.
    """
    return [system.name for system in SYSTEMS.values() if system.place(root)]
