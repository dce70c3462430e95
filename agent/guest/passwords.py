"""The password of the user: through chpasswd where the image has it, else hashed here and put into /etc/shadow.

The hash is SHA-512 crypt as specified by Ulrich Drepper ("Unix crypt using SHA-256 and SHA-512", 2008), which every C library of Linux understands. The
password itself goes to a program only through its standard input, and into no message.
"""

import posix

from agent.errors import GuestError
from agent.guest import accounts, programs, sshkeys

try:
    from _sha2 import sha512
except ModuleNotFoundError:  # Python 3.11, when run from source
    from _sha512 import sha512

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log
    from agent.root import Root

MAX_LENGTH = 512  # bytes; the platform takes at most 72 characters
ROUNDS = 5000  # the default of the specification

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# In which order the bytes of the digest are written, three at a time (step 22 of the specification): each group is the one before, turned and moved by 21.
_ORDER = [((k * 22) % 63, (k * 22 + 21) % 63, (k * 22 + 42) % 63) for k in range(21)]


def set_password(root: "Root", name: str, password: str, log: "Log") -> None:
    """Give the account its password. Raises GuestError."""
    secret = password.encode("utf-8", "surrogatepass")
    if len(secret) > MAX_LENGTH or set(password) & set("\0\r\n"):
        raise GuestError(
            f"the password of {name} is refused: more than {MAX_LENGTH} bytes, or a line break in it"
        )
    if chpasswd := programs.usable(root, "chpasswd"):
        before = accounts.password_field(root, name)
        try:
            result = programs.run([chpasswd], stdin=f"{name}:".encode() + secret + b"\n")
        except GuestError as error:
            log.warning(f"{error}; /etc/shadow is edited instead")
        else:
            if result.code == 0 and accounts.password_field(root, name) != before:
                return
            # What it says stays out of the log: nobody knows what it repeats.
            log.warning(
                f"{chpasswd} ended with {result.code} and changed nothing; /etc/shadow is edited instead"
            )
    accounts.set_password_field(root, name, sha512_crypt(secret, _salt()))


def is_set(root: "Root", name: str) -> bool:
    """Whether the account has a password that lets someone in. Raises GuestError."""
    return accounts.password_field(root, name)[:1] not in ("", "!", "*")


def check_login(root: "Root", name: str, *, has_keys: bool, password: str) -> None:
    """Raise GuestError if the user will have no way in: nothing came from the platform, and the image brought nothing."""
    if (
        not has_keys
        and not password
        and not is_set(root, name)
        and not sshkeys.any_authorized(root, name)
    ):
        raise GuestError(
            f"neither an SSH key nor a password came for the user {name}: nobody could log in (a password comes on the provisioning CD only)"
        )


def lock(root: "Root", name: str, value: str) -> None:
    """Lock a password that was never set; `value` is "!" or "*". A password that the image brought stays, and an account without a shadow entry has
    nothing to lock. Raises GuestError.
    """
    if not is_set(root, name) and accounts.has_shadow_entry(root, name):
        accounts.set_password_field(root, name, value)


def sha512_crypt(secret: bytes, salt: str, rounds: int = ROUNDS) -> str:
    """The hash of `secret` in the form of crypt(5), `$6$SALT$...`; `salt` has at most 16 characters of ./0-9A-Za-z."""
    key = salt[:16].encode()
    other = sha512(secret + key + secret).digest()
    start = sha512(secret + key + _cycled(other, len(secret)))
    length = len(secret)
    while length:
        start.update(other if length & 1 else secret)
        length >>= 1
    digest = start.digest()
    p = _cycled(sha512(secret * len(secret)).digest(), len(secret))
    s = _cycled(sha512(key * (16 + digest[0])).digest(), len(key))
    # What surrounds the digest in a round repeats after 2 * 3 * 7 of them; joined beforehand, a round is one call.
    around = []
    for index in range(42):
        inner = (s if index % 3 else b"") + (p if index % 7 else b"")
        around.append((p + inner, b"") if index & 1 else (b"", inner + p))
    for index in range(rounds):
        before, behind = around[index % 42]
        digest = sha512(before + digest + behind).digest()
    text = "".join(
        _base64(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER
    ) + _base64(digest[63], 2)
    prefix = "" if rounds == ROUNDS else f"rounds={rounds}$"
    return f"$6${prefix}{key.decode()}${text}"


def _salt() -> str:
    return "".join(_ALPHABET[byte & 63] for byte in posix.urandom(16))


def _cycled(data: bytes, length: int) -> bytes:
    return (data * (length // len(data) + 1))[:length]


def _base64(value: int, digits: int) -> str:
    return "".join(_ALPHABET[value >> 6 * digit & 63] for digit in range(digits))
