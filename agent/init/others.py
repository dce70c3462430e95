"""The init systems besides systemd: each has a script of its own kind, and a link that makes a boot start it. Enabling and disabling is making and
removing that link, offline as on the running system; none of their tools is needed.

Where services start one after the other, azready comes behind the network, which it would wait for otherwise, and before sshd.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.root import Root

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
# Linux Standard Base Core, chapter 22.3: comment conventions for init scripts. Under systemd, Debian's functions hand `start` over to the unit.
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
# Description:       Sets host name, user and keys as the platform says, reports Ready, and takes itself out of the boot.
### END INIT INFO

# A package that was removed leaves this script behind, as a configuration file.
[ -x {executable} ] || exit 0

# shellcheck disable=SC1091
[ ! -r /lib/lsb/init-functions ] || . /lib/lsb/init-functions

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
# s6-svc(8): -O is what `once` is to runit.
_S6 = """\
#!/bin/sh
s6-svc -O .
exec {executable} provision 2>&1
"""
# s6-rc-compile: `up` of a oneshot is a command line for execlineb(1). Where the folders are, and the name of the dependency, is Artix Linux.
_S6_RC = """\
# Make this machine ready for Azure
{executable} provision
"""
# dinit-service(5). Without start-timeout it would be killed after a minute. What stands in a folder of waits-for.d need not exist, so that each can name
# what has the local file systems: dinit's own examples, Artix, Chimera.
_DINIT = """\
# Make this machine ready for Azure
type = scripted
command = {executable} provision
restart = false
start-timeout = 0
logfile = /var/log/azready.log
waits-for.d = azready.d
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
    """One init system: `path` and `mode` of its script, the text of it, and what makes a boot start it: links (path -> target) or files (path -> content)."""

    def __init__(
        self,
        name: str,
        path: str,
        text: str,
        links: "Mapping[str, str]",
        *,
        mode: int = 0o755,
        one_of: "Sequence[str]" = (),
        files: "Mapping[str, str] | None" = None,
        beside: "Mapping[str, str] | None" = None,
    ) -> None:
        """`one_of`: only the first of these folders that is there gets its link. `files`: instead of links. `beside`: further files of the script."""
        self.name = name
        self.path = path
        self._text = text
        self._links = links
        self._mode = mode
        self._one_of = one_of
        self._files = files or {}
        self._beside = beside or {}

    def unit(self, executable: str) -> str:
        """The text that runs `executable` (an absolute path inside the image); of several files, each behind a line with its path."""
        parts = self._parts(executable)
        if len(parts) == 1:
            return parts[self.path]
        return "".join(
            f"# {path}{'' if text else ' (empty)'}\n{text}" for path, text in parts.items()
        )

    def _parts(self, executable: str) -> "dict[str, str]":
        return {
            path: text.format(executable=executable)
            for path, text in ({self.path: self._text} | dict(self._beside)).items()
        }

    def paths(self) -> "tuple[str, ...]":
        """The files of the script."""
        return (self.path, *self._beside)

    def place(self, root: "Root") -> str:
        """The path of the script if it is there, and of this kind, else "". Raises GuestError."""
        start = self._text.partition("{")[0].encode()
        return self.path if root.head(self.path, len(start)) == start else ""

    def install(self, root: "Root", executable: str) -> bool:
        """Put the script in place; False if it was there as it is. Raises GuestError."""
        changed = False
        for path, text in self._parts(executable).items():
            if root.read(path) != text.encode():
                root.replace(path, text.encode(), self._mode)
                changed = True
        return changed

    def uninstall(self, root: "Root") -> bool:
        """Remove the script, and folders that are its own; False if there was none. Raises GuestError."""
        if not self.place(root):
            return False
        for place in dict.fromkeys(_own(path) for path in self.paths()):
            root.discard_tree(place)
        return True

    def _wanted(self, root: "Root") -> "list[str]":
        """The links that start the script in this image. Raises GuestError."""
        chosen = next((folder for folder in self._one_of if root.is_folder(folder)), "")
        return [link for link in self._links if not chosen or link.startswith(f"{chosen}/")]

    def enable(self, root: "Root") -> bool:
        """Make the links, or files; False if they were there. Raises GuestError."""
        made = [link for link in self._wanted(root) if root.link(link, self._links[link])]
        for path, content in self._files.items():
            if not root.exists(path):
                root.replace(path, content.encode())
                made.append(path)
        return bool(made)

    def enabled(self, root: "Root") -> "list[str]":
        """The links, or files, that are there. Raises GuestError."""
        return [link for link in self._links if root.is_link(link)] + [
            path for path in self._files if root.exists(path)
        ]

    def disable(self, root: "Root") -> "list[str]":
        """Remove them; returns those that were there. Raises GuestError."""
        return [path for path in self.enabled(root) if root.discard(path)]


def _own(path: str) -> str:
    """The topmost folder on the way to a file of ours that is ours as a whole, else the file itself."""
    parts = path.split("/")
    return "/".join(
        parts[: next(count for count, part in enumerate(parts, 1) if "azready" in part)]
    )


class SysV(Scripts):
    """sysvinit. As update-rc.d does it, what is disabled gets links that stop it: where there are none at all, the next package that comes or goes makes
    those that start it. Where insserv keeps the order of the start in a file, what is not in it is not started.
    """

    def enable(self, root: "Root") -> bool:
        """Make the links and get into the order, before sshd; False if both were there. Raises GuestError."""
        for link in self._links:
            root.discard(_stopping(link))
        made = super().enable(root)
        return self._reorder(root, with_azready) or made

    def disable(self, root: "Root") -> "list[str]":
        """Turn the links around, and get out of the order; returns the links that were there. Raises GuestError."""
        removed = super().disable(root)
        for link in removed:
            root.link(_stopping(link), self._links[link])
        self._reorder(root, without_azready)
        return removed

    def uninstall(self, root: "Root") -> bool:
        """Remove the script and all links; False if there was none. Raises GuestError."""
        for link in self._links:
            root.discard(link)
            root.discard(_stopping(link))
        return super().uninstall(root)

    def _reorder(self, root: "Root", edit: "Callable[[str], str]") -> bool:
        old = root.read(_ORDER)
        if old is None:
            return False
        new = edit(old.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if new != old:
            root.replace(_ORDER, new)
        return new != old


def _stopping(link: str) -> str:
    return link.replace("/S", "/K")


_ORDER = "/etc/init.d/.depend.start"
_BEFORE = ("ssh", "dropbear")


def with_azready(order: str) -> str:
    """A .depend.start (a makefile: TARGETS = names; name: those before it) with azready in it, before the servers that let people in."""
    lines = without_azready(order).splitlines()
    targets = next((line.split()[2:] for line in lines if line.startswith("TARGETS =")), [])
    lines = [
        f"{line} azready"
        if line.startswith(("TARGETS =", *(f"{name}:" for name in _BEFORE)))
        else line
        for line in lines
    ]
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
_SCAN_FOLDERS = ("/etc/s6/service", "/service", "/etc/service", "/var/service")
_FINIT_FOLDERS = ("/etc/finit.d/enabled", "/etc/finit.d")
_LOCAL_FILES = ("filesystems", "late-filesystems", "local.target", "mount-filesystems")
SYSTEMS = {
    system.name: system
    for system in (
        Scripts(
            "openrc",
            "/etc/init.d/azready",
            _OPENRC,
            {"/etc/runlevels/default/azready": "/etc/init.d/azready"},
        ),
        SysV(
            "sysvinit",
            "/etc/init.d/azready",
            _SYSVINIT,
            {f"/etc/rc{level}.d/S01azready": "../init.d/azready" for level in "2345"},
        ),
        Scripts(
            "runit",
            "/etc/sv/azready/run",
            _RUNIT,
            {f"{folder}/azready": "/etc/sv/azready" for folder in _SERVICE_FOLDERS},
            one_of=_SERVICE_FOLDERS,
        ),
        Scripts(
            "s6",
            "/etc/sv/azready/run",
            _S6,
            {f"{folder}/azready": "/etc/sv/azready" for folder in _SCAN_FOLDERS},
            one_of=_SCAN_FOLDERS,
        ),
        Scripts(
            "s6-rc",
            "/etc/s6/sv/azready/up",
            _S6_RC,
            {},
            mode=0o644,
            files={"/etc/s6/adminsv/default/contents.d/azready": ""},
            beside={
                "/etc/s6/sv/azready/type": "oneshot\n",
                "/etc/s6/sv/azready/dependencies.d/mount-filesystems": "",
            },
        ),
        Scripts(
            "dinit",
            "/etc/dinit.d/azready",
            _DINIT,
            {"/etc/dinit.d/boot.d/azready": "../azready"},
            mode=0o644,
            beside={f"/etc/dinit.d/azready.d/{name}": "" for name in _LOCAL_FILES},
        ),
        Scripts(
            "finit",
            "/etc/finit.d/available/azready.conf",
            _FINIT,
            {
                f"{folder}/azready.conf": "/etc/finit.d/available/azready.conf"
                for folder in _FINIT_FOLDERS
            },
            mode=0o644,
            one_of=_FINIT_FOLDERS,
        ),
        Scripts("busybox", "/etc/init.d/azready", _BUSYBOX, {"/etc/init.d/S41azready": "azready"}),
    )
}
