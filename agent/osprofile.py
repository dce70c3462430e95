"""What the platform wants this machine to become: the OS profile, from the instance metadata first and from the provisioning CD for the rest."""

from binascii import Error as Base64Error
from binascii import a2b_base64

from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.media import Medium
    from agent.protocol.imds import InstanceMetadata, PublicKey


class OSProfile:
    """The merged wishes; text is "" and everything else None or empty where nobody says anything.

    `host_names` candidates in order; `user_name`; `public_keys` list of PublicKey; `password` (secret); `disable_password` bool or None; `custom_data`
    and `user_data`, see their functions; `preprovisioned`, whether the VM was made for a pool.
    """

    __slots__ = (
        "_custom_data",
        "_user_data",
        "disable_password",
        "host_names",
        "password",
        "preprovisioned",
        "public_keys",
        "user_name",
    )

    def __init__(self, metadata: "InstanceMetadata | None", medium: "Medium | None") -> None:
        environment = medium.environment if medium else None
        self.host_names = [
            *((metadata.computer_name,) if metadata else ()),
            *((environment.host_name,) if environment else ()),
            *((metadata.name,) if metadata else ()),
        ]
        self.user_name = (metadata.admin_username if metadata else "") or (
            environment.user_name if environment else ""
        )
        self.public_keys: "list[PublicKey]" = (metadata.public_keys if metadata else []) or (
            environment.public_keys if environment else []
        )
        self.password = environment.password if environment else ""
        self.disable_password = metadata.disable_password if metadata else None
        if self.disable_password is None and environment:
            self.disable_password = environment.disable_password
        self.preprovisioned = bool(environment and environment.preprovisioned) or bool(
            metadata and metadata.pps_type not in ("", "None")
        )
        self._custom_data: "str | bytes" = (environment.custom_data if environment else "") or (
            medium.custom_data if medium else b""
        )
        self._user_data = metadata.user_data if metadata else ""

    def custom_data(self) -> bytes:
        """The customData, b"" if there is none. Raises GuestError if it is not the base64 that it should be."""
        return (
            self._custom_data
            if isinstance(self._custom_data, bytes)
            else _decoded("customData", self._custom_data)
        )

    def user_data(self) -> bytes:
        """The userData, b"" if there is none. Raises GuestError if it is not the base64 that it should be."""
        return _decoded("userData", self._user_data)


def needs_medium(metadata: "InstanceMetadata | None") -> bool:
    """Whether something must come from the CD: a password, customData, or everything."""
    if metadata is None or not metadata.admin_username:
        return True
    return bool(metadata.has_custom_data) or metadata.disable_password is False


def _decoded(what: str, text: str) -> bytes:
    try:
        return a2b_base64("".join(text.split()).encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        raise GuestError(f"the {what} is not base64") from None
