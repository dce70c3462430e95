"""Instance metadata: the JSON of `GET /metadata/instance` to one typed value.

Strategy: decode once, then read the few leaves we use through `_get`. It knows the two ways in
which IMDS says "nothing" (absent, empty), and it rejects a wrong type by the key's name, in the
words that the other agents use (agent/README.md). Nothing in it is trusted: each user of a value
validates it for its purpose. The fields are those of
https://learn.microsoft.com/en-us/azure/virtual-machines/instance-metadata-service
"""

from _json import make_scanner

from agent.errors import ProtocolError
from agent.protocol import keys, xml
from agent.protocol.keys import PublicKey
from agent.record import record

MAX_SIZE = 1024 * 1024  # bytes
# Objects, arrays and keys go into hash tables and recursions of the scanner before this module sees
# any, so the bytes that each of them needs are counted: brackets, and colons, which texts may hold,
# too. The metadata of a VM with 64 data disks has about 1500 of them. The key of the hash is the
# same in each static file (build/README.md), so this must hold even if all keys had one hash.
MAX_PARTS = 4096

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


class MetadataError(ProtocolError):
    """The instance metadata cannot be used; the text is the reason in a failure report."""


@record
class InstanceMetadata:
    """The part of the instance metadata that provisioning uses; the defaults are IMDS's silence.

    `computer_name` is the host name that the user asked for, `name` the name of the resource.
    `user_data` is base64 text. `pps_type` tells whether the VM was preprovisioned.
    """

    computer_name: str = ""
    name: str = ""
    vm_id: str = ""
    admin_username: str = ""
    disable_password: "bool | None" = None
    public_keys: "tuple[PublicKey, ...]" = ()
    user_data: str = ""
    has_custom_data: "bool | None" = None
    pps_type: str = ""


def parse(document: bytes) -> InstanceMetadata:
    """Read an instance metadata document (JSON, UTF-8, BOM allowed). Raises MetadataError."""
    if len(document) > MAX_SIZE:
        raise MetadataError(
            f"error parsing IMDS metadata: {len(document)} bytes; the limit is {MAX_SIZE}"
        )
    parts = sum(map(document.count, (b"{", b"[", b":")))
    if parts > MAX_PARTS:
        raise MetadataError(
            f"error parsing IMDS metadata: {parts} keys and brackets; the limit is {MAX_PARTS}"
        )
    try:
        root = _decode(document.removeprefix(b"\xef\xbb\xbf").decode("utf-8").strip(" \t\r\n"))
    except (ValueError, RecursionError) as error:
        if xml.is_page(document):
            raise MetadataError(f"error parsing IMDS metadata: {xml.HINT}") from None
        raise MetadataError(
            f"error parsing IMDS metadata: {type(error).__name__}: {str(error)[:200]}"
        ) from None
    if not isinstance(root, dict):
        raise MetadataError(f"error parsing IMDS metadata: expected an object, not {_kind(root)}")
    return _metadata(root)


def _metadata(root: "dict[str, object]") -> InstanceMetadata:
    compute = _object(root, "compute", "")
    profile = _object(compute, "osProfile", "compute.")
    extended = _object(_object(root, "extended", ""), "compute", "extended.")
    return InstanceMetadata(
        computer_name=_text(profile, "computerName", "compute.osProfile."),
        name=_text(compute, "name", "compute."),
        vm_id=_text(compute, "vmId", "compute."),
        admin_username=_text(profile, "adminUsername", "compute.osProfile."),
        disable_password=_truth(profile, "disablePasswordAuthentication", "compute.osProfile."),
        public_keys=_keys(compute),
        user_data=_text(compute, "userData", "compute."),
        has_custom_data=_truth(extended, "hasCustomData", "extended.compute."),
        pps_type=_text(extended, "ppsType", "extended.compute."),
    )


class _Rules:
    """The scanner's settings: plain values, and no NaN or Infinity, which are not JSON."""

    strict = True
    object_hook = object_pairs_hook = parse_constant = None
    parse_float = float
    parse_int = int


def _decode(text: str) -> object:
    """Do json.loads() without the package `json`, which compiles regular expressions at import.

    That would cost a boot 12 ms.
    """
    end = 0
    try:
        value, end = make_scanner(_Rules)(text, 0)  # type: ignore[arg-type]  # any such object
        if end == len(text):
            return value
    except (StopIteration, TypeError):  # no value where one belongs; a constant without a rule
        pass
    from json import JSONDecodeError

    raise JSONDecodeError("not a JSON document", text, end)


def _get(
    parent: "dict[str, object]", key: str, prefix: str, kinds: "type | tuple[type, ...]"
) -> object:
    """Return the value of `key`, None if IMDS says nothing: absent, null or an empty string.

    Raises MetadataError if it is not of `kinds`.
    """
    value = parent.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, kinds):
        raise MetadataError(f"invalid IMDS metadata for key={prefix}{key}: {_kind(value)}")
    return value


def _object(parent: "dict[str, object]", key: str, prefix: str) -> "dict[str, object]":
    value = _get(parent, key, prefix, dict)
    return value if isinstance(value, dict) else {}


def _text(parent: "dict[str, object]", key: str, prefix: str) -> str:
    value = _get(parent, key, prefix, str)
    return value if isinstance(value, str) else ""


def _truth(parent: "dict[str, object]", key: str, prefix: str) -> "bool | None":
    """Read a boolean; IMDS writes some of them as the strings "true" and "false"."""
    value = _get(parent, key, prefix, (bool, str))
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in ("", "true", "false"):
            raise MetadataError(f"invalid IMDS metadata for key={prefix}{key}: {value[:40]!r}")
        return word == "true" if word else None
    return bool(value) if value is not None else None


def _keys(compute: "dict[str, object]") -> "tuple[PublicKey, ...]":
    value = _get(compute, "publicKeys", "compute.", list)
    prefix = "compute.publicKeys."
    found = []
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, dict):
            raise MetadataError(
                f"invalid IMDS metadata for key=compute.publicKeys: an entry is {_kind(entry)}"
            )
        found.append(PublicKey(_text(entry, "keyData", prefix), _text(entry, "path", prefix)))
    if excess := keys.excess(tuple(found)):
        raise MetadataError(f"invalid IMDS metadata for key=compute.publicKeys: {excess}")
    return tuple(found)


def _kind(value: object) -> str:
    """Return JSON's name for the type of `value`; the value itself may be private."""
    return _KINDS.get(type(value), "null")
