"""Waits for the kernel to tell of a change of links, addresses or routes (rtnetlink(7))."""

import _socket
from select import POLLIN, poll
from time import monotonic, sleep

_ROUTE = 0  # NETLINK_ROUTE
# RTMGRP_LINK, and the groups of addresses and routes of IPv4 and IPv6 (linux/rtnetlink.h)
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_SETTLE = 0.001  # seconds: an address comes with its routes, and each is a message


class Watch:
    """A subscription to these changes, from its making on; a context manager.

    Where the kernel or a sandbox refuses it, waiting is sleeping.
    """

    def __init__(self) -> None:
        self._is_new = True
        self._socket: "_socket.socket | None" = None
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        try:
            self._socket = _socket.socket(_socket.AF_NETLINK, kind, _ROUTE)
            self._socket.bind((0, _GROUPS))
        except OSError:
            self.close()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the subscription."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def fileno(self) -> int:
        """Return the descriptor that is readable after a change, -1 without a subscription."""
        return -1 if self._socket is None else self._socket.fileno()

    def heard(self) -> None:
        """Take note of the changes that were told."""
        if self._socket is not None:
            sleep(_SETTLE)
            self._drain(self._socket)

    def wait(self, seconds: float) -> None:
        """Return at a change, at the latest after `seconds`.

        The first call returns at once: what changed before the subscription was not told.
        """
        is_new, self._is_new = self._is_new, False
        if self._socket is None:
            sleep(seconds)
        elif not is_new:
            ready = poll()
            ready.register(self._socket.fileno(), POLLIN)
            if ready.poll(max(1, int(seconds * 1000))):
                self.heard()

    def _drain(self, socket: "_socket.socket") -> None:
        end = monotonic() + _SETTLE
        try:
            while monotonic() < end and socket.recv(65536):
                pass
        except OSError:  # nothing more; or ENOBUFS, when so much has changed that some was lost
            return
