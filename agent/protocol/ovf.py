"""ovf-env.xml, the document on the provisioning media: what the platform wants this VM to become.

Strategy: `xml.texts` picks the wanted leaves by name space and local name, because prefixes vary
from host to host. Values stay as they came: each user of one validates it for its purpose. Elements
and aliases are listed in agent/README.md. No message repeats a value: one of them is the password.
"""

from agent.errors import ProtocolError
from agent.protocol import keys, xml
from agent.protocol.keys import PublicKey
from agent.record import record

_OVF = "http://schemas.dmtf.org/ovf/environment/1}"
_AZURE = "http://schemas.microsoft.com/windowsazure}"
_ROOT = f"{_OVF}Environment"


def _path(*names: str) -> str:
    return "/".join([_ROOT, *(_AZURE + name for name in names)])


_SECTION = _path("ProvisioningSection")
_SET = ("ProvisioningSection", "LinuxProvisioningConfigurationSet")
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
# Whoever typed a blank at its end types it again to log in.
_PASSWORDS = tuple(path for path, name in _LEAVES.items() if name == "password")
_KEY = _path(*_SET, "SSH", "PublicKeys", "PublicKey")
_KEY_LEAVES = {f"{_KEY}/{_AZURE}Path": "path", f"{_KEY}/{_AZURE}Value": "key_data"}
_SECRETS = ("password", "custom_data")


class OvfError(ProtocolError):
    """The document cannot be used; the text starts with the reason that the other agents report."""


@record
class Environment:
    """The part of ovf-env.xml that provisioning uses; the defaults are the document's silence.

    `custom_data` is base64 text. A public key's `key_data` is "" where the document holds only a
    fingerprint. `repr()` shows neither the password nor the custom data.
    """

    host_name: str = ""
    user_name: str = ""
    password: str = ""
    disable_password: "bool | None" = None
    custom_data: str = ""
    preprovisioned: "bool | None" = None
    public_keys: "tuple[PublicKey, ...]" = ()

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in vars(self).items() if name not in _SECRETS)
        return f"Environment({', '.join(shown)})"


def parse(document: bytes) -> Environment:
    """Read ovf-env.xml (UTF-8). Raises OvfError."""
    wanted = (*_LEAVES, *_KEY_LEAVES)
    try:
        found = xml.texts(
            document, _ROOT, wanted, (_SECTION, _KEY), longest=xml.MAX_SIZE, padded=_PASSWORDS
        )
    except xml.NotWellFormed as error:
        raise OvfError(f"error parsing ovf-env.xml: it {error}") from None
    except xml.XmlError as error:
        raise OvfError(f"unexpected metadata parsing ovf-env.xml: it {error}") from None
    if not any(path == _SECTION for path, _ in found):
        raise _unexpected("it has no ProvisioningSection")
    values: dict[str, str] = {}
    entries: list[dict[str, str]] = []
    for path, text in found:
        if text is None:
            raise _unexpected("it holds an element where text belongs")
        if path == _KEY:
            entries.append({"key_data": "", "path": ""})
        elif path in _KEY_LEAVES:
            entries[-1][_KEY_LEAVES[path]] = text
        elif text:
            values.setdefault(_LEAVES[path], text)
    public_keys = tuple(PublicKey(**entry) for entry in entries)
    if excess := keys.excess(public_keys):
        raise _unexpected(f"it holds {excess}")
    return _environment(values, public_keys)


def _environment(values: "dict[str, str]", public_keys: "tuple[PublicKey, ...]") -> Environment:
    return Environment(
        host_name=values.get("host_name", ""),
        user_name=values.get("user_name", ""),
        password=values.get("password", ""),
        disable_password=_truth(values, "disable_password", "DisableSshPasswordAuthentication"),
        custom_data=values.get("custom_data", ""),
        preprovisioned=_truth(values, "preprovisioned", "PreprovisionedVm"),
        public_keys=public_keys,
    )


def _truth(values: "dict[str, str]", name: str, element: str) -> "bool | None":
    word = values.get(name, "").lower()
    if word not in ("", "true", "false", "1", "0"):  # xs:boolean
        raise _unexpected(f"{element} is neither true nor false")
    return word in ("true", "1") if word else None


def _unexpected(why: str) -> OvfError:
    return OvfError(f"unexpected metadata parsing ovf-env.xml: {why}")
