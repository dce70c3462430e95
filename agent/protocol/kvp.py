"""Records of a Hyper-V key-value pool, and the provisioning report that goes into one.

A record is 512 bytes of key and 2048 bytes of value, UTF-8, padded with NUL (struct kv_record of
the kernel's tools/hv/hv_kvp_daemon.c). The host reads less: 254 bytes of key and 1022 bytes of
value are safe, and a truncated character spoils the whole read (agent/README.md).
"""

from agent.errors import ProtocolError

KEY_SIZE, VALUE_SIZE = 512, 2048  # bytes
RECORD_SIZE = KEY_SIZE + VALUE_SIZE
MAX_KEY, MAX_VALUE = 254, 1022  # bytes that the host reads
REPORT_KEY = "PROVISIONING_REPORT"

_DOCUMENTATION = "https://aka.ms/linuxprovisioningerror"
_MAX_ERROR = 500  # characters: the host reads MAX_VALUE bytes, a health report 512 characters


class KvpError(ProtocolError):
    """The bytes are not a key-value pool."""


def record(key: str, value: str) -> bytes:
    """Return one record.

    Key and value are truncated where the host stops reading, between two characters. NUL, which
    would end them, becomes U+FFFD.
    """
    return _field(key, MAX_KEY, KEY_SIZE) + _field(value, MAX_VALUE, VALUE_SIZE)


def parse(pool: bytes) -> "list[tuple[str, str]]":
    """Return the (key, value) pairs of a whole pool file.

    Raises KvpError if the size is not a multiple of a record's, or a field is not UTF-8.
    """
    if len(pool) % RECORD_SIZE:
        raise KvpError(
            f"the key-value pool is {len(pool)} bytes long, not a multiple of {RECORD_SIZE}"
        )
    try:
        return [
            (_text(pool[at : at + KEY_SIZE]), _text(pool[at + KEY_SIZE : at + RECORD_SIZE]))
            for at in range(0, len(pool), RECORD_SIZE)
        ]
    except UnicodeDecodeError as error:
        raise KvpError(f"the key-value pool is not UTF-8: {error.reason}") from None


def source(agent: str, timestamp: str, vm_id: str, pps_type: str) -> "tuple[str, ...]":
    """Return the fields that say whose report it is.

    `agent` is name/version, `timestamp` is UTC in ISO 8601, `pps_type` the kind of pool that the VM
    was made for, "" for none, which the other agents write as None.
    """
    return (
        f"agent={agent}",
        f"pps_type={pps_type or 'None'}",
        f"vm_id={vm_id}",
        f"timestamp={timestamp}",
    )


def success(source: "tuple[str, ...]", more: "tuple[str, ...]" = ()) -> str:
    """Return the report of a success; `more` are further `name=value` fields."""
    return _row("result=success", *source, *more)


def error(reason: str, source: "tuple[str, ...]") -> str:
    """Return the report of a provisioning that failed; a health report's description, too.

    The reason is truncated, so that all the fields after it arrive.
    """
    rest = (*source, f"documentation_url={_DOCUMENTATION}")
    room = _MAX_ERROR - len(_row("result=error", "", *rest))
    return _row("result=error", f"reason={reason[:room]}"[:room], *rest)


def fields(report: str) -> "dict[str, str]":
    """Return the values of a report by the names of its fields."""
    found = {}
    field = ""
    for piece in report.split("|"):
        field += piece
        if field.count('"') % 2:  # a | inside of quotes
            field += "|"
            continue
        if field.startswith('"'):
            field = field[1:-1].replace('""', '"')
        name, _, value = field.partition("=")
        found[name] = value
        field = ""
    return found


def _row(*fields: str) -> str:
    """Return one row of CSV with | between the fields.

    A field that holds | or quotes is quoted (RFC 4180); line breaks become spaces.
    """
    row = []
    for field in fields:
        line = field.replace("\n", " ").replace("\r", " ")
        row.append('"' + line.replace('"', '""') + '"' if set(line) & set('|"') else line)
    return "|".join(row)


def _field(text: str, longest: int, size: int) -> bytes:
    data = text.replace("\0", "\ufffd").encode("utf-8", "replace")[:longest]
    # A cut inside a character leaves bytes that do not decode; they go.
    return data.decode("utf-8", "ignore").encode().ljust(size, b"\0")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8")
