"""The DHCP client that holds the lease of a link, and how its server learns a new host name.

No client is asked to give its lease up, or is started anew: there is no moment without the address.
NetworkManager and dhcpcd can be told, and send the name in a new request (`dhcpcd --renew` itself
would start a second daemon where the first runs for IPv4 only, so it gets the signal). The others
cannot: of networkd, `networkctl renew` sends the old name, and `networkctl reconfigure` drops the
address for 50 ms (252); udhcpc has the name on its command line; dhclient knows no order to renew.
For these the same request, which prolongs the lease, is sent from here, in the name of the client.
It does not notice. Its own next renewal, if the lease ends at all (those of Azure do not), carries
what it believes: dhclient and dhcpcd ask the kernel each time, networkd and udhcpc when they start.
"""

import _socket
import posix
from _signal import SIGUSR1

from agent import programs
from agent.errors import AzreadyError, GuestError, reason
from agent.machine import network, outside
from agent.machine.talk import Talk, host_name
from agent.machine.watch import Watch
from agent.protocol import dhcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.azure.retry import Deadline
    from agent.log import Log
    from agent.protocol.netlink import Link
    from agent.root import Root

NETWORKD, NETWORK_MANAGER = "systemd-networkd", "NetworkManager"
DHCPCD, DHCLIENT, UDHCPC = "dhcpcd", "dhclient", "udhcpc"

_LEASES, _DEVICES = "/run/systemd/netif/leases", "/run/NetworkManager/devices"
_LINKS = "/run/systemd/netif/links"
# Of networkd, for a link that it has not looked at, will configure, or does.
_AT_WORK = (b"", b"pending", b"initialized", b"configuring")
# Where systemd has the control groups of its services, as long as these run: newer, and older.
_SERVICES = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice")
# Services that configure all links, in their own time: networking is ifupdown's.
_MANAGERS = (NETWORK_MANAGER, "networking", DHCPCD, "connman", "wickedd-dhcp4")
_LIMIT = 20.0  # seconds for a program
_ANSWER = 3.0  # seconds for an answer of the server


def addresses() -> "frozenset[tuple[int, bytes]]":
    """Return the IPv4 addresses of this machine, with the index of their link; none if unknown."""
    try:
        _, found, _ = network.survey()
    except network.NetworkError:
        return frozenset()
    return frozenset((item.index, item.packed) for item in found if dhcp.is_host(item.packed))


def find(root: "Root", index: int) -> str:
    """Return the name of the client that has a lease for a link, "" if none is known.

    networkd and NetworkManager say so in their run-time state; the others are processes, or, where
    a sandbox hides these, leave their files in /run.
    """
    if client := _declared(root, index):
        return client
    for client, _ in _of(index):
        return client
    if outside.is_confined():
        left = root.names("/run")
        return next(
            (kind for kind in (DHCPCD, DHCLIENT) if any(one.startswith(kind) for one in left)), ""
        )
    return ""


def is_at_work(root: "Root", index: int) -> bool:
    """Tell whether somebody is getting a lease for a link, or is about to.

    A sandbox hides processes, but not what systemd has started. networkd says what it does with a
    link (ADMIN_STATE, networkctl(1)) as soon as it is up, which takes long on a busy machine.
    """
    if any(_of(index)):
        return True
    runs = {name.removesuffix(".service") for folder in _SERVICES for name in root.names(folder)}
    if not runs.isdisjoint(_MANAGERS):
        return True
    return NETWORKD in runs and _value(root, f"{_LINKS}/{index}", b"ADMIN_STATE=") in _AT_WORK


def is_told(root: "Root", index: int, name: str) -> bool:
    """Tell whether the client of a link has this host name on its command line: udhcpc may.

    To look at every process takes long where the platform waits, so a run-time state goes first.
    """
    return not _declared(root, index) and any(
        client == UDHCPC and words & {f"hostname:{name}", f"-xhostname:{name}"}
        for client, words in _of(index)
    )


def tell(root: "Root", index: int, log: "Log", deadline: "Deadline") -> None:
    """Have the server of a link's lease learn the name of this machine. Raises AzreadyError."""
    client, limit = find(root, index), deadline.within(_LIMIT)
    link = next((link for link in network.survey()[0] if link.index == index), None)
    if not client or not link:
        return  # it has just ended
    if client == NETWORK_MANAGER:
        # In effect until the connection ends; `device reapply` without a change sends nothing.
        _modify(root, link.name, limit)
    elif outside.is_confined():
        log.debug(outside.run(root, ["announce"], limit.left()))
    elif client == DHCPCD:
        _signal_dhcpcd(root, link.name)
    else:
        _ask(link, _identifier(root, client, link), log, limit.within(_ANSWER))


def _declared(root: "Root", index: int) -> str:
    """Return the client that has a lease for a link by its run-time state, "" without."""
    if root.exists(f"{_LEASES}/{index}"):
        return NETWORKD
    if b"\ndhcp4." in (root.read(f"{_DEVICES}/{index}") or b""):
        return NETWORK_MANAGER
    return ""


def _modify(root: "Root", name: str, limit: "Deadline") -> None:
    program = programs.usable(root, "nmcli")
    if not program:
        raise GuestError("NetworkManager is not told the new host name: there is no nmcli")
    words = [program, "device", "modify", name, "ipv4.dhcp-hostname", host_name()]
    result = programs.run(words, limit=limit.left())
    if result.code:
        raise GuestError(f"{' '.join(words)} {result}")


def _signal_dhcpcd(root: "Root", name: str) -> None:
    """Have dhcpcd renew (SIGUSR1, dhcpcd(8)): that of the link, or that of all links."""
    files = (f"dhcpcd/{name}.pid", f"dhcpcd/{name}-4.pid", "dhcpcd/pid", f"dhcpcd-{name}.pid")
    running = {number for client, number, _ in _clients() if client == DHCPCD}
    for file in (*files, "dhcpcd.pid"):
        number = (root.read(f"/run/{file}") or b"").strip().decode("ascii", "replace")
        if number in running:
            try:
                posix.kill(int(number), SIGUSR1)
            except OSError as error:
                raise GuestError(f"cannot signal dhcpcd ({number}): {reason(error)}") from None
            return
    raise GuestError("dhcpcd is not told the new host name: no file in /run names its process")


def _identifier(root: "Root", client: str, link: "Link") -> "bytes | None":
    """Return option 61 as the client sends it, b"" for none, None for the usual: its MAC."""
    if client != NETWORKD:
        return b"" if client == DHCLIENT else None
    given = _value(root, f"{_LEASES}/{link.index}", b"CLIENTID=")
    try:
        return bytes.fromhex(given.decode("ascii", "replace"))
    except ValueError:
        return None


def _value(root: "Root", path: str, key: bytes) -> bytes:
    """Return what follows `key` in a file of networkd's run-time state, b"" without."""
    lines = (root.read(path) or b"").splitlines()
    return next((line[len(key) :] for line in lines if line.startswith(key)), b"")


def _ask(link: "Link", identifier: "bytes | None", log: "Log", deadline: "Deadline") -> None:
    address = next((packed for index, packed in addresses() if index == link.index), b"")
    try:
        with Watch() as watch:
            talk = Talk(link, watch, lambda: network.survey()[0], log)
            try:
                answer = talk.renewed(address, deadline, identifier)
            finally:
                talk.close()
    except OSError as error:
        raise network.NetworkError(f"a packet socket failed: {reason(error)}") from None
    if not answer or answer.kind == dhcp.NAK:
        did = "refused to prolong" if answer else "did not answer about"
        raise GuestError(
            f"the DHCP server {did} the lease of {network.text(address)} on {link.name} under the "
            "new host name: DNS knows the old one until the next boot"
        )


def _clients() -> "Iterator[tuple[str, str, set[str]]]":
    """Yield (name, process, words of its command line) of each client that runs. See proc(5)."""
    try:
        numbers = [name for name in posix.listdir("/proc") if name.isdigit()]
    except OSError:
        return
    for number in numbers:
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                words = file.read(4096).replace(b"\0", b" ").decode("utf-8", "replace").split()
        except OSError:
            continue  # it has ended
        first = [word.rpartition("/")[2].rstrip(":") for word in words[:2]]
        for client in (DHCPCD, DHCLIENT, UDHCPC):
            if client in first[:1] or first == ["busybox", client]:
                yield client, number, set(words)


def _of(index: int) -> "Iterator[tuple[str, set[str]]]":
    """Yield those that name this link, or none; nothing if the link is gone."""
    try:
        name, others = _socket.if_indextoname(index), {name for _, name in _socket.if_nameindex()}
    except OSError:
        return
    for client, _, words in _clients():
        if name in words or not others & words:
            yield client, words


def announce(
    root: "Root", found: "frozenset[tuple[int, bytes]]", log: "Log", deadline: "Deadline"
) -> "list[str]":
    """Tell every client of these addresses; return what failed."""
    problems = []
    for index in sorted({index for index, _ in found}):
        try:
            tell(root, index, log, deadline)
        except AzreadyError as error:
            problems.append(str(error))
    return problems
