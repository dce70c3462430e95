"""Set the host name in the kernel, in /etc/hostname and in /etc/hosts (hostname(5), hosts(5))."""

import _socket
import posix

from agent.change import Change, Step
from agent.errors import GuestError, reason
from agent.formats import hosts
from agent.steps import publish_host_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.boot import Boot
    from agent.change import Changes
    from agent.root import Root

HOSTNAME, HOSTS = "/etc/hostname", "/etc/hosts"


def changes(boot: "Boot") -> "Changes":
    """Yield one change for each place with another name; a failure in one spares the others.

    Raises GuestError at the end, with everything that went wrong.
    """
    name, wanted = hosts.choose(boot.profile.host_names)
    if not name:
        if wanted:
            boot.log.warning(f"the host name {wanted!r} is not usable; it stays as it is")
        return
    if name != wanted:
        boot.log.info(f"the host name {wanted!r} is not valid; using {name}")
    problems = []
    current = posix.uname().nodename if boot.root.is_live else ""
    boot.old_name = boot.old_name or current
    for change in _places(boot.root, name, current):
        try:
            yield change
        except GuestError as error:
            problems.append(str(error))
    if boot.unnamed is None:
        boot.unnamed = publish_host_name.addresses(boot)
    if problems:
        raise GuestError("; ".join(problems))


def _places(root: "Root", name: str, old_name: str) -> "Iterator[Change]":
    if root.is_live and old_name != name:
        yield Change(f"set the host name to {name}", lambda: _set_running(name))
    content = f"{name}\n".encode()
    if root.read(HOSTNAME) != content:
        yield Change(f"write {name} to {HOSTNAME}", lambda: root.replace(HOSTNAME, content))
    before = root.read(HOSTS)
    after = hosts.with_name(hosts.NEW if before is None else before, name, old_name)
    if after != before:
        yield Change(f"add {name} to {HOSTS}", lambda: root.replace(HOSTS, after))


def _set_running(name: str) -> None:
    try:
        _socket.sethostname(name)
    except OSError as error:
        raise GuestError(f"cannot set the host name to {name}: {reason(error)}") from None


HOST_NAME = Step("host_name", "Set the host name in kernel, /etc/hostname and /etc/hosts.", changes)
