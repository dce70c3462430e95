"""Read the provisioning CD, and merge what it says with the instance metadata."""

from agent import profile
from agent.change import Step
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes


def changes(boot: "Boot") -> "Changes":
    """Find the CD and set `boot.medium` and `boot.profile`; there is nothing to change.

    A CD that something must come from is waited for. Raises GuestError if it does not come.
    """
    from agent.machine import media, mount

    def by_kernel(device: str) -> "dict[str, bytes]":
        if not boot.mounts:
            raise GuestError("it is not mounted, because this changes nothing")
        place = f"{boot.config.state_directory}/media"
        return mount.read_files(boot.root, device, place, (media.DOCUMENT, media.CUSTOM_DATA))

    is_needed = profile.needs_medium(boot.metadata)
    wait = boot.deadline.within(boot.config.media_wait if is_needed and boot.mounts else 0.0)
    boot.medium = media.find(boot.root, boot.config.devices, wait, by_kernel, boot.log)
    boot.profile = profile.merge(boot.metadata, boot.medium)
    if boot.medium is None and is_needed:
        raise GuestError(
            "no provisioning CD could be read, and some of the profile comes only from there"
        )
    yield from ()


MEDIA = Step("media", "Read the provisioning CD.", changes)
