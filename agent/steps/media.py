"""Read the provisioning CD, and merge what it says with the instance metadata."""

from agent import profile
from agent.change import Step
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.log import Log
    from agent.machine.media import Medium


def changes(boot: "Boot") -> "Changes":
    """Set `boot.medium`, unless it is known, and `boot.profile`; there is nothing to change.

    Raises GuestError if there is no CD, and something must come from it.
    """
    boot.medium = boot.medium or find(boot, boot.log)
    boot.profile = profile.merge(boot.metadata, boot.medium)
    if boot.medium is None and profile.needs_medium(boot.metadata):
        raise GuestError(
            "no provisioning CD could be read, and some of the profile comes only from there"
        )
    yield from ()


def find(boot: "Boot", log: "Log", *, waits: bool = True) -> "Medium | None":
    """Return the CD, None without; one that something must come from may be waited for."""
    from agent.machine import media, mount

    def by_kernel(device: str) -> "dict[str, bytes]":
        if not boot.mounts:
            raise GuestError("it is not mounted, because this changes nothing")
        place = f"{boot.config.state_directory}/media"
        return mount.read_files(boot.root, device, place, (media.DOCUMENT, media.CUSTOM_DATA))

    waits = waits and boot.mounts and profile.needs_medium(boot.metadata)
    wait = boot.deadline.within(boot.config.media_wait if waits else 0.0)
    return media.find(boot.root, boot.config.devices, wait, by_kernel, log)


MEDIA = Step("media", "Read the provisioning CD.", changes)
