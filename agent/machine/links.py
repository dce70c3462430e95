"""Which link azready may configure, whether somebody else does, and what a lease changes."""

import posix
from errno import EEXIST

from agent.errors import GuestError
from agent.machine import network
from agent.protocol import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log
    from agent.protocol.dhcp import Answer
    from agent.protocol.netlink import Address, Link, Route
    from agent.root import Root

    Survey = tuple[list[Link], list[Address], list[Route]]

# Of our routes. Those of other clients have less (networkd 1024, NetworkManager from 100, others
# 0), and win as soon as they are there.
METRIC = 65536
RESOLV_CONF = "/etc/resolv.conf"

_SYNTHETIC = "hv_netvsc"
_KINDS = ("", _SYNTHETIC, "veth")  # devices, and a container's; no bridge, bond, VLAN or tunnel


def usable(root: "Root", links: "list[Link]") -> "list[Link]":
    """Return the Ethernet links that may be configured, Hyper-V's first.

    A virtual function (accelerated networking) lies below a link of Hyper-V, and is never
    configured: that link is its master, or has the same MAC until it is.
    """
    drivers = {
        link.index: root.target(f"/sys/class/net/{link.name}/device/driver").rpartition("/")[2]
        for link in links
    }
    synthetic = [link for link in links if _SYNTHETIC in (drivers[link.index], link.kind)]
    others = [
        link
        for link in links
        if link not in synthetic and link.mac not in [above.mac for above in synthetic]
    ]
    return [
        link
        for found in (synthetic, others)
        for link in sorted(found, key=lambda link: link.index)
        if link.is_ethernet and len(link.mac) == 6 and not link.master and link.kind in _KINDS
    ]


def taken(root: "Root", survey: "Survey", own: "tuple[int, bytes] | None") -> str:
    """Return what shows that somebody else configures the network, "" if nothing does.

    `own` is the link and the address that azready has configured.
    """
    links, addresses, routes = survey
    names = {link.index: link.name for link in links}
    ours = {link.index for link in usable(root, links)}
    for address in addresses:
        pair = (address.index, address.packed)
        if address.index in ours and len(address.packed) == 4 and pair != own:
            return f"{network.text(address.packed)} on {names[address.index]}"
    for route in routes:
        if len(route.gateway) == 4 and route.metric != METRIC:
            name = names.get(route.index, str(route.index))
            return f"a route by {network.text(route.gateway)} on {name}"
    return ""


def switch_on(link: "Link") -> None:
    """Switch a link on if it is off. Raises NetworkError."""
    if not link.up:
        _must(netlink.switch_on(link.index), f"switch on {link.name}")


def configure(link: "Link", lease: "Answer", log: "Log") -> None:
    """Give a link the address, the MTU and the routes of a lease.

    Without the address nothing else counts; without one of the others the log says so. Raises
    NetworkError.
    """
    name = link.name
    if lease.mtu not in (0, link.mtu):
        # First: some drivers take the link down for a moment.
        _may(netlink.switch_on(link.index, lease.mtu), f"set the MTU of {name} to {lease.mtu}", log)
    keep(link, lease)
    for hop in sorted(lease.routes, key=lambda hop: bool(hop.gateway)):  # gateways may need others
        route = netlink.Route(hop.destination, hop.prefix, hop.gateway, link.index, METRIC)
        on_link = _network(hop.gateway, lease.prefix) != _network(lease.address, lease.prefix)
        way = f" by {network.text(hop.gateway)}" if hop.gateway else ""
        what = f"add the route to {network.text(hop.destination)}/{hop.prefix}{way} on {name}"
        _may(netlink.add_route(route, lease.address, on_link=on_link), what, log)


def keep(link: "Link", lease: "Answer") -> None:
    """Give a link the address of a lease for its time, from now. Raises NetworkError."""
    message = netlink.add_address(link.index, lease.address, lease.prefix, lease.seconds)
    _must(message, f"add {network.text(lease.address)} to {link.name}")


def drop(link: "Link", lease: "Answer") -> None:
    """Take the address of a lease, and with it the routes, from a link. Raises NetworkError."""
    message = netlink.remove_address(link.index, lease.address, lease.prefix)
    _must(message, f"remove {network.text(lease.address)} from {link.name}")


def name_servers(root: "Root", servers: "tuple[bytes, ...]", log: "Log") -> None:
    """Write resolv.conf, if there is none, not even a link that leads nowhere."""
    if not servers or root.status(RESOLV_CONF, follow=False) is not None:
        return
    lines = "".join(f"nameserver {network.text(server)}\n" for server in servers)
    try:
        root.replace(RESOLV_CONF, f"# from DHCP, by azready\n{lines}".encode())
    except GuestError as error:
        log.warning(str(error))


def _network(address: bytes, prefix: int) -> int:
    return int.from_bytes(address, "big") >> 32 - prefix


def _must(message: bytes, what: str) -> None:
    if code := network.change(message):
        raise network.NetworkError(f"cannot {what}: {posix.strerror(code).lower()}")


def _may(message: bytes, what: str, log: "Log") -> None:
    code = network.change(message)
    if code not in (0, EEXIST):
        log.warning(f"cannot {what}: {posix.strerror(code).lower()}")
