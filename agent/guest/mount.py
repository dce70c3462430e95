"""Reading files of a medium through the kernel, for file systems that only the kernel understands: by the image's mount, read-only, and unmounted."""

from agent.errors import GuestError
from agent.guest import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root


def read_files(
    root: "Root", device: str, place: str, names: "tuple[str, ...]"
) -> "dict[str, bytes]":
    """The files `names` in the top folder of the file system on `device`, mounted for a moment at `place`. Raises GuestError if that is not possible."""
    mount, umount = programs.usable(root, "mount"), programs.usable(root, "umount")
    if not mount or not umount:
        raise GuestError("the image has no mount to try")
    try:
        root.make_folders(place, 0o700)
        result = programs.run([mount, "-o", "ro,nosuid,nodev,noexec", device, place])
        if result.code:
            raise GuestError(f"{mount} {result}")
        try:
            contents = {name: root.read(f"{place}/{name}") for name in names}
        finally:
            result = programs.run([umount, place])
        if result.code:
            raise GuestError(f"{umount} {result}")
    finally:
        root.remove_folder(place)
    return {name: content for name, content in contents.items() if content is not None}
