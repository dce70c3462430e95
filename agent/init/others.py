"""The init systems besides systemd: each has a script of its own kind, and a link that makes a boot start it. Enabling and disabling is making and
removing that link, offline as on the running system; none of their tools is needed.

Where services start one after the other, azready comes behind the network, which it would wait for otherwise, and before sshd.
"""

import posix

from agent.errors import GuestError, reason
from agent.guest import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# openrc-run(8). `use net` starts the network first where the runlevel has one. Nothing is needed by name: Debian's OpenRC, for one, has no localmount, and
# the runlevel before has mounted what is local.
_OPENRC = """\
#!/sbin/openrc-run
description="Make this machine ready for Azure"

depend() {{
    use net
    after localmount bootmisc hostname networking dhcpcd
    before sshd dropbear agetty local
}}

start() {{
    ebegin "Making this machine ready for Azure"
    {executable} provision
    eend $?
}}
"""
# Linux Standard Base Core, chapter 22.3: comment conventions for init scripts.
_SYSVINIT = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          azready
# Required-Start:    $local_fs
# Required-Stop:
# Should-Start:      $network
# X-Start-Before:    ssh dropbear
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: Make this machine ready for Azure
### END INIT INFO

case "$1" in
    start) exec {executable} provision ;;
    stop | restart | force-reload) ;;
    status) exec {executable} check ;;
    *)
        echo "usage: $0 start|stop|restart|force-reload|status" >&2
        exit 2
        ;;
esac
"""
# sv(8): after `once` the service is not started again when it ends, however it ends; it will be at the next boot, if the link is still there.
_RUNIT = """\
#!/bin/sh
sv once .
exec {executable} provision 2>&1
"""
# dinit-service(5)
_DINIT = """\
# Make this machine ready for Azure
type = scripted
command = {executable} provision
restart = false
logfile = /var/log/azready.log
"""
# finit.conf(5)
_FINIT = """\
task [2345] name:azready log {executable} provision -- Making this machine ready for Azure
"""
# The rcS of Buildroot and its like: every /etc/init.d/S* in the order of their names; the network has 40 there, sshd 50.
_BUSYBOX = """\
#!/bin/sh
# Makes this machine ready for Azure.
case "$1" in
    start) exec {executable} provision ;;
esac
"""


class Scripts:
    """One init system: `path` and `mode` of its script, the text of it, and the links that start it (path -> target)."""

    def __init__(self, name: str, path: str, text: str, links: "Mapping[str, str]", *, mode: int = 0o755, one_of: "Sequence[str]" = ()) -> None:
        """`one_of` says that only the first of these folders that is there gets its link."""
        self.name = name
        self.path = path
        self._text = text
        self._links = links
        self._mode = mode
        self._one_of = one_of

    def unit(self, executable: str) -> str:
        """The text of the script that runs `executable` (an absolute path inside the image)."""
        return self._text.format(executable=executable)

    def place(self, root: str) -> str:
        """The path of the script if it is there, and of this kind, else "". Raises GuestError."""
        start = self._text.partition("{")[0].encode()
        return self.path if files.head(root, self.path, len(start)) == start else ""

    def install(self, root: str, executable: str) -> bool:
        """Put the script in place; False if it was there as it is. Raises GuestError."""
        text = self.unit(executable).encode()
        if files.read(root, self.path) == text:
            return False
        files.replace(root, self.path, text, self._mode)
        return True

    def uninstall(self, root: str) -> bool:
        """Remove the script; False if there was none. Raises GuestError."""
        return files.discard(root, self.path)

    def links(self, root: str) -> "list[str]":
        """The links that start the script in this image. Raises GuestError."""
        chosen = next((folder for folder in self._one_of if files.is_directory(root, folder)), "")
        return [link for link in self._links if not chosen or link.startswith(f"{chosen}/")]

    def enable(self, root: str) -> bool:
        """Make the links; False if they were there. Raises GuestError."""
        made = False
        for link in self.links(root):
            if files.is_link(root, link):
                continue
            files.make_directories(root, link.rpartition("/")[0])
            place = files.itself(root, link)
            try:
                posix.symlink(self._links[link], place)
                files.sync_directory(place.rpartition("/")[0])
            except OSError as error:
                raise GuestError(f"cannot enable azready at {place}: {reason(error)}") from None
            made = True
        return made

    def enabled(self, root: str) -> "list[str]":
        """The links that are there. Raises GuestError."""
        return [link for link in self._links if files.is_link(root, link)]

    def disable(self, root: str) -> "list[str]":
        """Remove the links; returns those that were there. Raises GuestError."""
        return [link for link in self.enabled(root) if files.discard(root, link)]


class Insserv(Scripts):
    """sysvinit where insserv keeps the order of the start in a file: what is not in it is not started. insserv makes it anew when a package comes or goes."""

    def enable(self, root: str) -> bool:
        """Make the links and get into the order, before sshd; False if both were there. Raises GuestError."""
        made = super().enable(root)
        return self._reorder(root, with_azready) or made

    def disable(self, root: str) -> "list[str]":
        """Remove the links, and azready from the order; returns the links that were there. Raises GuestError."""
        removed = super().disable(root)
        self._reorder(root, without_azready)
        return removed

    def _reorder(self, root: str, edit: "Callable[[str], str]") -> bool:
        old = files.read(root, _ORDER)
        if old is None:
            return False
        new = edit(old.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if new != old:
            files.replace(root, _ORDER, new)
        return new != old


_ORDER = "/etc/init.d/.depend.start"
_BEFORE = ("ssh", "dropbear")


def with_azready(order: str) -> str:
    """A .depend.start (a makefile: TARGETS = names; name: those before it) with azready in it, before the servers that let people in."""
    lines = without_azready(order).splitlines()
    targets = next((line.split()[2:] for line in lines if line.startswith("TARGETS =")), [])
    lines = [f"{line} azready" if line.startswith(("TARGETS =", *(f"{name}:" for name in _BEFORE))) else line for line in lines]
    ruled = [line.partition(":")[0] for line in lines]
    lines += [f"{name}: azready" for name in _BEFORE if name in targets and name not in ruled]
    return "\n".join(lines) + "\n"


def without_azready(order: str) -> str:
    """The same without azready; lines that do not name it stay as they are."""
    kept = []
    for line in order.splitlines(keepends=True):
        words = line.split()
        if "azready" not in words:
            kept.append(line)
        elif len(words) > 2:  # more than "name: azready"
            kept.append(" ".join(word for word in words if word != "azready") + "\n")
    return "".join(kept)


_SERVICE_FOLDERS = ("/etc/runit/runsvdir/default", "/etc/service", "/var/service")
SYSTEMS = {
    system.name: system
    for system in (
        Scripts("openrc", "/etc/init.d/azready", _OPENRC, {"/etc/runlevels/default/azready": "/etc/init.d/azready"}),
        Insserv("sysvinit", "/etc/init.d/azready", _SYSVINIT, {f"/etc/rc{level}.d/S01azready": "../init.d/azready" for level in "2345"}),
        Scripts("runit", "/etc/sv/azready/run", _RUNIT, {f"{folder}/azready": "/etc/sv/azready" for folder in _SERVICE_FOLDERS}, one_of=_SERVICE_FOLDERS),
        Scripts("dinit", "/etc/dinit.d/azready", _DINIT, {"/etc/dinit.d/boot.d/azready": "../azready"}, mode=0o644),
        Scripts(
            "finit",
            "/etc/finit.d/available/azready.conf",
            _FINIT,
            {"/etc/finit.d/enabled/azready.conf": "../available/azready.conf"},
            mode=0o644,
        ),
        Scripts("busybox", "/etc/init.d/azready", _BUSYBOX, {"/etc/init.d/S41azready": "azready"}),
    )
}
