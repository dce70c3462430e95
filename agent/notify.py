"""Tells systemd how far the work is (sd_notify(3)). Without systemd, or if it is busy, nothing.

Programs of the image do not inherit $NOTIFY_SOCKET: they get an environment of their own.
"""

import _socket
import posix

from agent.log import printable

_LONGEST = 500  # characters of a status, which `systemctl status` shows in one line


def ready() -> None:
    """Tell that the start is over: what waits for this unit need not wait longer."""
    _send("READY=1")


def status(text: str) -> None:
    """Tell in one line what is being done."""
    _send(f"STATUS={printable(text[:_LONGEST])}")


def _send(text: str) -> None:
    address = posix.environ.get(b"NOTIFY_SOCKET", b"")
    if address[:1] == b"@":
        address = b"\0" + address[1:]
    elif address[:1] != b"/":
        return
    kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    try:
        connection = _socket.socket(_socket.AF_UNIX, kind)
        try:
            connection.sendto(text.encode("utf-8", "replace"), address)
        finally:
            connection.close()
    except OSError:
        pass
