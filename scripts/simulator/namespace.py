"""A network namespace that has Azure's two addresses on its loopback, and no route out of it.

Works as root, and as an ordinary user with user namespaces. The kernel removes the namespace with
the last process in it. The process also gets a UTS namespace, so that an agent that sets the host
name does not rename the machine.
"""

import fcntl
import os
import pathlib
import socket
import struct
from collections.abc import Iterable

from build.unshare import CLONE_NEWNET, CLONE_NEWUTS, unshare

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
_IFF_UP = 1
_NETWORK = pathlib.Path("/proc/self/ns/net")


def enter(addresses: Iterable[str]) -> list[str]:
    """Move this process into a new namespace and put `addresses` on its loopback.

    The process must have a single thread. Returns the words of a command that enters the namespace
    from outside. Raises OSError with a text for people.
    """
    inside = separate()
    bring_up(addresses)
    return inside


def separate() -> list[str]:
    """Move this process into a new namespace, where the network is still down.

    Requires, returns and raises as enter().
    """
    before = _NETWORK.readlink()
    uid = os.geteuid()
    try:
        unshare(CLONE_NEWNET | CLONE_NEWUTS)
    except OSError as error:
        raise OSError(
            error.errno,
            f"user {uid} may not create a network namespace: {error.strerror}; "
            "run as root, or without --netns",
        ) from None
    if _NETWORK.readlink() == before:
        raise OSError("the kernel left this process in the machine's own network namespace")
    return [
        "nsenter",
        f"--target={os.getpid()}",
        *(["--user", "--preserve-credentials"] if uid else []),
        "--net",
        "--uts",
        "--",
    ]


def bring_up(addresses: Iterable[str]) -> None:
    """Bring up the loopback of a namespace that separate() made, with `addresses` on it.

    Raises OSError.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _up(control, "lo")
        for number, address in enumerate(addresses, 1):
            name = f"lo:{number}"
            fcntl.ioctl(control, _SIOCSIFADDR, _request(name, address))
            fcntl.ioctl(control, _SIOCSIFNETMASK, _request(name, "255.255.255.255"))
    _refuse_way_out()


def take_down(addresses: Iterable[str]) -> None:
    """Undo bring_up(). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for number, _ in enumerate(addresses, 1):
            _up(control, f"lo:{number}", on=False)  # which removes the alias
        _up(control, "lo", on=False)


def _up(control: socket.socket, name: str, *, on: bool = True) -> None:
    (flags,) = struct.unpack(
        "16xh", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh", name.encode(), 0))
    )
    flags = flags | _IFF_UP if on else flags & ~_IFF_UP
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags))


def _request(name: str, address: str) -> bytes:
    """Return a struct ifreq with an IPv4 address (netdevice(7))."""
    return struct.pack("16sHH4s8x", name.encode(), socket.AF_INET, 0, socket.inet_aton(address))


def _refuse_way_out() -> None:
    """Refuse a namespace with a route to elsewhere.

    Hosted machines may be Azure VMs, where these addresses are live.
    """
    routes = [line.split() for line in pathlib.Path("/proc/net/route").read_text().splitlines()[1:]]
    if any(route[0] != "lo" for route in routes):
        raise OSError(
            "the new network namespace has a route that leads out of it: "
            "refusing to use Azure's addresses there"
        )
