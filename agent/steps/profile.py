"""Make sure that something is known about this VM: a VM without a user is no use to its owner."""

from agent.change import Step
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes


def changes(boot: "Boot") -> "Changes":
    """Change nothing.

    Raises GuestError if neither the instance metadata nor a CD said anything, unless the image
    brings its own user (steps.user = false).
    """
    if boot.metadata is None and boot.medium is None and boot.config.steps["user"]:
        raise GuestError(
            "nothing is known about this VM: no instance metadata"
            f"{f' ({boot.silence})' if boot.silence else ''} and no provisioning CD; "
            "set steps.user = false if the image brings its own user"
        )
    yield from ()


PROFILE = Step(
    "profile",
    "Fail if neither the instance metadata nor the CD says anything, unless steps.user is off.",
    changes,
    fatal=True,
)
