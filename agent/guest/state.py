"""What this image remembers between boots: which VMs it has been provisioned as.

One small file per VM in the state directory, named after the VM id, so that a clone of the disk (another id) is provisioned anew and a reboot is not.
"""

from time import gmtime, strftime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root


def is_provisioned(root: "Root", directory: str, vm_ids: "tuple[str, ...]") -> bool:
    """Whether a marker exists for one of the spellings of this VM's id. Raises GuestError if the state directory cannot be looked at."""
    return any(root.read(_marker(directory, vm_id)) is not None for vm_id in vm_ids)


def mark_provisioned(root: "Root", directory: str, vm_id: str, note: str) -> None:
    """Remember that the VM `vm_id` is done; `note` is a line for people. Raises GuestError."""
    root.replace(_marker(directory, vm_id), f"{timestamp()} {note}\n".encode())
    root.settle((directory,))


def mark_disabled(root: "Root", directory: str) -> str:
    """Make the file on whose absence the unit depends; returns its path. Raises GuestError."""
    path = f"{directory}/disabled"
    root.replace(path, f"{timestamp()} the links of the unit could not be removed\n".encode())
    root.settle((directory,))
    return path


def timestamp() -> str:
    """Now, UTC, in ISO 8601."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())


def _marker(directory: str, vm_id: str) -> str:
    return f"{directory}/{vm_id}.provisioned"
