"""sysvinit, with an LSB header (Linux Standard Base Core 22.3).

Under systemd, Debian's functions hand `start` over to the unit. As update-rc.d does it, a disabled
service keeps links that stop it: without any, the next package that comes or goes would create
those that start it. If insserv keeps the order of the start in a file, only what is in it starts.
"""

from agent.change import Change, discarding
from agent.formats import insserv
from agent.init.scripts import Scripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.root import Root

_TEXT = """\
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
# Description:       Sets host name, user and keys as the platform says, reports
#  Ready, and disables itself.
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
_ORDER = "/etc/init.d/.depend.start"


class _SysV(Scripts):
    def enabling(self, root: "Root") -> "Iterator[Change]":
        """Yield the links, and the place in the order before sshd."""
        yield from self._unstopping(root)
        yield from super().enabling(root)
        if _reordered(root, insserv.with_azready) is not None:
            yield Change(f"add azready to {_ORDER}", lambda: _reorder(root, insserv.with_azready))

    def disable(self, root: "Root", entries: "Sequence[str]") -> "list[str]":
        """Turn the links around, and leave the order; return the links that were there."""
        removed = super().disable(root, entries)
        for link in removed:
            root.link(_stopping(link), self.links[link])
        _reorder(root, insserv.without_azready)
        return removed

    def removing(self, root: "Root") -> "Iterator[Change]":
        """Yield the removal of the script, of the links that stop it, and from the order."""
        yield from self._unstopping(root)
        if _reordered(root, insserv.without_azready) is not None:
            text = f"remove azready from {_ORDER}"
            yield Change(text, lambda: _reorder(root, insserv.without_azready))
        yield from super().removing(root)

    def _unstopping(self, root: "Root") -> "Iterator[Change]":
        stopping = [link for link in map(_stopping, self.links) if root.is_link(link)]
        if stopping:
            yield discarding(root, *stopping)


def _stopping(link: str) -> str:
    return link.replace("/S", "/K")


def _reordered(root: "Root", edit: "Callable[[str], str]") -> "bytes | None":
    """Return the order after `edit`, None if that changes nothing."""
    old = root.read(_ORDER)
    if old is None:
        return None
    new = edit(old.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return new if new != old else None


def _reorder(root: "Root", edit: "Callable[[str], str]") -> None:
    new = _reordered(root, edit)
    if new is not None:
        root.replace(_ORDER, new)


SYSTEM = _SysV(
    name="sysvinit",
    title="sysvinit",
    files="`/etc/init.d/azready`, with LSB header",
    enabled_by="`/etc/rc[2-5].d/S01azready` (then `K01azready`), and an entry before sshd in "
    "insserv's `.depend.start`",
    evidence=("/etc/init.d/rc",),
    started=tuple(f"/etc/rc{level}.d" for level in "S2345"),
    texts={"/etc/init.d/azready": _TEXT},
    links={f"/etc/rc{level}.d/S01azready": "../init.d/azready" for level in "2345"},
)
