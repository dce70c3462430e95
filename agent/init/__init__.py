"""Init systems: which of them an image has, and how azready gets into and out of its boot.

`systemd`, and each of `others.SYSTEMS` and `initramfs.SYSTEMS`, answer to the same calls.
"""

from agent.init import systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from agent.root import Root

    class InitSystem(Protocol):
        """What is asked of an init system; all raise GuestError."""

        def unit(self, executable: str) -> str:
            """The text that runs `executable`."""

        def place(self, root: "Root") -> str:
            """Where that text is, "" if it is not there."""

        def install(self, root: "Root", executable: str) -> bool:
            """Put it in place; False if it was there."""

        def uninstall(self, root: "Root") -> bool:
            """Remove it; False if there was none."""

        def enable(self, root: "Root") -> bool:
            """Have the boot start it; False if it did."""

        def enabled(self, root: "Root") -> list[str]:
            """The links that make the boot start it."""

        def disable(self, root: "Root") -> list[str]:
            """Remove these links; returns those that were there."""


NAMES = (
    "systemd",
    "openrc",
    "sysvinit",
    "runit",
    "s6",
    "s6-rc",
    "dinit",
    "finit",
    "busybox",
    "dracut",
    "initramfs-tools",
)
INITRAMFS = ("dracut", "initramfs-tools")  # makers of it, never detected: who wants them names them
# What /sbin/init is a link to, where it is one.
_BY_LINK = (
    ("systemd", "systemd"),
    ("openrc-init", "openrc"),
    ("runit", "runit"),
    ("dinit", "dinit"),
    ("finit", "finit"),
    ("s6", "s6"),
)
# Otherwise what is there besides it, in this order: OpenRC runs under the init of sysvinit or busybox, and Debian's sysvinit keeps an rcS for itself.
_BY_FILE = (
    ("/sbin/openrc-run", "openrc"),
    ("/usr/sbin/openrc-run", "openrc"),
    ("/etc/runit/2", "runit"),
    ("/etc/s6/sv", "s6-rc"),
    ("/etc/dinit.d/boot", "dinit"),
    ("/etc/finit.conf", "finit"),
    ("/etc/init.d/rc", "sysvinit"),
    ("/etc/init.d/rcS", "busybox"),
)


def load(name: str) -> "InitSystem":
    """The init system of that name, one of NAMES."""
    if name == "systemd":
        return systemd
    if name in INITRAMFS:
        from agent.init import initramfs

        return initramfs.SYSTEMS[name]
    from agent.init.others import SYSTEMS

    return SYSTEMS[name]


def detect(root: "Root") -> "tuple[str, str]":
    """The name of the image's init system, and what tells so; ("", "") if none is found. Raises GuestError."""
    target = root.target("/sbin/init")
    for part, name in _BY_LINK:
        if part in target:
            if name == "s6" and root.is_folder("/etc/s6/sv"):
                return "s6-rc", f"/sbin/init is a link to {target}, and services are in /etc/s6/sv"
            return name, f"/sbin/init is a link to {target}"
    if not target and systemd.is_used(root) and not root.exists("/sbin/init"):
        return "systemd", "systemd is there, and no other /sbin/init"
    for path, name in _BY_FILE:
        if root.exists(path):
            return name, f"{path} is there"
    if systemd.is_used(root):
        return "systemd", "systemd is there"
    return "", ""


def enabled(root: "Root") -> "list[str]":
    """Every link or file that makes a boot start azready, whatever the init system. Raises GuestError."""
    return list(dict.fromkeys(link for name in NAMES for link in load(name).enabled(root)))


def disable(root: "Root") -> "list[str]":
    """Take azready out of the boot, whatever starts it; returns the links and files that were removed. Raises GuestError."""
    return [link for name in NAMES for link in load(name).disable(root)]


def installed(root: "Root") -> "list[str]":
    """The names of the init systems that have their script or unit in the image. Raises GuestError."""
    return [name for name in NAMES if load(name).place(root)]
