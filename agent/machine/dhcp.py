"""A DHCP client for a machine where nobody else is one (RFC 2131).

It works while a first boot waits for a way to the platform, and only then: there are no threads.
The network belongs to whoever else configures it. Before every change, and whenever the kernel
tells of one, the client looks for addresses and routes that are not its own; if there are any, it
lets go at once, and touches nothing from then on. While somebody else is getting a lease for a
link, it is left to him for a minute: two clients at once help nobody. What azready has configured
stays after the run, for the time of the lease; the kernel then removes it.

Where packet sockets are refused, `azready lease` is run outside of the unit's sandbox.
"""

from time import monotonic

from agent.change import Change
from agent.errors import AzreadyError, reason
from agent.machine import holder, links, network, outside
from agent.machine.talk import Talk, host_name
from agent.machine.watch import Watch
from agent.protocol import dhcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.retry import Deadline
    from agent.change import Changes
    from agent.log import Log
    from agent.protocol.dhcp import Answer
    from agent.protocol.netlink import Link
    from agent.root import Root

PATIENCE = 60.0  # seconds for a client that is at work
TURN = 15.0  # seconds for one link of several: 1 + 2 + 4 + 8
OUTSIDE = 30.0  # seconds for `azready lease`
RENEWAL, RENEWAL_PAUSE = 3.0, 60.0  # seconds for one, and between two (RFC 2131, 4.4.5)


def plan(root: "Root", grace: float) -> "Changes":
    """Yield what a run would do about the network as it is now, after `grace` seconds."""
    try:
        survey = network.survey()
    except network.NetworkError:
        return
    usable = links.usable(root, survey[0])
    if usable and not links.taken(root, survey, None):
        text = f"ask for a lease on {usable[0].name} (DHCP), if nobody else does within {grace:g} s"
        yield Change(text, bool)


class _LetGo(Exception):
    """Somebody else configures the network; the text says what shows it."""


class Client:
    """The client of one run.

    `lease` is what it has, None before and after; `is_left` tells that somebody else configures the
    network. `patience` is how many seconds from now a client that is at work on a link has for it.
    """

    def __init__(self, root: "Root", log: "Log", *, patience: float = 0.0) -> None:
        self.lease: "Answer | None" = None
        self.is_left = False
        self._root = root
        self._log = log
        self._link: "Link | None" = None
        self._name = ""
        self._turn = 0
        self._patient_until = monotonic() + patience
        self._renew_at = 0.0
        self._said = ""

    def turn(self, deadline: "Deadline", *, no_way: bool) -> bool:
        """Get a lease if there is `no_way` to the platform, renew one that is due.

        Returns whether anything was waited for, so that the platform should be tried at once.
        """
        try:
            with Watch() as watch:
                if self.lease and self._link:
                    return self._keep(self._link, self.lease, watch, deadline)
                return no_way and self._acquire(watch, deadline)
        except _LetGo as found:
            self.is_left = True
            self._say(f"somebody else configures the network ({found}): azready leaves it alone")
        except AzreadyError as error:
            self._say(f"no DHCP: {error}")
        except OSError as error:
            self._say(f"no DHCP: a packet socket failed: {reason(error)}")
        return False

    def is_renamed(self) -> bool:
        """Tell whether there is a lease under another name than this machine has now."""
        return bool(self.lease) and self._name != host_name()

    def renew(self, deadline: "Deadline") -> None:
        """Renew the lease now, under the name that this machine has."""
        self._renew_at = 0.0
        self.turn(deadline, no_way=False)

    def _say(self, text: str) -> None:
        """Log a reason to do nothing, once."""
        if text != self._said:
            self._log.warning(text)
        self._said = text

    def _refuse_others(self) -> "list[Link]":
        """Return all links. Raises _LetGo, NetworkError."""
        survey = network.survey()
        own = (self._link.index, self.lease.address) if self._link and self.lease else None
        if found := links.taken(self._root, survey, own):
            raise _LetGo(found)
        return survey[0]

    def _acquire(self, watch: Watch, deadline: "Deadline") -> bool:
        usable = links.usable(self._root, self._refuse_others())
        if not usable:
            self._say("no DHCP: there is no Ethernet link that azready could configure")
            return False
        if monotonic() < self._patient_until:
            usable = [link for link in usable if not holder.is_at_work(self._root, link.index)]
        if not usable:
            return False
        if outside.is_confined():
            self._have_it_done(deadline)
            return True
        self.is_left = False
        link = usable[self._turn % len(usable)]
        self._turn += 1
        limit = deadline if len(usable) == 1 else deadline.within(TURN)
        say = self._log.info if self._turn <= len(usable) else self._log.debug
        say(f"nobody has configured the network: looking for a DHCP server on {link.name}")
        links.switch_on(link)
        talk = Talk(link, watch, self._refuse_others, self._log)
        try:
            if not talk.has_carrier(limit):
                self._say(f"no DHCP: {link.name} has no carrier")
                return True
            lease = talk.lease(limit)
            if not lease:
                self._say(f"no DHCP: no server on {link.name} gave a lease")
                return True
            self._refuse_others()
            links.configure(link, lease, self._log)
        finally:
            talk.close()
        self._link, self.lease, self._name = link, lease, talk.name
        self._renew_at = monotonic() + lease.renewal
        links.name_servers(self._root, lease.dns, self._log)
        ends = "does not end" if lease.seconds == dhcp.FOREVER else f"ends in {lease.seconds} s"
        self._log.info(
            f"{link.name} has {network.text(lease.address)}/{lease.prefix} and {len(lease.routes)} "
            f"routes from the DHCP server {network.text(lease.server)}; the lease {ends}"
        )
        return True

    def _have_it_done(self, deadline: "Deadline") -> None:
        """Have systemd run `azready lease`. Raises AzreadyError."""
        self._log.info("nobody has configured the network: running azready lease")
        self._log.info(outside.run(self._root, ["lease"], min(deadline.left(), OUTSIDE)))

    def _keep(self, link: "Link", lease: "Answer", watch: Watch, deadline: "Deadline") -> bool:
        """Renew the lease if it is due."""
        if not self._has(link, lease):
            self.lease = None  # it has ended, or somebody took the address away
            return True
        if monotonic() < self._renew_at or self.is_left:
            return False
        self._refuse_others()
        answer = self._renewed(link, lease, watch, deadline)
        if answer is None:
            self._renew_at = monotonic() + RENEWAL_PAUSE
        elif answer.kind == dhcp.NAK:
            self._log.warning(f"the DHCP server took {network.text(lease.address)} back")
            self.lease = None
            links.drop(link, lease)
            return True
        else:
            links.keep(link, answer)
            self.lease = answer
            self._renew_at = monotonic() + answer.renewal
            self._log.debug(f"renewed {network.text(lease.address)} for {answer.seconds} s")
        return False

    def _renewed(
        self, link: "Link", lease: "Answer", watch: Watch, deadline: "Deadline"
    ) -> "Answer | None":
        talk = Talk(link, watch, self._refuse_others, self._log)
        try:
            self._name = talk.name
            return talk.renewed(lease.address, deadline.within(RENEWAL))
        finally:
            talk.close()

    def _has(self, link: "Link", lease: "Answer") -> bool:
        _, addresses, _ = network.survey()
        return any(
            (address.index, address.packed) == (link.index, lease.address) for address in addresses
        )
