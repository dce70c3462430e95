"""Password hashes of the kind `$6$`: SHA-512 crypt (crypt(5)).

Follows the specification by Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512" (2008), which
every C library of Linux implements: https://www.akkadia.org/drepper/SHA-crypt.txt
"""

try:
    from _sha2 import sha512
except ModuleNotFoundError:  # Python 3.11, when run from source
    from _sha512 import sha512

ROUNDS = 5000  # the default of the specification
MIN_ROUNDS = 1000  # of the specification
MAX_ROUNDS = 100000  # the most that verifies() computes: a fraction of a second

_PREFIX = "$6$"
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MAX_SALT = 16  # characters
# The order in which the bytes of the digest are written, three at a time (step 22 of the
# specification): each group is the one before, rotated and moved by 21.
_ORDER = tuple(((k * 22) % 63, (k * 22 + 21) % 63, (k * 22 + 42) % 63) for k in range(21))


def sha512_crypt(secret: bytes, salt: str, rounds: int = ROUNDS) -> str:
    """Return the hash of `secret` as crypt(5) writes it: `$6$SALT$...`.

    `salt` is ASCII without "$"; 16 characters of it count. `rounds` other than the default stand in
    the hash.
    """
    key = salt[:_MAX_SALT].encode()
    prefix = "" if rounds == ROUNDS else f"rounds={rounds}$"
    return f"{_PREFIX}{prefix}{key.decode()}${_digest(secret, key, rounds)}"


def verifies(secret: bytes, hashed: str) -> bool:
    """Return whether `hashed`, the password field of a shadow entry, is a `$6$` hash of `secret`.

    Return False for every other kind of hash, and for more than MAX_ROUNDS rounds.
    """
    if not hashed.isascii() or not hashed.startswith(_PREFIX):
        return False
    options, _, digest = hashed.removeprefix(_PREFIX).rpartition("$")
    rounds, dollar, key = options.rpartition("$")
    count = _rounds(rounds) if rounds or not dollar else 0
    return MIN_ROUNDS <= count <= MAX_ROUNDS and _digest(secret, key.encode(), count) == digest


def salt(random: bytes) -> str:
    """Return the salt that 16 random bytes make."""
    return "".join(_ALPHABET[byte & 63] for byte in random[:_MAX_SALT])


def _rounds(option: str) -> int:
    """Return the rounds that the field before the salt asks for, 0 if it is malformed."""
    if not option:
        return ROUNDS
    name, _, digits = option.partition("=")
    return int(digits) if name == "rounds" and digits.isdigit() and len(digits) <= 9 else 0


def _digest(secret: bytes, key: bytes, rounds: int) -> str:
    """Return the last field of a hash."""
    other = sha512(secret + key + secret).digest()
    start = sha512(secret + key + _cycled(other, len(secret)))
    length = len(secret)
    while length:
        start.update(other if length & 1 else secret)
        length >>= 1
    digest = start.digest()
    p = _cycled(sha512(secret * len(secret)).digest(), len(secret))
    s = _cycled(sha512(key * (16 + digest[0])).digest(), len(key))
    # The text before or after the digest repeats after 2 * 3 * 7 rounds. It is joined beforehand,
    # in pairs: what follows the digest of an even round, and what precedes that of an odd one.
    inner = [(s if at % 3 else b"") + (p if at % 7 else b"") for at in range(42)]
    pairs = [(inner[at] + p, p + inner[at + 1]) for at in range(0, 42, 2)]
    for pair in range(rounds // 2):
        after, before = pairs[pair % 21]
        digest = sha512(before + sha512(digest + after).digest()).digest()
    if rounds % 2:
        digest = sha512(digest + pairs[rounds // 2 % 21][0]).digest()
    groups = (digest[a] << 16 | digest[b] << 8 | digest[c] for a, b, c in _ORDER)
    return "".join(_base64(group, 4) for group in groups) + _base64(digest[63], 2)


def _cycled(data: bytes, length: int) -> bytes:
    return (data * (length // len(data) + 1))[:length]


def _base64(value: int, digits: int) -> str:
    return "".join(_ALPHABET[value >> 6 * digit & 63] for digit in range(digits))
