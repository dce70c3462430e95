"""The image's memory between boots: which VMs it has been provisioned as.

One small file per VM in the state directory, named after the VM id: a clone of the disk, which has
another id, is provisioned again, and a reboot is not.
"""

from time import gmtime, strftime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root


_MARKER = ".provisioned"
# All that azready makes in the state directory, with at most one * in a name.
NAMES = ("customdata", "userdata", "media", "disabled", "*.provisioned", "*.customdata")


def is_provisioned(root: "Root", directory: str, vm_ids: "tuple[str, ...]") -> bool:
    """Tell whether there is a marker for one of the spellings of a VM's id. Raises GuestError."""
    return any(root.read(marker(directory, vm_id)) is not None for vm_id in vm_ids)


def provisioned(root: "Root", directory: str) -> "list[str]":
    """Return the ids of the VMs that there are markers for. Raises GuestError."""
    names = root.names(directory)
    return [name.removesuffix(_MARKER) for name in names if name.endswith(_MARKER)]


def marker(directory: str, vm_id: str) -> str:
    """Return the path of the marker."""
    return f"{directory}/{vm_id}{_MARKER}"


def remember(root: "Root", path: str, note: str) -> None:
    """Write a file with a timestamp and `note`, for people, and sync it. Raises GuestError."""
    root.replace(path, f"{timestamp()} {note}\n".encode())
    root.settle((path.rpartition("/")[0],))


def timestamp() -> str:
    """Return the time, UTC, in ISO 8601."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
