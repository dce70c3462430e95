"""Reading files of a medium through the kernel, for file systems that only the kernel understands: by the image's mount, read-only, and unmounted."""

import posix

from agent.errors import GuestError, reason
from agent.guest import files, programs


def read_files(root: str, device: str, place: str, names: "tuple[str, ...]") -> "dict[str, bytes]":
    """The files `names` in the top folder of the file system on `device`, mounted for a moment at `place`. Raises GuestError if that is not possible."""
    mount, umount = programs.usable(root, "mount"), programs.usable(root, "umount")
    if not mount or not umount:
        raise GuestError("the image has no mount to try")
    try:
        files.make_directories("/", place, 0o700)
        result = programs.run([mount, "-o", "ro,nosuid,nodev,noexec", device, place])
        if result.code:
            raise GuestError(f"{mount} {result}")
        try:
            contents = {name: files.read(place, f"/{name}") for name in names}
        finally:
            result = programs.run([umount, place])
        if result.code:
            raise GuestError(f"{umount} {result}")
    finally:
        try:
            posix.rmdir(place)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise GuestError(f"cannot remove {place}: {reason(error)}") from None
    return {name: content for name, content in contents.items() if content is not None}
