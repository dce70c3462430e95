"""What this image remembers between boots: which VMs it has been provisioned as.

One small file per VM under /var/lib/azready, named after the VM id, so that a clone of the disk (another id) is provisioned anew and a reboot is not.
"""

from time import gmtime, strftime

from agent.guest import files

DIRECTORY = "/var/lib/azready"


def is_provisioned(root: str, vm_ids: "tuple[str, ...]") -> bool:
    """Whether a marker exists for one of the spellings of this VM's id. Raises GuestError if the state folder cannot be looked at."""
    return any(files.read(root, _marker(vm_id)) is not None for vm_id in vm_ids)


def mark_provisioned(root: str, vm_id: str, note: str) -> None:
    """Remember that the VM `vm_id` is done; `note` is a line for people. Raises GuestError."""
    files.replace(root, _marker(vm_id), f"{strftime('%Y-%m-%dT%H:%M:%SZ', gmtime())} {note}\n".encode())


def _marker(vm_id: str) -> str:
    return f"{DIRECTORY}/{vm_id}.provisioned"
