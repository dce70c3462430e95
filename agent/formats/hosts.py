"""Host names and /etc/hosts (hostname(5), hosts(5), RFC 1123 2.1).

The platform's name is sanitised first. An edit of /etc/hosts touches the 127.0.1.1 line only; every
other line stays byte for byte.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LABEL = 63  # characters, RFC 1123 2.1
MAX_NAME = 64  # characters, HOST_NAME_MAX of Linux
NEW = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"  # if there is no file

_OWN_ADDRESS = "127.0.1.1"  # Debian's convention for a name without a fixed address


def sanitise(name: str) -> str:
    """Return the nearest valid host name, "" if nothing is left.

    Labels hold letters, digits and inner hyphens, at most MAX_LABEL. Of a name with more than
    MAX_NAME characters the first label stays. Every other character becomes a hyphen, empty labels
    vanish, the case is kept.
    """
    labels = []
    for label in name.strip().split("."):
        valid = label
        if not (label.isascii() and label.replace("-", "").isalnum()):
            valid = "".join(one if one.isascii() and one.isalnum() else "-" for one in label)
        labels.append(valid.strip("-")[:MAX_LABEL].strip("-"))
    whole = ".".join(filter(None, labels))
    return whole if len(whole) <= MAX_NAME else next(filter(None, labels))


def choose(candidates: "Sequence[str]") -> "tuple[str, str]":
    """Return (valid name, the candidate that it was made from).

    The first candidate of which anything is left counts. Without one, the name is "" and the
    candidate is the first that is not empty, "" if all are.
    """
    for wanted in candidates:
        if name := sanitise(wanted):
            return name, wanted
    return "", next(filter(None, candidates), "")


def with_name(content: bytes, name: str, old_name: str) -> bytes:
    """Return the content of a hosts file in which a loopback line names `name` and its first label.

    The place of `old_name` on the 127.0.1.1 line is taken over; "" is no old name.
    """
    names = _names(name)
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    words = [line.partition("#")[0].split() for line in lines]
    if any(entry and _is_loopback(entry[0]) and name in entry[1:] for entry in words):
        return content
    at = next((at for at, entry in enumerate(words) if old_name and _is_own(entry, old_name)), None)
    if at is not None:
        kept = [word for word in words[at][1:] if word not in _names(old_name)]
        _, mark, comment = lines[at].partition("#")
        new = f"{_OWN_ADDRESS}\t{' '.join([*names, *kept])}"
        lines[at] = new + (f" #{comment}" if mark else "")
    else:
        end = len(lines) - 1 if lines[-1] == "" else len(lines)
        lines.insert(end, f"{_OWN_ADDRESS}\t{' '.join(names)}")
        if lines[-1] != "":
            lines.append("")
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def without_name(content: bytes, name: str) -> bytes:
    """Return the content of a hosts file in which no 127.0.1.1 line names `name`."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    kept = []
    for line in lines:
        words = line.partition("#")[0].split()
        if not _is_own(words, name):
            kept.append(line)
        elif others := [word for word in words[1:] if word not in _names(name)]:
            kept.append(f"{_OWN_ADDRESS}\t{' '.join(others)}")
    return "\n".join(kept).encode("utf-8", "surrogateescape")


def _names(name: str) -> "list[str]":
    return list(dict.fromkeys((name, name.partition(".")[0])))


def _is_own(words: "list[str]", name: str) -> bool:
    return words[:1] == [_OWN_ADDRESS] and name in words[1:]


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
