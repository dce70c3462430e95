"""Tells systemd how far the work is (sd_notify(3)). Errors are ignored: there may be no systemd.

Programs of the image do not inherit $NOTIFY_SOCKET: they get an environment of their own.
"""

import _socket
import posix
from time import sleep

from agent.log import printable

_TRIES, _PAUSE = 20, 0.05  # seconds; what must not get lost
_LONGEST = 500  # characters of a status, which `systemctl status` shows in one line


def is_heard() -> bool:
    """Tell whether what waits for this unit need not wait for the end of this process."""
    return bool(posix.environ.get(b"NOTIFY_SOCKET"))


def ready() -> None:
    """Tell that the start is over: what waits for this unit need not wait longer."""
    _send("READY=1", _TRIES)


def status(text: str) -> None:
    """Tell in one line what is being done."""
    _send(f"STATUS={printable(text[:_LONGEST])}", 1)


def _send(text: str, tries: int) -> None:
    """Send a message, unless the queue of systemd is full each time."""
    address = posix.environ.get(b"NOTIFY_SOCKET", b"")
    if address[:1] == b"@":
        address = b"\0" + address[1:]
    elif address[:1] != b"/":
        return
    kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    try:
        connection = _socket.socket(_socket.AF_UNIX, kind)
        try:
            for left in reversed(range(tries)):
                try:
                    connection.sendto(text.encode("utf-8", "replace"), address)
                    break
                except BlockingIOError:
                    sleep(_PAUSE if left else 0)
        finally:
            connection.close()
    except OSError:
        pass
