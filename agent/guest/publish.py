"""A host name that changed behind DHCP's back: the lease is asked for again under the new one, where systemd-networkd manages the link.

Azure's DNS learns the name from the DHCP request (azure-platform.md). Before the first lease there is nothing to do, with another DHCP client nothing is
done, and no link is ever taken down. The files are those of systemd-networkd's run-time state.
"""

import _socket

from agent.errors import GuestError
from agent.guest import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

_LEASES, _LINKS = "/run/systemd/netif/leases", "/run/systemd/netif/links"


def again(root: "Root") -> "list[str]":
    """Have networkd ask again for every lease that it has; returns the names of the links. Raises GuestError."""
    networkctl = programs.usable(root, "networkctl")
    if not networkctl:
        return []
    links = []
    for number in root.names(_LEASES):
        if not number.isdigit() or not _is_managed(root, number):
            continue
        try:
            name = _socket.if_indextoname(int(number))
        except OSError:
            continue
        result = programs.run([networkctl, "reconfigure", name], limit=20)
        if result.code:
            raise GuestError(f"{networkctl} reconfigure {name} {result}")
        links.append(name)
    return links


def _is_managed(root: "Root", number: str) -> bool:
    content = root.read(f"{_LINKS}/{number}") or b""
    return any(
        line.startswith(b"NETWORK_FILE=") and line != b"NETWORK_FILE="
        for line in content.splitlines()
    )
