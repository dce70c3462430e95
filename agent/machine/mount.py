"""Reads files of a medium through the kernel, if only the kernel understands its file system.

The image's mount does it: read-only, and only for the types that provisioning media have.
"""

from agent import programs
from agent.errors import GuestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

_TYPES = "udf,iso9660"


def read_files(
    root: "Root", device: str, place: str, names: "tuple[str, ...]"
) -> "dict[str, bytes]":
    """Return the files `names` in the top folder of the medium in `device`.

    It is mounted at the folder `place` for that, which is created and removed. Raises GuestError.
    """
    mount, umount = programs.usable(root, "mount"), programs.usable(root, "umount")
    if not mount or not umount:
        raise GuestError("the image has no mount and umount")
    try:
        root.make_folders(place, 0o700)
        result = programs.run([mount, "-t", _TYPES, "-o", "ro,nosuid,nodev,noexec", device, place])
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
