"""An SSH public key as the platform gives it, in instance metadata and in ovf-env.xml alike."""

from agent.record import record

MAX_KEYS = 256
MAX_TEXT = 16 * 1024  # characters of one key: five times an RSA key of 16384 bits


@record
class PublicKey:
    """One SSH key, unchecked.

    `key_data` may hold line breaks and may be a PEM certificate; `path` is the file that the key
    belongs into. Either may be "".
    """

    key_data: str
    path: str


def excess(keys: "tuple[PublicKey, ...]") -> str:
    """Return which cap `keys` exceed, for a message; "" if none."""
    if len(keys) > MAX_KEYS:
        return f"{len(keys)} SSH keys; the limit is {MAX_KEYS}"
    longest = max((len(text) for key in keys for text in (key.key_data, key.path)), default=0)
    if longest > MAX_TEXT:
        return f"an SSH key of {longest} characters; the limit is {MAX_TEXT}"
    return ""
