"""Saves customData and userData in the state directory, readable by root only."""

from stat import S_IMODE

from agent.change import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.boot import Boot

_MODE = 0o600


def saving(boot: "Boot", what: str, path: str, data: bytes) -> "Iterator[Change]":
    """Yield the change that saves `data` at `path`, unless it is there, in a file for root only."""
    status = boot.root.status(path, follow=False)
    is_saved = status is not None and not S_IMODE(status.st_mode) & ~_MODE
    if not is_saved or boot.root.read(path) != data:
        owner = (0, 0) if boot.root.is_live else None
        yield Change(
            f"save {len(data)} bytes of {what} as {path}",
            lambda: boot.root.replace(path, data, _MODE, owner, like_old=False),
        )
