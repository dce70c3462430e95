"""The lines of /etc/passwd, /etc/shadow, /etc/group and /etc/gshadow (passwd(5), shadow(5), group(5), gshadow(5)): bytes in, bytes out.

An edit touches the one line that it is about; every other line, comments, blanks and junk included, stays byte for byte. The first entry of a name is
the one that counts, as in the C library. Lines that start with + or - belong to NIS and stay at the end.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def entries(content: bytes) -> "Iterator[list[str]]":
    """The fields of every line that is an entry, in order."""
    for line in _lines(content):
        if _is_entry(line):
            yield line.split(":")


def entry(content: bytes, name: str) -> "list[str]":
    """The fields of the entry `name`, [] if there is none."""
    return next((fields for fields in entries(content) if fields[0] == name), [])


def with_entry(content: bytes, fields: "list[str]") -> bytes:
    """The content with this entry in the place of the one with the same name, or added behind the last one that is not NIS's."""
    lines = _lines(content)
    new = ":".join(fields)
    at = next(
        (
            at
            for at, line in enumerate(lines)
            if _is_entry(line) and line.split(":")[0] == fields[0]
        ),
        None,
    )
    if at is None:
        at = next((at for at, line in enumerate(lines) if line[:1] in ("+", "-")), len(lines))
        lines.insert(at, new)
    else:
        lines[at] = new
    return _content(lines)


def without_entry(content: bytes, name: str) -> bytes:
    """The content without any entry of that name."""
    lines = _lines(content)
    kept = [line for line in lines if not (_is_entry(line) and line.split(":")[0] == name)]
    return _content(kept) if len(kept) != len(lines) else content


def with_member(content: bytes, group: str, member: str) -> bytes:
    """The content of group or gshadow with `member` in the last field of the group, if there is such a group and it is not there yet."""
    fields = entry(content, group)
    members = _members(fields)
    if len(fields) < 4 or member in members:
        return content
    return with_entry(content, [*fields[:3], ",".join([*members, member]), *fields[4:]])


def without_member(content: bytes, member: str) -> bytes:
    """The content of group or gshadow with `member` in no group."""
    for fields in list(entries(content)):
        if len(fields) >= 4 and member in _members(fields):
            kept = [name for name in _members(fields) if name != member]
            content = with_entry(content, [*fields[:3], ",".join(kept), *fields[4:]])
    return content


def groups_of(content: bytes, member: str) -> "list[str]":
    """The groups that list `member`, in order."""
    return [fields[0] for fields in entries(content) if member in _members(fields)]


def number(fields: "list[str]", at: int) -> int:
    """A numeric field, -1 where there is none."""
    text = fields[at] if at < len(fields) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1


def _members(fields: "list[str]") -> "list[str]":
    return [name for name in fields[3].split(",") if name] if len(fields) >= 4 else []


def _is_entry(line: str) -> bool:
    return ":" in line and line[:1] not in ("#", "+", "-")


def _lines(content: bytes) -> "list[str]":
    """The lines without their ends; a file that ends without one is as good as one that ends with it."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _content(lines: "list[str]") -> bytes:
    return "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
