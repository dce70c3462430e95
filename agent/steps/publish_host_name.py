"""Have DNS learn a new host name: Azure's takes it from the DHCP request (agent/README.md).

A lease that was got under the old name is prolonged under the new one, by the client that holds it
or in its name (agent/machine/holder.py). Without a lease there is nothing to do; no link is ever
taken down, and no address is given up.
"""

import _socket

from agent.change import Change, Step
from agent.errors import AzreadyError, GuestError
from agent.formats import hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes


def changes(boot: "Boot") -> "Changes":
    """Yield one change for each link with a lease, if the host name was changed in this run."""
    client = boot.client
    if client and client.is_renamed():
        yield Change(
            "renew the lease of azready under the new host name",
            lambda: client.renew(boot.deadline),
        )
    if not boot.root.is_live or not _is_renamed(boot):
        return
    from agent.machine import holder

    now = holder.addresses()
    # A lease that came after the name carries it, but for a client that was told the old one.
    old = {
        index
        for index, address in now
        if boot.unnamed is None
        or (index, address) in boot.unnamed
        or holder.is_told(boot.root, index, boot.old_name)
    }
    for index in sorted(old):
        if name := holder.find(boot.root, index):
            yield _renewal(boot, index, name)


def addresses(boot: "Boot") -> "frozenset[tuple[int, bytes]]":
    """Return the IPv4 addresses that this machine has, with the index of their link."""
    if not boot.root.is_live:
        return frozenset()
    from agent.machine import holder

    return holder.addresses()


def _is_renamed(boot: "Boot") -> bool:
    """Tell whether the step host_name gives the kernel another name, or gave it one."""
    if not boot.config.steps["host_name"]:
        return False
    name, _ = hosts.choose(boot.profile.host_names)
    return bool(name) and name != boot.old_name


def _renewal(boot: "Boot", index: int, client: str) -> Change:
    from agent.machine import holder

    def renew() -> None:
        try:
            holder.tell(boot.root, index, boot.log, boot.deadline)
        except GuestError:
            raise
        except AzreadyError as error:
            raise GuestError(str(error)) from None

    try:
        link = _socket.if_indextoname(index)
    except OSError:
        link = str(index)
    return Change(f"renew the lease of {link} ({client}) under the new host name", renew)


PUBLISH_HOST_NAME = Step(
    "publish_host_name",
    "Renew a lease (of whatever DHCP client, or our own) that was got under the old host name.",
    changes,
)
