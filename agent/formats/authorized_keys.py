"""SSH public keys: repaired, checked, and merged into an authorized_keys file.

The file is that of sshd(8), AUTHORIZED_KEYS FILE FORMAT. Keys from a portal may hold line breaks
inside their base64, and some are not SSH keys at all. A key counts if it is a type word and base64
whose fields have the lengths and the curve of that type (RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4,
OpenSSH's PROTOCOL.u2f).
"""

from binascii import Error as Base64Error
from binascii import a2b_base64

from agent.errors import GuestError
from agent.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Protocol

    class PublicKey(Protocol):
        """A key as the platform gives it, such as agent.protocol.keys.PublicKey."""

        @property
        def key_data(self) -> str:
            """The key as text."""

        @property
        def path(self) -> str:
            """The file that it belongs into, "" if the platform names none."""


# Type -> the fields after it: a number of bytes, b"..." for these very bytes, "mpint", or "any" of
# at least one byte.
_ED25519, _P256, _P384, _P521 = 32, 65, 97, 133
_FIELDS: "dict[str, tuple[int | bytes | str, ...]]" = {
    "ssh-rsa": ("mpint", "mpint"),
    "ssh-dss": ("mpint", "mpint", "mpint", "mpint"),
    "ssh-ed25519": (_ED25519,),
    "ecdsa-sha2-nistp256": (b"nistp256", _P256),
    "ecdsa-sha2-nistp384": (b"nistp384", _P384),
    "ecdsa-sha2-nistp521": (b"nistp521", _P521),
    "sk-ssh-ed25519@openssh.com": (_ED25519, "any"),
    "sk-ecdsa-sha2-nistp256@openssh.com": (b"nistp256", _P256, "any"),
}
_MAX_COMMENT = 256  # characters


class KeyRefused(GuestError):
    """The text is not an SSH public key; the message says why, without the key."""


@record
class Key:
    """One public key: its type word, its base64 text, its comment, and the options before it."""

    kind: str
    blob: str
    comment: str
    options: str = ""

    def __str__(self) -> str:
        return f"{self.options} {self.kind} {self.blob} {self.comment}".strip()


def parse(text: str) -> "list[Key]":
    """Return the keys in `text`: usually one; several stand on a line each.

    Line breaks inside a key are removed. Raises KeyRefused if any key is malformed.
    """
    stripped = text.removeprefix("\ufeff").strip()
    if stripped.startswith("-----BEGIN"):
        raise KeyRefused("it is a certificate or key in PEM format, not in OpenSSH format")
    if stripped.startswith("---- BEGIN"):
        raise KeyRefused("it is in RFC 4716 format: convert it to OpenSSH format by ssh-keygen -i")
    keys: list[str] = []
    for line in stripped.replace("\r", "\n").split("\n"):
        if line.lstrip().startswith("#") or not (keys or line.strip()):
            continue
        if not keys or _words(line)[1] in _FIELDS:
            keys.append(line)
        else:
            keys[-1] += line  # the rest of a broken key
    if not keys:
        raise KeyRefused("it is empty")
    return [_one(key) for key in keys]


def merged(content: bytes, keys: "Iterable[Key]") -> bytes:
    """Return the content of an authorized_keys file with `keys` in it.

    Missing keys are appended; every existing line stays byte for byte.
    """
    present = {(is_authority, blob) for is_authority, _, blob in _present(content)}
    new = []
    for key in keys:
        identity = (_is_authority(key.options), key.blob)
        if identity not in present:
            present.add(identity)
            new.append(f"{key}\n".encode())
    separator = b"\n" if new and content and not content.endswith(b"\n") else b""
    return content + separator + b"".join(new)


def kinds(content: bytes) -> "set[str]":
    """Return the types of the keys in an authorized_keys file, "" for any that signs certificates.

    The file lets nobody in if there are none.
    """
    return {"" if is_authority else kind for is_authority, kind, _ in _present(content)}


def sort(
    name: str, public_keys: "Sequence[PublicKey]", files: "Sequence[str]"
) -> "tuple[dict[str, list[Key]], list[str]]":
    """Return (the usable keys by the file that they go to, remarks) for the user `name`.

    A key goes to the file that the platform names if it is one of `files`, which are those that
    sshd reads, else to the first of them. The remarks tell which keys are left out, or go to
    another file than the platform says.
    """
    by_path: "dict[str, list[Key]]" = {}
    remarks = []
    for index, public_key in enumerate(public_keys, 1):
        try:
            keys = parse(public_key.key_data)
        except KeyRefused as error:
            remarks.append(f"SSH key {index} of {len(public_keys)} is left out: {error}")
            continue
        path = public_key.path if public_key.path in files else files[0]
        if public_key.path not in ("", path):
            remarks.append(
                f"SSH key {index} goes to {path}: sshd does not read {public_key.path!r} for {name}"
            )
        by_path.setdefault(path, []).extend(keys)
    return by_path, remarks


def _present(content: bytes) -> "Iterator[tuple[bool, str, str]]":
    """Yield (whether it is a certificate authority, type, base64 text) for each key of a file."""
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.lstrip().startswith("#"):
            options, kind, rest = _words(line)
            if kind in _FIELDS and rest:
                yield _is_authority(options), kind, _cut(rest)[0]


def _words(line: str) -> "tuple[str, str, str]":
    """Return (options, type word, the rest) of a line; without a known type, the first word as it.

    As sshd reads it: options may precede the type, and end at the first blank outside of quotes.
    """
    line = line.strip()
    kind, rest = _cut(line)
    if kind in _FIELDS:
        return "", kind, rest
    end = next(_unquoted(line, " \t"), len(line))
    second, after = _cut(line[end:])
    return (line[:end], second, after) if second in _FIELDS else ("", kind, rest)


def _cut(text: str) -> "tuple[str, str]":
    """Return the first word and the rest; either may be empty."""
    words = text.split(None, 1)
    return "".join(words[:1]), "".join(words[1:])


def _unquoted(text: str, stops: str) -> "Iterator[int]":
    """Yield where one of the characters `stops` is outside of double quotes."""
    quoted = escaped = False
    for at, character in enumerate(text):
        if escaped or character == "\\":
            escaped = not escaped
        elif character == '"':
            quoted = not quoted
        elif character in stops and not quoted:
            yield at


def _is_authority(options: str) -> bool:
    """Return whether the options make the key one that signs users' certificates."""
    starts = (0, *(at + 1 for at in _unquoted(options, ",")))
    name = "cert-authority"
    return any(options[start : start + len(name)].lower() == name for start in starts)


def _one(text: str) -> Key:
    options, kind, rest = _words(text)
    blob, comment = _cut(rest)
    if kind not in _FIELDS:
        raise KeyRefused(f"its type is {kind[:40]!r}; known types are {', '.join(_FIELDS)}")
    try:
        data = a2b_base64(blob.encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        raise KeyRefused(f"the text after {kind} is not base64") from None
    fields = _fields(data)
    if fields[:1] != [kind.encode()]:
        raise KeyRefused(f"it says {kind}, but the key inside is of another type")
    wanted = _FIELDS[kind]
    if len(fields) != 1 + len(wanted) or not all(map(_fits, fields[1:], wanted)):
        raise KeyRefused(f"its fields are not those of {kind}")
    shown = "".join(character for character in comment if character.isprintable())
    if not options.isprintable():
        raise KeyRefused(f"its options {options[:40]!r} hold characters that cannot be printed")
    return Key(kind, blob, shown.strip()[:_MAX_COMMENT], options)


def _fields(data: bytes) -> "list[bytes]":
    """Return the length-prefixed strings of a key blob (RFC 4251 5). Raises KeyRefused."""
    fields = []
    while data:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            raise KeyRefused("it is truncated: a length in it points past its end")
        fields.append(data[4 : 4 + length])
        data = data[4 + length :]
    return fields


def _fits(field: bytes, wanted: "int | bytes | str") -> bool:
    if isinstance(wanted, bytes):
        return field == wanted
    if isinstance(wanted, int):
        return len(field) == wanted
    return bool(field) and not (wanted == "mpint" and field[0] & 0x80)  # negative
