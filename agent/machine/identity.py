"""Whether this machine is on Azure, and which VM it is: from DMI in sysfs (agent/README.md).

The chassis asset tag is the platform's own mark; vendor strings also match plain Hyper-V. The VM id
is the DMI product UUID. On Gen1 VMs its first three fields are byte-swapped compared with IMDS, and
its case depends on the kernel: ids are compared in lower case and in both byte orders.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.root import Root

AZURE_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"

_DMI = "/sys/class/dmi/id/"
_EFI = "/sys/firmware/efi"
_GROUPS = (8, 4, 4, 4, 12)


def asset_tag(root: "Root") -> str:
    """Return the chassis asset tag, "" without; an image's own sysfs comes first."""
    return _of(root, _tag)


def on_azure(root: "Root") -> "tuple[bool, str]":
    """Return (whether this is a VM on Azure, the chassis asset tag in words)."""
    tag = asset_tag(root)
    return (
        tag == AZURE_ASSET_TAG,
        f"the chassis asset tag is {tag!r}" if tag else "there is no chassis asset tag",
    )


def vm_id(root: "Root") -> str:
    """Return the DMI product UUID as Azure shows it, "" if it cannot be read or is not a UUID.

    A VM without UEFI firmware is a Gen1 VM.
    """
    return _of(root, _uuid)


def canonical(text: str) -> str:
    """Return `text` in lower case if it is a UUID in its usual form, else ""."""
    text = text.strip().lower()
    groups = text.split("-")
    digits = all(set(group) <= set("0123456789abcdef") for group in groups)
    return text if digits and tuple(map(len, groups)) == _GROUPS else ""


def spellings(vm_id: str) -> "tuple[str, ...]":
    """Return the id in both byte orders, nothing for ""."""
    return (vm_id, swapped(vm_id)) if vm_id else ()


def swapped(uuid: str) -> str:
    """Return a canonical UUID with its first three fields byte-swapped (SMBIOS 2.6, 7.2.1)."""
    *fields, fourth, fifth = uuid.split("-")
    turned = [
        "".join(field[at : at + 2] for at in range(len(field) - 2, -2, -2)) for field in fields
    ]
    return "-".join([*turned, fourth, fifth])


def _of(root: "Root", find: "Callable[[Root], str | None]") -> str:
    """Return what `find` finds in the sysfs of the root, else in this machine's; "" without."""
    text = find(root)
    if text is None and not root.is_live:
        from agent.root import Root

        with Root() as live:
            text = find(live)
    return text or ""


def _tag(root: "Root") -> "str | None":
    return root.attribute(_DMI + "chassis_asset_tag")


def _uuid(root: "Root") -> "str | None":
    text = root.attribute(_DMI + "product_uuid")
    if text is None:
        return None
    uuid = canonical(text)
    return uuid if not uuid or root.exists(_EFI) else swapped(uuid)
