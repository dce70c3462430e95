"""What the platform wants this machine to become, from the instance metadata and the CD.

The metadata comes first; the provisioning CD fills the gaps, and alone knows a password.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64

from agent.errors import GuestError
from agent.formats import hosts
from agent.protocol.imds import InstanceMetadata
from agent.protocol.ovf import Environment
from agent.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.machine.media import Medium
    from agent.protocol.keys import PublicKey

_ORDINARY = ("", "None")  # values of `ppsType` of a VM that was not preprovisioned


@record
class Profile:
    """The merged wishes; the defaults stand for silence.

    `host_names` are candidates in order. `disable_password` forbids SSH logins with a password.
    `encoded_custom_data` is base64 text, or the bytes themselves; `encoded_user_data` is base64
    text. `preprovisioned` tells that the VM was made for a pool. `repr()` shows no secret.
    """

    host_names: "tuple[str, ...]" = ()
    user_name: str = ""
    public_keys: "tuple[PublicKey, ...]" = ()
    password: str = ""
    disable_password: "bool | None" = None
    encoded_custom_data: "str | bytes" = b""
    encoded_user_data: str = ""
    preprovisioned: bool = False

    def __repr__(self) -> str:
        return f"Profile({self.host_names!r}, {self.user_name!r})"

    def early(self) -> "tuple[object, ...]":
        """Return what the steps look at that may be carried out before the metadata are known."""
        return (
            hosts.choose(self.host_names),
            self.user_name,
            tuple((_on_one_line(key.key_data), key.path) for key in self.public_keys),
            self.password,
            self.disable_password,
        )

    def keys(self) -> "set[str]":
        """Return the SSH keys, wherever they belong."""
        return {_on_one_line(key.key_data) for key in self.public_keys}

    def custom_data(self) -> bytes:
        """Return the customData, b"" without. Raises GuestError if it is not valid base64."""
        data = self.encoded_custom_data
        return data if isinstance(data, bytes) else _decoded("customData", data)

    def user_data(self) -> bytes:
        """Return the userData, b"" without. Raises GuestError if it is not valid base64."""
        return _decoded("userData", self.encoded_user_data)


def merge(metadata: "InstanceMetadata | None", medium: "Medium | None") -> Profile:
    """Return the wishes of both sources; either may be missing."""
    given = metadata or InstanceMetadata()
    environment = medium.environment if medium else Environment()
    disable_password = given.disable_password
    if disable_password is None:
        disable_password = environment.disable_password
    return Profile(
        host_names=(given.computer_name, environment.host_name, given.name),
        user_name=given.admin_username or environment.user_name,
        public_keys=given.public_keys or environment.public_keys,
        password=environment.password,
        disable_password=disable_password,
        encoded_custom_data=environment.custom_data or (medium.custom_data if medium else b""),
        encoded_user_data=given.user_data,
        preprovisioned=bool(environment.preprovisioned) or given.pps_type not in _ORDINARY,
    )


def suffices(medium: "Medium | None") -> bool:
    """Tell whether the CD alone says enough for somebody to log in."""
    given = medium.environment if medium else Environment()
    return bool(given.user_name and (given.password or given.public_keys))


def needs_medium(metadata: "InstanceMetadata | None") -> bool:
    """Tell whether something can come from the CD only: a password, customData, or everything."""
    if metadata is None or not metadata.admin_username:
        return True
    return bool(metadata.has_custom_data) or metadata.disable_password is False


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _decoded(what: str, text: str) -> bytes:
    try:
        return a2b_base64("".join(text.split()).encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        raise GuestError(f"the {what} is not valid base64") from None
