"""Instance metadata: the JSON of `GET /metadata/instance` to one typed value.

Strategy: decode once, then read the few leaves we use through `_get`, which knows the two ways in which IMDS says "nothing" (absent, empty) and
refuses a wrong type by the key's name, in the words that the other agents use (azure-platform.md). Nothing in it is trusted: whoever uses a value
validates it for its purpose.
"""

from _json import make_scanner

from agent.errors import ProtocolError

MAX_SIZE = 1024 * 1024  # bytes


class MetadataError(ProtocolError):
    """The instance metadata cannot be used; the text is the reason that a failure report repeats."""


class PublicKey:
    """One SSH key as IMDS gives it: `key_data` (str, may hold line breaks inside, may be a PEM certificate) and `path` (str, may be empty)."""

    __slots__ = ("key_data", "path")

    def __init__(self, key_data: str, path: str) -> None:
        self.key_data = key_data
        self.path = path


class InstanceMetadata:
    """What provisioning uses of the instance metadata. Text is "" and a truth value None where IMDS says nothing.

    `computer_name` what the user typed as the host name; `name` the resource's name; `vm_id`; `admin_username`; `disable_password` bool or None;
    `public_keys` list of PublicKey; `user_data` base64 text; `has_custom_data` bool or None; `pps_type`.
    """

    __slots__ = (
        "admin_username",
        "computer_name",
        "disable_password",
        "has_custom_data",
        "name",
        "pps_type",
        "public_keys",
        "user_data",
        "vm_id",
    )

    def __init__(self, root: "dict[str, object]") -> None:
        compute = _object(root, "compute", "")
        profile = _object(compute, "osProfile", "compute.")
        extended = _object(_object(root, "extended", ""), "compute", "extended.")
        self.computer_name = _text(profile, "computerName", "compute.osProfile.")
        self.name = _text(compute, "name", "compute.")
        self.vm_id = _text(compute, "vmId", "compute.")
        self.admin_username = _text(profile, "adminUsername", "compute.osProfile.")
        self.disable_password = _truth(
            profile, "disablePasswordAuthentication", "compute.osProfile."
        )
        self.public_keys = _keys(compute)
        self.user_data = _text(compute, "userData", "compute.")
        self.has_custom_data = _truth(extended, "hasCustomData", "extended.compute.")
        self.pps_type = _text(extended, "ppsType", "extended.compute.")


def parse(document: bytes) -> InstanceMetadata:
    """Read an instance metadata document (JSON, UTF-8, a BOM is tolerated). Raises MetadataError."""
    if len(document) > MAX_SIZE:
        raise MetadataError(
            f"error parsing IMDS metadata: {len(document)} bytes, the limit is {MAX_SIZE}"
        )
    try:
        root = _decode(document.removeprefix(b"\xef\xbb\xbf").decode("utf-8").strip(" \t\r\n"))
    except (ValueError, RecursionError) as error:
        raise MetadataError(
            f"error parsing IMDS metadata: {type(error).__name__}: {str(error)[:200]}"
        ) from None
    if not isinstance(root, dict):
        raise MetadataError(
            f"error parsing IMDS metadata: an object is expected, not {_kind(root)}"
        )
    return InstanceMetadata(root)


class _Rules:
    """What the scanner asks for: plain values, and no NaN or Infinity, which are not JSON."""

    strict = True
    object_hook = object_pairs_hook = parse_constant = None
    parse_float = float
    parse_int = int


def _decode(text: str) -> object:
    """json.loads(), without the package around its C scanner: `json` compiles regular expressions at import, which costs a boot 12 ms."""
    end = 0
    try:
        value, end = make_scanner(_Rules)(text, 0)  # type: ignore[arg-type]  # any object with these attributes
        if end == len(text):
            return value
    except (
        StopIteration,
        TypeError,
    ):  # no value where one belongs; a constant, for which there is no rule
        pass
    from json import JSONDecodeError

    raise JSONDecodeError("not a JSON document", text, end)


def _get(
    parent: "dict[str, object]", key: str, prefix: str, kinds: "type | tuple[type, ...]"
) -> object:
    """The value of `key`, or None if IMDS says nothing (absent, null, empty text); raises MetadataError if it is not of `kinds`."""
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
    """IMDS writes "true" and "false" as text in places and as real truth values in others."""
    value = _get(parent, key, prefix, (bool, str))
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in ("", "true", "false"):
            raise MetadataError(f"invalid IMDS metadata for key={prefix}{key}: {value[:40]!r}")
        return word == "true" if word else None
    return bool(value) if value is not None else None


def _keys(compute: "dict[str, object]") -> list[PublicKey]:
    value = _get(compute, "publicKeys", "compute.", list)
    keys = []
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, dict):
            raise MetadataError(
                f"invalid IMDS metadata for key=compute.publicKeys: an entry is {_kind(entry)}"
            )
        keys.append(
            PublicKey(
                _text(entry, "keyData", "compute.publicKeys."),
                _text(entry, "path", "compute.publicKeys."),
            )
        )
    return keys


def _kind(value: object) -> str:
    """What JSON calls the type of `value`; the value itself stays out of messages, it may be private."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")
