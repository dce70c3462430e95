"""The host name: in the kernel, in /etc/hostname, in /etc/hosts (hostname(5), hosts(5), RFC 1123 2.1).

What comes from the platform is made legal first; files are written only if that changes them. A host name must never stop a boot: the caller turns
what is raised here into a warning.
"""

import _socket
import posix

from agent.errors import GuestError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.root import Root

MAX_LABEL = 63  # characters, RFC 1123 2.1
MAX_NAME = 64  # characters, HOST_NAME_MAX of Linux

HOSTNAME = "/etc/hostname"
HOSTS = "/etc/hosts"
_NEW_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_OWN_ADDRESS = "127.0.1.1"  # Debian's convention for a name without a fixed address


def sanitise(name: str) -> str:
    """The nearest legal host name: letters, digits and inner hyphens in labels of at most MAX_LABEL, MAX_NAME in all; "" if nothing is left.

    Every other character becomes a hyphen; empty labels vanish. The case is kept.
    """
    labels = []
    for label in name.strip().split("."):
        legal = "".join(
            character if character.isascii() and character.isalnum() else "-" for character in label
        )
        labels.append(legal.strip("-")[:MAX_LABEL].strip("-"))
    return ".".join(filter(None, labels))[:MAX_NAME].strip("-.")


def choose(candidates: "list[str]") -> "tuple[str, str]":
    """(legal name, what it was made from) of the first candidate of which anything is left; ("", the first one that says anything) without one."""
    for wanted in candidates:
        if name := sanitise(wanted):
            return name, wanted
    return "", next(filter(None, candidates), "")


def current() -> str:
    """The host name of the running kernel."""
    return posix.uname().nodename


def apply(root: "Root", name: str) -> list[str]:
    """Set the host name wherever it stands, each place whatever becomes of the others; returns what went wrong. The kernel's is set for root "/" only."""
    problems = []
    old_name = current() if root.is_live else ""
    changes: "list[Callable[[], bool]]" = [
        lambda: write_hostname(root, name),
        lambda: write_hosts(root, name, old_name),
    ]
    if root.is_live and old_name != name:
        changes.insert(0, lambda: set_running(name))
    for change in changes:
        try:
            change()
        except GuestError as error:
            problems.append(str(error))
    return problems


def set_running(name: str) -> bool:
    """Give the running kernel its host name. Raises GuestError."""
    try:
        _socket.sethostname(name)
    except OSError as error:
        raise GuestError(f"cannot set the host name to {name}: {reason(error)}") from None
    return True


def write_hostname(root: "Root", name: str) -> bool:
    """Put `name` into /etc/hostname; False if it was there already. Raises GuestError."""
    content = f"{name}\n".encode()
    if root.read(HOSTNAME) == content:
        return False
    root.replace(HOSTNAME, content)
    return True


def write_hosts(root: "Root", name: str, old_name: str = "") -> bool:
    """Make /etc/hosts resolve `name`, so that sudo and mail programs do not wait for DNS; False if it did already. Raises GuestError.

    The old name's place on the 127.0.1.1 line is taken over; every other line stays byte for byte.
    """
    before = root.read(HOSTS)
    after = hosts_with(before if before is not None else _NEW_HOSTS.encode(), name, old_name)
    if after == before:
        return False
    root.replace(HOSTS, after)
    return True


def hosts_with(content: bytes, name: str, old_name: str) -> bytes:
    """The content of a hosts file in which a loopback line names `name` (and its first label, if it has several)."""
    names = _names(name)
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    words = [line.partition("#")[0].split() for line in lines]
    if any(entry and _is_loopback(entry[0]) and name in entry[1:] for entry in words):
        return content
    at = next(
        (
            at
            for at, entry in enumerate(words)
            if old_name and entry[:1] == [_OWN_ADDRESS] and old_name in entry[1:]
        ),
        None,
    )
    if at is not None:
        kept = [word for word in words[at][1:] if word not in _names(old_name)]
        _, mark, comment = lines[at].partition("#")
        lines[at] = f"{_OWN_ADDRESS}\t{' '.join([*names, *kept])}" + (
            f" #{comment}" if mark else ""
        )
    else:
        end = len(lines) - 1 if lines[-1] == "" else len(lines)
        lines.insert(end, f"{_OWN_ADDRESS}\t{' '.join(names)}")
        if lines[-1] != "":
            lines.append("")
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def hosts_without(content: bytes, name: str) -> bytes:
    """The content of a hosts file in which no 127.0.1.1 line names `name`; every other line stays byte for byte."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    kept = []
    for line in lines:
        address, *words = line.partition("#")[0].split() or [""]
        if address != _OWN_ADDRESS or name not in words:
            kept.append(line)
        elif others := [word for word in words if word not in _names(name)]:
            kept.append(f"{_OWN_ADDRESS}\t{' '.join(others)}")
    return "\n".join(kept).encode("utf-8", "surrogateescape")


def _names(name: str) -> list[str]:
    return list(dict.fromkeys((name, name.partition(".")[0])))


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
