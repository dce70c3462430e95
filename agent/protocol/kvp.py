"""Records of a Hyper-V key-value pool, and the provisioning report that goes into one (azure-platform.md; struct kv_record of hv_kvp_daemon).

A record is 512 bytes of key and 2048 of value, UTF-8, padded with NUL. The host reads less than that: 254 bytes of key and 1022 of value are safe, and
a character that is cut spoils the whole read.
"""

from agent.errors import ProtocolError

KEY_SIZE, VALUE_SIZE = 512, 2048  # bytes
RECORD_SIZE = KEY_SIZE + VALUE_SIZE
MAX_KEY, MAX_VALUE = 254, 1022  # bytes that the host reads
REPORT_KEY = "PROVISIONING_REPORT"

_DOCUMENTATION = "https://aka.ms/linuxprovisioningerror"


class KvpError(ProtocolError):
    """The bytes are not a key-value pool."""


def record(key: str, value: str) -> bytes:
    """One record; key and value are cut where the host stops reading, between two characters. NUL, which would end them, becomes U+FFFD."""
    return _field(key, MAX_KEY, KEY_SIZE) + _field(value, MAX_VALUE, VALUE_SIZE)


def parse(pool: bytes) -> "list[tuple[str, str]]":
    """The (key, value) pairs of a whole pool file. Raises KvpError for a size that is no multiple of a record's and for what is not UTF-8."""
    if len(pool) % RECORD_SIZE:
        raise KvpError(
            f"the key-value pool has {len(pool)} bytes, which is no multiple of {RECORD_SIZE}"
        )
    try:
        return [
            (_text(pool[at : at + KEY_SIZE]), _text(pool[at + KEY_SIZE : at + RECORD_SIZE]))
            for at in range(0, len(pool), RECORD_SIZE)
        ]
    except UnicodeDecodeError as error:
        raise KvpError(f"the key-value pool is not UTF-8: {error.reason}") from None


def success(agent: str, timestamp: str, vm_id: str, more: "tuple[str, ...]" = ()) -> str:
    """The value of the record of a provisioning that worked; `agent` is name/version, `timestamp` UTC in ISO 8601, `more` further `name=value`."""
    return _row(
        "result=success", f"agent={agent}", f"timestamp={timestamp}", f"vm_id={vm_id}", *more
    )


def error(reason: str, agent: str, timestamp: str, vm_id: str) -> str:
    """The value of the record of one that failed, also the description in the health report; the reason is cut, so that all the rest arrives."""
    rest = (
        f"agent={agent}",
        f"vm_id={vm_id}",
        f"timestamp={timestamp}",
        f"documentation_url={_DOCUMENTATION}",
    )
    # The host reads MAX_VALUE bytes, a health report 512 characters: what stands behind the reason must be inside both.
    room = 500 - len(_row("result=error", "", *rest))
    return _row("result=error", f"reason={reason[:room]}"[:room], *rest)


def _row(*fields: str) -> str:
    """One row of CSV with | between fields; one that holds | or quotes is quoted (RFC 4180), line breaks become spaces."""
    row = []
    for field in fields:
        line = " ".join(field.split("\n")).replace("\r", " ")
        row.append('"' + line.replace('"', '""') + '"' if set(line) & set('|"') else line)
    return "|".join(row)


def _field(text: str, longest: int, size: int) -> bytes:
    data = text.replace("\0", "\ufffd").encode("utf-8", "replace")[:longest]
    # A cut inside a character leaves bytes that do not decode; they go.
    return data.decode("utf-8", "ignore").encode().ljust(size, b"\0")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8")
