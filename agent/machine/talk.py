"""A conversation with the DHCP servers on a link, over a packet socket (packet(7), RFC 2131)."""

import _socket
import posix
import sys
from select import POLLIN, poll
from time import monotonic, monotonic_ns

from agent.errors import reason
from agent.machine import network
from agent.protocol import arp, dhcp, udp
from agent.protocol.dhcp import ACK, NAK, OFFER, Answer, DhcpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.azure.retry import Deadline
    from agent.log import Log
    from agent.machine.watch import Watch
    from agent.protocol.netlink import Link

CARRIER = 5.0  # seconds that a link may take to have one
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 64.0  # seconds, between two messages (RFC 2131, 4.1)
REQUESTS = 3  # of an offer, until another one is looked for
PROBES, PROBE_PAUSE = 3, 0.1  # seconds; RFC 5227 takes its time, but people wait for this boot
AFTER_CONFLICT = 10.0  # seconds (RFC 2131, 3.1)

_IPV4, _ARP = 0x0800, 0x0806  # ETH_P_IP, ETH_P_ARP
_EVERYBODY = b"\xff" * 6
_SOL_PACKET, _AUXDATA, _UNCHECKED = 263, 8, 8  # PACKET_AUXDATA, TP_STATUS_CSUMNOTREADY
_NAMELESS = ("", "(none)", "localhost")


class Talk:
    """A conversation on `link`, in the `name` of this machine; close it.

    `look` is called when the kernel tells of a change of the network; its exceptions pass.
    """

    def __init__(
        self, link: "Link", watch: "Watch", look: "Callable[[], list[Link]]", log: "Log"
    ) -> None:
        self.name = host_name()
        self._link = link
        self._watch = watch
        self._look = look
        self._log = log
        self._xid = int.from_bytes(posix.urandom(4), "big")
        self._began = monotonic()
        self._pause = FIRST_PAUSE
        self._socket = self._open(_IPV4)

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _open(self, protocol: int) -> "_socket.socket":
        kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        # Without a protocol until it is bound: so it hears no other link.
        opened = _socket.socket(_socket.AF_PACKET, kind, 0)
        try:
            opened.setsockopt(_SOL_PACKET, _AUXDATA, 1)
            opened.bind((self._link.name, protocol))
        except OSError:
            opened.close()
            raise
        return opened

    def has_carrier(self, deadline: "Deadline") -> bool:
        """Wait until the link has a carrier; False if it does not get one."""
        limit = deadline.within(CARRIER)
        while True:
            for link in self._look():
                if link.index == self._link.index and link.running and link.carrier:
                    return True
            if limit.left() <= 0:
                return False
            self._ready(self._socket, min(limit.left(), 0.5))

    def lease(self, deadline: "Deadline") -> "Answer | None":
        """Return a lease whose address nobody has, None if there is none in time."""
        mac = self._link.mac
        while deadline.left() > 0:
            offer = self._ask(
                lambda: dhcp.discover(self._xid, mac, self._seconds(), self.name),
                lambda answer: answer.kind == OFFER,
                deadline,
            )
            if not offer:
                return None
            answer = self._requested(offer, deadline)
            if not answer or answer.kind == NAK:
                self._log.debug(f"{network.text(offer.server)} offered a lease and did not give it")
                self._wait(self._next_pause(), deadline)
            elif self._is_used(answer.address):
                self._log.warning(
                    f"another host has {network.text(answer.address)}, which the DHCP server "
                    f"{network.text(answer.server)} offered: looking for another address"
                )
                self._send(dhcp.decline(self._xid, mac, answer))
                self._wait(AFTER_CONFLICT, deadline)
            else:
                return answer
            self._xid = self._xid + 1 & 0xFFFFFFFF
        return None

    def renewed(
        self, address: bytes, deadline: "Deadline", identifier: "bytes | None" = None
    ) -> "Answer | None":
        """Return the answer to a renewal of `address`: an ACK, a NAK, or None (dhcp.renew)."""
        return self._ask(
            lambda: dhcp.renew(
                self._xid, self._link.mac, self._seconds(), self.name, address, identifier
            ),
            lambda answer: answer.kind == NAK or (answer.kind, answer.address) == (ACK, address),
            deadline,
        )

    def _requested(self, offer: Answer, deadline: "Deadline") -> "Answer | None":
        self._pause = FIRST_PAUSE
        return self._ask(
            lambda: dhcp.request(self._xid, self._link.mac, self._seconds(), self.name, offer),
            lambda answer: (
                answer.server == offer.server
                and (answer.kind == NAK or (answer.kind, answer.address) == (ACK, offer.address))
            ),
            deadline,
            REQUESTS,
        )

    def _ask(
        self,
        message: "Callable[[], bytes]",
        accepts: "Callable[[Answer], bool]",
        deadline: "Deadline",
        tries: int = 0,
    ) -> "Answer | None":
        """Send a message until an answer is accepted; `tries` times, 0 for no limit."""
        while deadline.left() > 0:
            self._send(message())
            pause = deadline.within(self._next_pause())
            while pause.left() > 0:
                if not self._ready(self._socket, pause.left()):
                    continue
                answer = self._receive()
                if answer and accepts(answer):
                    return answer
            tries -= 1
            if tries == 0:
                break
        return None

    def _next_pause(self) -> float:
        """Return 1, 2, 4 ... 64 s, each shortened by up to a fifth."""
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return pause * (1 - monotonic_ns() % 1000 / 5000)

    def _seconds(self) -> int:
        return int(monotonic() - self._began)

    def _send(self, payload: bytes) -> None:
        data = udp.packet(payload, dhcp.NOWHERE, dhcp.CLIENT_PORT, dhcp.EVERYBODY, dhcp.SERVER_PORT)
        self._put(self._socket, data, _IPV4)

    def _put(self, socket: "_socket.socket", data: bytes, protocol: int) -> None:
        try:
            socket.sendto(data, (self._link.name, protocol, 0, 0, _EVERYBODY))
        except OSError as error:  # the link is down for a moment, or its queue is full
            self._log.debug(f"cannot send on {self._link.name}: {reason(error)}")

    def _receive(self) -> "Answer | None":
        """Return the answer in the next packet, None if it is something else."""
        try:
            data, notes, _, _ = self._socket.recvmsg(dhcp.MAX_SIZE, 64)
        except OSError:  # a wrong checksum was seen by poll(2), or the link is down
            return None
        # A server on the same host leaves the checksum to a card that the packet never meets.
        status = b"".join(note for level, kind, note in notes if (level, kind) == (_SOL_PACKET, 8))
        checked = not int.from_bytes(status[:4], sys.byteorder) & _UNCHECKED
        payload = udp.payload(data, dhcp.CLIENT_PORT, checked=checked)
        if payload is None:
            return None
        try:
            return dhcp.parse(payload, self._xid, self._link.mac)
        except DhcpError as error:
            self._log.debug(f"{error}; it is ignored")
            return None

    def _is_used(self, address: bytes) -> bool:
        """Tell whether another host on the link has the address (RFC 5227, 2.1.1)."""
        socket = self._open(_ARP)
        try:
            for _ in range(PROBES):
                self._put(socket, arp.probe(self._link.mac, address), _ARP)
                end = monotonic() + PROBE_PAUSE
                while (left := end - monotonic()) > 0:
                    if self._ready(socket, left):
                        try:
                            data = socket.recv(64)
                        except OSError:
                            continue
                        if arp.claims(data, self._link.mac, address):
                            return True
        finally:
            socket.close()
        return False

    def _wait(self, seconds: float, deadline: "Deadline") -> None:
        limit = deadline.within(seconds)
        while limit.left() > 0:
            if self._ready(self._socket, limit.left()):
                self._receive()  # nobody waits for it

    def _ready(self, socket: "_socket.socket", seconds: float) -> bool:
        """Wait until there is a packet, at most `seconds`; look at every change of the network."""
        ready = poll()
        ready.register(socket.fileno(), POLLIN)
        if (told := self._watch.fileno()) >= 0:
            ready.register(told, POLLIN)
        found = [fd for fd, _ in ready.poll(max(1, int(seconds * 1000)))]
        if told in found:
            self._watch.heard()
            self._look()
        return socket.fileno() in found


def host_name() -> str:
    """Return the name to ask under, "" if this machine has none of its own."""
    name = posix.uname().nodename.partition(".")[0]
    return "" if name in _NAMELESS else name
