"""A network namespace of our own that carries Azure's two addresses on its loopback, and nothing else: no route leads out of it.

Works as root and as an ordinary user with user namespaces. The kernel removes it with the last process inside. Also gives the process a host-name space of its
own, so that an agent that sets the host name does not rename the machine.
"""

import ctypes
import fcntl
import os
import pathlib
import socket
import struct
from collections.abc import Iterable

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET, _CLONE_NEWUSER = 0x00020000, 0x04000000, 0x40000000, 0x10000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
_IFF_UP = 1


def enter(addresses: Iterable[str]) -> list[str]:
    """Move this process (it must have one thread) into a new namespace and put `addresses` on its loopback.

    Returns the words of the command that enters it from outside. Raises OSError with a text for people.
    """
    inside = separate()
    bring_up(addresses)
    return inside


def separate() -> list[str]:
    """Move this process (it must have one thread) into a new namespace, where the network is still down. Returns and raises as enter()."""
    before = os.readlink("/proc/self/ns/net")
    uid = os.geteuid()
    try:
        unshare(CLONE_NEWNET | CLONE_NEWUTS)
    except OSError as error:
        raise OSError(error.errno, f"this kernel does not let user {uid} make a network namespace: {error.strerror}; run as root, or without --netns") from None
    if os.readlink("/proc/self/ns/net") == before:
        raise OSError("the kernel left this process in the machine's own network namespace")
    return ["nsenter", f"--target={os.getpid()}", *(["--user", "--preserve-credentials"] if uid else []), "--net", "--uts", "--"]


def unshare(flags: int) -> None:
    """unshare(2) for this process, with a user namespace of its own around it when this is not root. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(flags | (_CLONE_NEWUSER if uid else 0)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if uid:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def bring_up(addresses: Iterable[str]) -> None:
    """Take the loopback of a namespace made by separate() up, with `addresses` on it. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _up(control, "lo")
        for number, address in enumerate(addresses, 1):
            name = f"lo:{number}"
            fcntl.ioctl(control, _SIOCSIFADDR, _request(name, address))
            fcntl.ioctl(control, _SIOCSIFNETMASK, _request(name, "255.255.255.255"))
    _refuse_way_out()


def _up(control: socket.socket, name: str) -> None:
    (flags,) = struct.unpack("16xh", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh", name.encode(), 0)))
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags | _IFF_UP))


def _request(name: str, address: str) -> bytes:
    """struct ifreq with an IPv4 address (netdevice(7))."""
    return struct.pack("16sHH4s8x", name.encode(), socket.AF_INET, 0, socket.inet_aton(address))


def _refuse_way_out() -> None:
    """A namespace with a route to elsewhere is not ours: hosted machines may be Azure VMs, where these addresses are live."""
    routes = [line.split() for line in pathlib.Path("/proc/net/route").read_text().splitlines()[1:]]
    if any(route[0] != "lo" for route in routes):
        raise OSError("the new network namespace has a route that leads out of it; refusing to use Azure's addresses in it")
