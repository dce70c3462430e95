"""Renew a lease of systemd-networkd, or of azready, that was got under the old host name.

Azure's DNS learns the name from the DHCP request (agent/README.md). Without a lease there is
nothing to do; no link is ever taken down. The files are networkd's run-time state.
"""

import _socket

from agent import programs
from agent.change import Change, Step
from agent.errors import GuestError
from agent.formats import hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.root import Root

_LEASES, _LINKS = "/run/systemd/netif/leases", "/run/systemd/netif/links"
_LIMIT = 20.0  # seconds


def changes(boot: "Boot") -> "Changes":
    """Yield one change for each link with a lease, if the host name was changed in this run."""
    client = boot.client
    if client and client.is_renamed():
        yield Change(
            "renew the lease of azready under the new host name",
            lambda: client.renew(boot.deadline),
        )
    networkctl = programs.usable(boot.root, "networkctl")
    if not networkctl or not _is_renamed(boot):
        return
    now = leases(boot.root)
    before = now if boot.leases is None else boot.leases
    for number, written in now.items():
        if before.get(number) != written or not _is_managed(boot.root, number):
            continue  # a lease that came after the name carries it
        try:
            link = _socket.if_indextoname(int(number))
        except OSError:
            continue
        yield _renewal(networkctl, link)


def leases(root: "Root") -> "dict[str, int]":
    """Return the leases of networkd: the number of the link -> when it was written (mtime, ns)."""
    found = {}
    for number in root.names(_LEASES):
        status = root.status(f"{_LEASES}/{number}")
        if number.isdigit() and status:
            found[number] = status.st_mtime_ns
    return found


def _is_renamed(boot: "Boot") -> bool:
    """Tell whether the step host_name gives the kernel another name, or gave it one."""
    if not boot.config.steps["host_name"]:
        return False
    name, _ = hosts.choose(boot.profile.host_names)
    return bool(name) and name != boot.old_name


def _renewal(networkctl: str, link: str) -> Change:
    def renew() -> None:
        result = programs.run([networkctl, "reconfigure", link], limit=_LIMIT)
        if result.code:
            raise GuestError(f"{networkctl} reconfigure {link} {result}")

    return Change(f"renew the lease of {link} under the new host name", renew)


def _is_managed(root: "Root", number: str) -> bool:
    content = root.read(f"{_LINKS}/{number}") or b""
    return any(
        line.startswith(b"NETWORK_FILE=") and line != b"NETWORK_FILE="
        for line in content.splitlines()
    )


PUBLISH_HOST_NAME = Step(
    "publish_host_name",
    "Renew a lease (of systemd-networkd, or our own) that was got under the old host name.",
    changes,
)
