"""Save the userData, which may be asked for again from IMDS at any time."""

from agent.change import Step
from agent.steps import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes


def changes(boot: "Boot") -> "Changes":
    """Yield the saving. Raises GuestError if the userData is not valid base64."""
    if data := boot.profile.user_data():
        yield from payload.saving(boot, "userData", f"{boot.config.state_directory}/userdata", data)


USER_DATA = Step("user_data", "Save the userData.", changes)
