"""Is this machine on Azure, and which VM is it? Read from DMI in sysfs (azure-platform.md).

The chassis asset tag is the platform's own mark; vendor strings also match plain Hyper-V. The VM id is the DMI product UUID, whose first three fields
are byte-swapped on Gen1 VMs against what IMDS says, and whose case depends on the kernel: ids are compared in lower case and in both byte orders.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

AZURE_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"

_DMI = "/sys/class/dmi/id/"
_GROUPS = (8, 4, 4, 4, 12)


def asset_tag(root: "Root") -> str:
    """The chassis asset tag, "" if there is none to read. `root` is looked under first, so that an image's own sysfs counts."""
    return _read(root, "chassis_asset_tag")


def on_azure(root: "Root") -> "tuple[bool, str]":
    """(whether this is a VM on Azure, what the chassis asset tag says, in words)."""
    tag = asset_tag(root)
    return (
        tag == AZURE_ASSET_TAG,
        f"the chassis asset tag is {tag!r}" if tag else "there is no chassis asset tag",
    )


def vm_id(root: "Root") -> str:
    """The DMI product UUID in lower case, "" if there is none, it cannot be read, or it is not a UUID."""
    return canonical(_read(root, "product_uuid"))


def canonical(text: str) -> str:
    """`text` in lower case if it is a UUID in its usual form, else ""."""
    text = text.strip().lower()
    groups = text.split("-")
    digits = all(set(group) <= set("0123456789abcdef") for group in groups)
    return text if digits and tuple(map(len, groups)) == _GROUPS else ""


def swapped(uuid: str) -> str:
    """A canonical UUID with the bytes of its first three fields in the other order (SMBIOS 2.6, 7.2.1)."""
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
