"""The lines of passwd, shadow, group and gshadow (passwd(5), shadow(5), group(5), gshadow(5)).

An edit touches the one line that it is about. Every other line stays byte for byte: comments, blank
lines and junk included. The first entry of a name counts, as in the C library. Lines that start
with + or - belong to NIS and stay at the end.
"""

from agent.errors import GuestError
from agent.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWD, SHADOW, GROUP, GSHADOW = "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"
MAX_NAME = 32  # bytes, LOGIN_NAME_MAX of the shadow tools
LOCKED = "!"  # the password field of an account that has no password

_DEFAULTS = {
    "UID_MIN": 1000,
    "UID_MAX": 60000,
    "PASS_MIN_DAYS": 0,
    "PASS_MAX_DAYS": 99999,
    "PASS_WARN_AGE": 7,
    "HOME_MODE": 0o700,
}
_OCTAL = ("HOME_MODE",)


@record
class Account:
    """One line of passwd; `uid` and `gid` are -1 where the line holds no number."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def account(fields: "list[str]") -> Account:
    """Return the account that the fields of a passwd line describe; missing fields are empty."""
    name, _, _, _, _, home, shell = [*fields, *[""] * 7][:7]
    return Account(name, number(fields, 2), number(fields, 3), home, shell)


def find(passwd: bytes, name: str) -> "Account | None":
    """Return the account `name`, None if it does not exist."""
    fields = entry(passwd, name)
    return account(fields) if fields else None


def twin(passwd: bytes, name: str) -> str:
    """Return the name of another account that differs only in its case, "" without."""
    names = (fields[0] for fields in entries(passwd))
    return next((other for other in names if other.lower() == name.lower() and other != name), "")


def needs_shadow(passwd: bytes, shadow: bytes, name: str) -> bool:
    """Tell whether an account, which may not exist yet, lacks an entry in shadow."""
    fields = entry(passwd, name)
    # Without a shadow, useradd locks the account in passwd, which no key opens without PAM.
    kept_elsewhere = bool(fields) and fields[1] != "x" and fields[1][:1] != LOCKED
    return not kept_elsewhere and not entry(shadow, name)


def refusal(name: str) -> str:
    """Return why `name` must not be a user's name, "" if it may.

    Allowed are the portable characters of POSIX.1-2017 3.437, less what the shadow tools reject.
    """
    if not name:
        return "it is empty"
    if name == "root":
        return "root must not be the login user"
    if len(name.encode("utf-8", "replace")) > MAX_NAME:
        return f"it is longer than {MAX_NAME} bytes"
    odd = next((character for character in name if not _is_portable(character)), "")
    if odd:
        return f"it contains {odd!r}; only letters, digits, '.', '_' and '-' are allowed"
    if name.startswith("-"):
        return "it starts with '-'"
    if name in (".", "..") or name.isdigit():
        return "it would be read as a path or a number"
    return ""


def login_settings(content: bytes) -> "dict[str, int]":
    """Return the settings for new accounts in login.defs(5), with the tools' defaults for the rest.

    Keys are UID_MIN, UID_MAX, PASS_MIN_DAYS, PASS_MAX_DAYS, PASS_WARN_AGE and HOME_MODE. A value
    that is not a number is ignored.
    """
    settings = dict(_DEFAULTS)
    for line in content.decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in settings:
            try:
                settings[words[0]] = int(words[1], 8 if words[0] in _OCTAL else 10)
            except ValueError:
                continue
    return settings


def free_ids(
    passwd: bytes, group: bytes, own_group: "list[str]", settings: "dict[str, int]"
) -> "tuple[int, int]":
    """Return (uid, gid) for a new account.

    That is the first number in the range of `settings` which is free as both. `own_group` holds the
    fields of an existing group of the account's name, [] without one: then its number is the gid,
    and the uid, too, if it can be. Raises GuestError.
    """
    uids = {number(fields, 2) for fields in entries(passwd)}
    gids = {number(fields, 2) for fields in entries(group)}
    first, last = settings["UID_MIN"], settings["UID_MAX"]
    if own_group:
        gid = number(own_group, 2)
        if gid < 0:
            raise GuestError(f"the group {own_group[0]} has no number in {GROUP}")
        gids.clear()
        if first <= gid <= last and gid not in uids:
            return gid, gid
    for candidate in range(first, last + 1):
        if candidate not in uids and candidate not in gids:
            return candidate, gid if own_group else candidate
    raise GuestError(f"no user id from {first} to {last} is free")


def entries(content: bytes) -> "Iterator[list[str]]":
    """Yield the fields of every line that is an entry, in order."""
    for line in _lines(content):
        if _is_entry(line):
            yield line.split(":")


def entry(content: bytes, name: str) -> "list[str]":
    """Return the fields of the entry `name`, [] without one."""
    lines = _lines(content)
    at = _place(lines, name)
    return [] if at is None else lines[at].split(":")


def with_entry(content: bytes, fields: "list[str]") -> bytes:
    """Return the content with this entry.

    It replaces the first one of the same name. Without one it is appended, before NIS's lines.
    """
    lines = _lines(content)
    new = ":".join(fields)
    at = _place(lines, fields[0])
    if at is None:
        at = next((at for at, line in enumerate(lines) if line[:1] in ("+", "-")), len(lines))
        lines.insert(at, new)
    else:
        lines[at] = new
    return _content(lines)


def without_entry(content: bytes, name: str) -> bytes:
    """Return the content without any entry of that name."""
    lines = _lines(content)
    kept = [line for line in lines if not _is_entry_of(line, name)]
    return _content(kept) if len(kept) != len(lines) else content


def with_member(content: bytes, group: str, member: str) -> bytes:
    """Return the content of group or gshadow with `member` in that group, if the group exists."""
    fields = entry(content, group)
    members = _members(fields)
    if len(fields) < 4 or member in members:
        return content
    return with_entry(content, [*fields[:3], ",".join([*members, member]), *fields[4:]])


def without_member(content: bytes, member: str) -> bytes:
    """Return the content of group or gshadow with `member` in no group."""
    for fields in list(entries(content)):
        members = _members(fields)
        if member in members:
            kept = [name for name in members if name != member]
            content = with_entry(content, [*fields[:3], ",".join(kept), *fields[4:]])
    return content


def groups_of(content: bytes, member: str) -> "list[str]":
    """Return the names of the groups that list `member`, in order."""
    return [fields[0] for fields in entries(content) if member in _members(fields)]


def number(fields: "list[str]", at: int) -> int:
    """Return the numeric field `at`, -1 if it is missing or not a number."""
    text = fields[at] if at < len(fields) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1


def _is_portable(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "._-")


def _members(fields: "list[str]") -> "list[str]":
    return [name for name in fields[3].split(",") if name] if len(fields) >= 4 else []


def _is_entry(line: str) -> bool:
    return ":" in line and line[0] not in "#+-"


def _is_entry_of(line: str, name: str) -> bool:
    return _is_entry(line) and line.partition(":")[0] == name


def _place(lines: "list[str]", name: str) -> "int | None":
    """Return which line is the entry `name`, None if none is."""
    for at, line in enumerate(lines):
        if line.startswith(name) and _is_entry_of(line, name):  # most lines need one look
            return at
    return None


def _lines(content: bytes) -> "list[str]":
    """Return the lines without their ends; the last line may lack one."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _content(lines: "list[str]") -> bytes:
    return "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
