"""The provisioning CD: ovf-env.xml as Azure writes it, on an ISO 9660 image with Joliet names.

Sources: ECMA-119, and the Joliet specification. Written by hand because it is two files in one
folder, and the simulator needs only Python.
"""

import base64
import struct
from xml.sax.saxutils import escape

from scripts.simulator.platform import key_path
from scripts.simulator.scenario import VM

_SECTOR = 2048  # bytes
_LABEL = "rd_rdfe_stable"
_OVF = "http://schemas.dmtf.org/ovf/environment/1"
_AZURE = "http://schemas.microsoft.com/windowsazure"
_DISABLE = "DisableSshPasswordAuthentication"
_PRIMARY, _JOLIET, _END, _PLAIN_ROOT, _JOLIET_ROOT, _TABLES, _FILES = (
    16,
    17,
    18,
    19,
    20,
    21,
    25,
)  # sectors


def image(vm: VM) -> bytes:
    """Return the content of the drive of `vm`, as a block device holds it."""
    if vm.media == "cd":
        return iso9660({"ovf-env.xml": ovf_env(vm)})
    if vm.media == "junk":
        return bytes(range(256)) * 2048
    return bytes(1 << 20)


def ovf_env(vm: VM) -> bytes:
    """Return the document with all that the platform knows about the user."""
    keys = "".join(
        "<ns1:PublicKey><ns1:Fingerprint>0</ns1:Fingerprint>"
        f"<ns1:Path>{escape(key_path(vm))}</ns1:Path>"
        f"<ns1:Value>{escape(key)}</ns1:Value></ns1:PublicKey>"
        for key in vm.public_keys
    )
    custom = base64.b64encode(vm.custom_data.encode()).decode()
    return f"""<?xml version="1.0" encoding="utf-8"?>
<ns0:Environment xmlns:ns0="{_OVF}" xmlns:ns1="{_AZURE}">
  <ns1:ProvisioningSection>
    <ns1:Version>1.0</ns1:Version>
    <ns1:LinuxProvisioningConfigurationSet>
      <ns1:ConfigurationSetType>LinuxProvisioningConfiguration</ns1:ConfigurationSetType>
      <ns1:HostName>{escape(vm.computer_name)}</ns1:HostName>
      <ns1:UserName>{escape(vm.admin_username)}</ns1:UserName>
      <ns1:UserPassword>{escape(vm.password)}</ns1:UserPassword>
      <ns1:{_DISABLE}>{vm.disable_password}</ns1:{_DISABLE}>
      <ns1:SSH><ns1:PublicKeys>{keys}</ns1:PublicKeys></ns1:SSH>
      <ns1:CustomData>{custom}</ns1:CustomData>
    </ns1:LinuxProvisioningConfigurationSet>
  </ns1:ProvisioningSection>
  <ns1:PlatformSettingsSection>
    <ns1:Version>1.0</ns1:Version>
    <ns1:PlatformSettings>
      <ns1:KmsServerHostname>kms.example</ns1:KmsServerHostname>
      <ns1:ProvisionGuestAgent>false</ns1:ProvisionGuestAgent>
      <ns1:GuestAgentPackageName/>
      <ns1:RetainWindowsPEPassInUnattend>true</ns1:RetainWindowsPEPassInUnattend>
      <ns1:PreprovisionedVm>false</ns1:PreprovisionedVm>
    </ns1:PlatformSettings>
  </ns1:PlatformSettingsSection>
</ns0:Environment>
""".replace("\n", "\r\n").encode()


def iso9660(files: dict[str, bytes]) -> bytes:
    """Return an image with `files` in its root folder."""
    extents, at = {}, _FILES
    for name, content in files.items():
        extents[name] = (at, len(content))
        at += max(1, -(-len(content) // _SECTOR))
    sectors = at + 150  # drives read ahead
    data = bytearray(sectors * _SECTOR)

    def put(sector: int, content: bytes) -> None:
        data[sector * _SECTOR : sector * _SECTOR + len(content)] = content

    for number, root, joliet in ((_PRIMARY, _PLAIN_ROOT, False), (_JOLIET, _JOLIET_ROOT, True)):
        tables = _TABLES + 2 * joliet
        put(number, _descriptor(root, tables, sectors, joliet=joliet))
        put(
            root,
            _folder(root, {_name(name, joliet=joliet): extent for name, extent in extents.items()}),
        )
        put(tables, struct.pack("<BBIHBx", 1, 0, root, 1, 0))
        put(tables + 1, struct.pack(">BBIHBx", 1, 0, root, 1, 0))
    put(_END, b"\xffCD001\x01")
    for name, (sector, _) in extents.items():
        put(sector, files[name])
    return bytes(data)


def _descriptor(root: int, tables: int, sectors: int, *, joliet: bool) -> bytes:
    def text(value: str, size: int) -> bytes:
        return (
            value.encode("utf-16-be").ljust(size, b"\0")[:size]
            if joliet
            else value.encode().ljust(size)
        )

    head = (
        struct.pack("<B5sBB", 2 if joliet else 1, b"CD001", 1, 0)
        + text("", 32)
        + text(_LABEL, 32)
        + bytes(8)
        + _both(sectors)
    )
    head += (
        (b"%/E" if joliet else b"").ljust(32, b"\0")
        + _both16(1)
        + _both16(1)
        + _both16(_SECTOR)
        + _both(10)
    )
    head += (
        struct.pack("<II", tables, 0)
        + struct.pack(">II", tables + 1, 0)
        + _record(b"\0", root, _SECTOR, folder=True)
    )
    head += (
        b"".join(text("", size) for size in (128, 128, 128, 128, 37, 37, 37))
        + (b"0" * 16 + b"\0") * 4
        + b"\x01"
    )
    return head


def _folder(root: int, files: dict[bytes, tuple[int, int]]) -> bytes:
    records = [
        _record(b"\0", root, _SECTOR, folder=True),
        _record(b"\1", root, _SECTOR, folder=True),
    ]
    return b"".join(
        records + [_record(name, sector, size) for name, (sector, size) in sorted(files.items())]
    )


def _record(name: bytes, sector: int, size: int, *, folder: bool = False) -> bytes:
    length = 33 + len(name) + (len(name) % 2 == 0)
    body = (
        struct.pack("<BB", length, 0)
        + _both(sector)
        + _both(size)
        + bytes([126, 1, 1, 0, 0, 0, 0])
        + bytes([2 * folder, 0, 0])
        + _both16(1)
    )
    return (body + bytes([len(name)]) + name).ljust(length, b"\0")


def _name(name: str, *, joliet: bool) -> bytes:
    if joliet:
        return name.encode("utf-16-be")
    base, _, extension = name.upper().replace("-", "_").rpartition(".")
    return f"{base[:8]}.{extension[:3]};1".encode()


def _both(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)
