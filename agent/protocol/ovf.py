"""ovf-env.xml, the document on the provisioning CD: what the platform wants this Linux to become.

Strategy: `xml.texts` picks the wanted leaves by name space and local name, because prefixes vary from host to host. Values stay as they came: whoever
uses one validates it for its purpose. Elements and aliases as in azure-platform.md. No message repeats a value: one of them is the password.
"""

from agent.errors import ProtocolError
from agent.protocol import xml
from agent.protocol.imds import PublicKey

_OVF = "http://schemas.dmtf.org/ovf/environment/1}"
_AZURE = "http://schemas.microsoft.com/windowsazure}"
_ROOT = f"{_OVF}Environment"


def _path(*names: str) -> str:
    return "/".join([_ROOT, *(_AZURE + name for name in names)])


_SECTION = _path("ProvisioningSection")
_SET = ("ProvisioningSection", "LinuxProvisioningConfigurationSet")
_KEY = _path(*_SET, "SSH", "PublicKeys", "PublicKey")
_SETTINGS = ("PlatformSettingsSection", "PlatformSettings")
_LEAVES = {
    _path(*_SET, "HostName"): "host_name",
    _path(*_SET, "UserName"): "user_name",
    _path(*_SET, "UserPassword"): "password",
    _path(*_SET, "AdminPassword"): "password",
    _path(*_SET, "adminPassword"): "password",
    _path(*_SET, "DisableSshPasswordAuthentication"): "disable_password",
    _path(*_SET, "CustomData"): "custom_data",
    _path(*_SET, "UserData"): "custom_data",
    _path(*_SETTINGS, "PreprovisionedVm"): "preprovisioned",
}
_KEY_LEAVES = (
    _path(*_SET, "SSH", "PublicKeys", "PublicKey", "Path"),
    _path(*_SET, "SSH", "PublicKeys", "PublicKey", "Value"),
)


class OvfError(ProtocolError):
    """The document cannot be used; the text starts with the reason that the other agents report."""


class Environment:
    """What provisioning uses of ovf-env.xml. Text is "" and a truth value None where the document says nothing.

    `host_name`, `user_name`; `password`, never to be shown; `disable_password` and `preprovisioned` bool or None; `custom_data` base64 text;
    `public_keys` list of PublicKey, whose key_data is "" where the document holds only a fingerprint.
    """

    __slots__ = (
        "custom_data",
        "disable_password",
        "host_name",
        "password",
        "preprovisioned",
        "public_keys",
        "user_name",
    )

    def __init__(self, values: "dict[str, str]", public_keys: "list[PublicKey]") -> None:
        self.host_name = values.get("host_name", "")
        self.user_name = values.get("user_name", "")
        self.password = values.get("password", "")
        self.disable_password = _truth(
            values, "disable_password", "DisableSshPasswordAuthentication"
        )
        self.custom_data = values.get("custom_data", "")
        self.preprovisioned = _truth(values, "preprovisioned", "PreprovisionedVm")
        self.public_keys = public_keys


def parse(document: bytes) -> Environment:
    """Read ovf-env.xml (UTF-8). Raises OvfError."""
    try:
        found = xml.texts(
            document, _ROOT, (*_LEAVES, *_KEY_LEAVES), (_SECTION, _KEY), longest=xml.MAX_SIZE
        )
    except xml.NotWellFormed as error:
        raise OvfError(f"error parsing ovf-env.xml: it {error}") from None
    except xml.XmlError as error:
        raise OvfError(f"unexpected metadata parsing ovf-env.xml: it {error}") from None
    if not any(path == _SECTION for path, _ in found):
        raise OvfError("unexpected metadata parsing ovf-env.xml: it has no ProvisioningSection")
    values: dict[str, str] = {}
    keys: list[PublicKey] = []
    for path, text in found:
        if text is None:
            raise OvfError(
                "unexpected metadata parsing ovf-env.xml: it holds an element where text belongs"
            )
        if path == _KEY:
            keys.append(PublicKey("", ""))
        elif path == _KEY_LEAVES[0]:
            keys[-1].path = text
        elif path == _KEY_LEAVES[1]:
            keys[-1].key_data = text
        elif text and path in _LEAVES:
            values.setdefault(_LEAVES[path], text)
    return Environment(values, keys)


def _truth(values: "dict[str, str]", name: str, element: str) -> "bool | None":
    word = values.get(name, "").lower()
    if word not in ("", "true", "false", "1", "0"):  # xs:boolean
        raise OvfError(
            f"unexpected metadata parsing ovf-env.xml: {element} is neither true nor false"
        )
    return word in ("true", "1") if word else None
