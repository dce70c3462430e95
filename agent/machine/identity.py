"""Whether this machine is on Azure, and which VM it is: from DMI in sysfs (agent/README.md).

The chassis asset tag is the platform's own mark; vendor strings also match plain Hyper-V. The VM id
is the DMI product UUID. On Gen1 VMs its first three fields are byte-swapped compared with IMDS, and
its case depends on the kernel: ids are compared in lower case and in both byte orders.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

AZURE_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"

_DMI = "/sys/class/dmi/id/"
_GROUPS = (8, 4, 4, 4, 12)


def asset_tag(root: "Root") -> str:
    """Return the chassis asset tag, "" without; an image's own sysfs comes first."""
    return _read(root, "chassis_asset_tag")


def on_azure(root: "Root") -> "tuple[bool, str]":
    """Return (whether this is a VM on Azure, the chassis asset tag in words)."""
    tag = asset_tag(root)
    return (
        tag == AZURE_ASSET_TAG,
        f"the chassis asset tag is {tag!r}" if tag else "there is no chassis asset tag",
    )


def vm_id(root: "Root") -> str:
    """Return the DMI product UUID in lower case, "" if it cannot be read or is not a UUID."""
    return canonical(_read(root, "product_uuid"))


def canonical(text: str) -> str:
    """Return `text` in lower case if it is a UUID in its usual form, else ""."""
    text = text.strip().lower()
    groups = text.split("-")
    digits = all(set(group) <= set("0123456789abcdef") for group in groups)
    return text if digits and tuple(map(len, groups)) == _GROUPS else ""


def swapped(uuid: str) -> str:
    """Return a canonical UUID with its first three fields byte-swapped (SMBIOS 2.6, 7.2.1)."""
    *fields, fourth, fifth = uuid.split("-")
    turned = [
        "".join(field[at : at + 2] for at in range(len(field) - 2, -2, -2)) for field in fields
    ]
    return "-".join([*turned, fourth, fifth])


def _read(root: "Root", name: str) -> str:
    text = root.attribute(_DMI + name)
    if text is None and not root.is_live:
        from agent.root import Root

        with Root() as live:
            text = live.attribute(_DMI + name)
    return text or ""
