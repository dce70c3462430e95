"""The provisioning CD: found among the optical devices, and read straight from the block device.

No mount(2) and no file system driver is needed: many images have none for UDF. Neither a missing
device or medium nor junk on it is an error. Devices are looked for in the sysfs of the root.
"""

import posix
from errno import ENOENT, ENOMEDIUM, ENXIO
from stat import S_ISBLK, S_ISREG
from time import sleep

from agent.errors import GuestError, ProtocolError, reason
from agent.protocol import iso9660, ovf, udf
from agent.protocol.medium import MediumError
from agent.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.azure.retry import Deadline
    from agent.log import Log
    from agent.root import Root

    Files = dict[str, bytes]

DOCUMENT, CUSTOM_DATA = "ovf-env.xml", "CustomData.bin"

_WANTED = (DOCUMENT, CUSTOM_DATA)
_OPTICAL = "5"  # SCSI peripheral device type (SPC-3, 6.4.2)
_BY_NAME = ("/dev/sr0", "/dev/cdrom", "/dev/dvd")
_BY_LABEL, _LABEL = "/dev/disk/by-label", "rd_rdfe_stable"
_PAUSE = 0.25  # seconds between two looks for a device


@record
class Medium:
    """What was on the CD: `environment` from ovf-env.xml, `custom_data` from CustomData.bin.

    `device` is its path; `custom_data` is b"" without the file.
    """

    device: str
    environment: ovf.Environment
    custom_data: bytes


def devices(root: "Root") -> "list[str]":
    """Return the paths of everything that claims to be an optical drive, each once."""
    found = [
        f"/dev/{name}"
        for name in root.names("/sys/block")
        if name.startswith("sr") or root.attribute(f"/sys/block/{name}/device/type") == _OPTICAL
    ]
    found += _BY_NAME
    found += [f"{_BY_LABEL}/{name}" for name in root.names(_BY_LABEL) if name.startswith(_LABEL)]
    unique: dict[tuple[int, int], str] = {}
    for path in found:
        status = root.status(path)
        if status is None:
            continue
        if S_ISBLK(status.st_mode) or S_ISREG(status.st_mode):
            unique.setdefault(
                (status.st_rdev, status.st_ino if S_ISREG(status.st_mode) else 0), path
            )
    return list(unique.values())


def find(
    root: "Root",
    given: "tuple[str, ...]",
    wait: "Deadline",
    by_kernel: "Callable[[str], Files]",
    log: "Log",
) -> "Medium | None":
    """Return the first provisioning CD in the devices `given`, () for all; None without one.

    The log says why there is none. `wait` is how long a device may take to appear.
    `by_kernel(device)` reads the wanted files if only the kernel can; it raises GuestError.
    """
    failed: set[str] = set()
    while True:
        candidates = list(given) or devices(root)
        for device in candidates:
            if device not in failed and (medium := _medium(root, device, by_kernel, failed, log)):
                return medium
        if wait.left() <= 0:
            break
        sleep(min(_PAUSE, wait.left()))
    log.info(
        "no provisioning CD: "
        + (f"none in {', '.join(candidates)}" if candidates else "there is no optical device")
    )
    return None


def read_files(root: "Root", path: str) -> "Files":
    """Return the wanted files on the device or image at `path`, read as UDF or ISO 9660.

    Raises MediumError, OSError.
    """
    fd = root.open_device(path)
    try:
        size = posix.lseek(fd, 0, 2)

        def read(offset: int, length: int) -> bytes:
            data = bytearray()
            while len(data) < length and (
                piece := posix.pread(fd, length - len(data), offset + len(data))
            ):
                data += piece
            return bytes(data)

        readers = (
            [udf.read_files, iso9660.read_files] if udf.is_udf(read, size) else [iso9660.read_files]
        )  # many media are both
        errors = []
        for reader in readers:
            try:
                if found := reader(read, size, _WANTED):
                    return found
            except MediumError as error:
                errors.append(error)
        if len(errors) == len(readers):
            raise errors[0]
        return {}
    finally:
        posix.close(fd)


def _medium(
    root: "Root", path: str, by_kernel: "Callable[[str], Files]", failed: "set[str]", log: "Log"
) -> "Medium | None":
    """Return the CD at `path`, None without.

    Then `path` is added to `failed` if looking again cannot help.
    """
    try:
        found = read_files(root, path)
    except OSError as error:
        if error.errno not in (ENOENT, ENOMEDIUM, ENXIO):
            failed.add(path)
            log.warning(f"cannot read {path}: {reason(error)}")
        return None
    except MediumError as error:
        log.debug(f"{path}: {error}; trying the kernel")
        try:
            found = by_kernel(path)
        except GuestError as second:
            failed.add(path)
            log.warning(f"{path} holds something that cannot be read ({error}; {second})")
            return None
    if DOCUMENT not in found:
        failed.add(path)
        log.debug(f"{path} has no {DOCUMENT}")
        return None
    try:
        medium = Medium(path, ovf.parse(found[DOCUMENT]), found.get(CUSTOM_DATA, b""))
    except ProtocolError as error:
        failed.add(path)
        log.warning(f"{path}: {error}")
        return None
    return medium
