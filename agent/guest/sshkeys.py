"""SSH public keys: repaired, checked, and merged into the user's authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

Keys that were made in a portal may hold line breaks inside their base64, and some are no SSH keys at all. A key counts if it is a type word and base64
whose fields have the lengths and the curve that the type asks for (RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4, OpenSSH's PROTOCOL.u2f).
"""

from binascii import Error as Base64Error
from binascii import a2b_base64

from agent.errors import GuestError
from agent.guest import accounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.protocol.imds import PublicKey
    from agent.root import Root


# type -> the fields behind it: a number of bytes, b"..." for these very bytes, "mpint", or "any" of at least one byte
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
    """The text is no public key of SSH; the message says why, without the key."""


class Key:
    """One public key: `kind` (type word), `blob` (base64 text), `comment`."""

    __slots__ = ("blob", "comment", "kind")

    def __init__(self, kind: str, blob: str, comment: str) -> None:
        self.kind = kind
        self.blob = blob
        self.comment = comment

    def __str__(self) -> str:
        return f"{self.kind} {self.blob} {self.comment}".rstrip()


def parse(text: str) -> "list[Key]":
    """The keys in `text`: usually one; several stand on a line each. Line breaks inside a key are taken out. Raises KeyRefused if any is malformed."""
    stripped = text.strip()
    if not stripped:
        raise KeyRefused("it is empty")
    if stripped.startswith("-----BEGIN"):
        raise KeyRefused("it is a certificate or key in PEM, not a key in the form of OpenSSH")
    if stripped.startswith("---- BEGIN"):
        raise KeyRefused(
            "it is in the form of RFC 4716: ssh-keygen -i turns it into that of OpenSSH"
        )
    keys: list[str] = []
    for line in stripped.replace("\r", "\n").split("\n"):
        if not keys or line.split(" ")[0] in _FIELDS:
            keys.append(line)
        else:
            keys[-1] += line  # the rest of a key that was broken
    return [_one(key) for key in keys]


def _one(text: str) -> Key:
    kind, _, rest = text.strip().partition(" ")
    blob, _, comment = rest.strip().partition(" ")
    if kind not in _FIELDS:
        raise KeyRefused(f"its type is {kind[:40]!r}; known are {', '.join(_FIELDS)}")
    try:
        data = a2b_base64(blob.encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        raise KeyRefused(f"what follows {kind} is not base64") from None
    fields = _fields(data)
    if fields[:1] != [kind.encode()]:
        raise KeyRefused(f"it says {kind}, but the key inside is of another type")
    wanted = _FIELDS[kind]
    if len(fields) != 1 + len(wanted) or not all(map(_fits, fields[1:], wanted)):
        raise KeyRefused(f"its fields are not those of {kind}")
    shown = "".join(character for character in comment if character.isprintable())
    return Key(kind, blob, shown.strip()[:_MAX_COMMENT])


def _fields(data: bytes) -> "list[bytes]":
    """The length-prefixed strings of a key blob (RFC 4251 5). Raises KeyRefused."""
    fields = []
    while data:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            raise KeyRefused("it is cut short: a length in it goes beyond its end")
        fields.append(data[4 : 4 + length])
        data = data[4 + length :]
    return fields


def _fits(field: bytes, wanted: "int | bytes | str") -> bool:
    if isinstance(wanted, bytes):
        return field == wanted
    if isinstance(wanted, int):
        return len(field) == wanted
    return bool(field) and not (wanted == "mpint" and field[0] & 0x80)  # negative


def merged(content: bytes, keys: "Iterable[Key]") -> bytes:
    """The content of an authorized_keys file with `keys`: those that are not there yet are added, every line that is there stays as it is."""
    there: set[str] = set()
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.startswith("#"):
            words = line.split()
            there.update(words[at + 1] for at, word in enumerate(words[:-1]) if word in _FIELDS)
    new = []
    for key in keys:
        if key.blob not in there:
            there.add(key.blob)
            new.append(f"{key}\n".encode())
    separator = b"\n" if new and content and not content.endswith(b"\n") else b""
    return content + separator + b"".join(new)


def place_for(account: "accounts.Account", path: str) -> str:
    """Where a key goes: `path` as the platform gives it if it is inside the user's home, else the default place."""
    home = account.home.rstrip("/")
    parts = path.split("/")
    if (
        path.startswith(f"{home}/")
        and not set(parts) & {".", ".."}
        and parts[-1]
        and path.isprintable()
    ):
        return path
    return f"{home}/.ssh/authorized_keys"


def sort(
    account: "accounts.Account", public_keys: "list[PublicKey]"
) -> "tuple[dict[str, list[Key]], list[str]]":
    """(the usable keys by the file that they go to, remarks about those that are left out or go elsewhere than the platform says).

    Raises GuestError if there are keys and none is usable.
    """
    by_path: "dict[str, list[Key]]" = {}
    remarks = []
    for index, public_key in enumerate(public_keys, 1):
        try:
            keys = parse(public_key.key_data)
        except KeyRefused as error:
            remarks.append(f"SSH key {index} of {len(public_keys)} is left out: {error}")
            continue
        path = place_for(account, public_key.path)
        if public_key.path not in ("", path):
            remarks.append(
                f"SSH key {index} goes to {path}: {public_key.path!r} is no place in the home of {account.name}"
            )
        by_path.setdefault(path, []).extend(keys)
    if public_keys and not by_path:
        raise GuestError(
            f"none of the {len(public_keys)} SSH keys for {account.name} is a key that sshd could use: {remarks[0]}"
        )
    return by_path, remarks


def any_authorized(root: "Root", name: str) -> bool:
    """Whether the user has a key in the default place already. Raises GuestError."""
    account = accounts.find(root, name)
    content = (root.read(place_for(account, "")) or b"") if account else b""
    return any(line.strip() and not line.startswith(b"#") for line in content.splitlines())


def authorize(root: "Root", account: "accounts.Account", path: str, keys: "Iterable[Key]") -> bool:
    """Merge `keys` into the file `path` (inside the account's home); False if they were there. Folders get 0700, the file 0600, both the owner.

    The home belongs to somebody who may work against this: it is entered once, and no link leads out of it. Raises GuestError.
    """
    owner = (account.uid, account.gid)
    folder, _, name = path.removeprefix(account.home.rstrip("/")).rpartition("/")
    with root.below(account.home) as home:
        reached = ""
        for part in folder.split("/"):
            if part:
                reached += f"/{part}"
                home.make_folders(reached, 0o700)
                home.restrict(reached, 0o700, owner)
        inside = f"{folder}/{name}"
        before = home.read(inside)
        after = merged(before or b"", keys)
        if after != before:
            home.replace(inside, after, 0o600, owner)
            home.settle(("/", folder))
        home.restrict(inside, 0o600, owner)
    return after != before
