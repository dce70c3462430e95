"""Kernels of the distribution: fetched and unpacked by mmdebstrap, cached, never installed."""

import dataclasses
import pathlib
import shutil
import subprocess

from build.cache import key, made, run
from scripts.tasks import guests

_PACKAGES = {"x86_64": "linux-image-cloud-amd64", "aarch64": "linux-image-cloud-arm64"}
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
DISK = ("virtio_pci", "virtio_blk", "ext4")
NETWORK = ("virtio_net",)
DRIVE = ("virtio_scsi", "sr_mod", "cdrom")  # without them: an image that has no driver for the CD


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel for a machine, its modules (the folder lib/modules/VERSION) and a static busybox."""

    machine: str
    version: str
    image: pathlib.Path
    config: pathlib.Path
    modules: pathlib.Path
    busybox: pathlib.Path

    def loading(self, *wanted: str) -> list[pathlib.Path]:
        """Return the files of modules and of what they need, in the order of insmod.

        What is built in has none.
        """
        files: dict[pathlib.Path, None] = {}
        for module in wanted:
            words = ["modprobe", "--dirname", str(self.modules.parents[2]), "--set-version"]
            said = subprocess.run(
                [*words, self.version, "--show-depends", module], capture_output=True, text=True
            ).stdout
            for line in said.splitlines():
                if line.startswith("insmod "):
                    files[pathlib.Path(line.split()[1])] = None
        return list(files)


def kernel(machine: str = "x86_64") -> Kernel:
    """Return the distribution's kernel for virtual machines. Raises BuildError."""
    suite = guests.suite()

    def make(place: pathlib.Path) -> None:
        packages = f"{_PACKAGES[machine]},busybox-static"
        guests.extract(packages, DEBIAN[machine], place / "root", place / "log")
        found = place / "root"
        version = next((found / "lib/modules").iterdir()).name
        (place / "modules/lib/modules").mkdir(parents=True)
        shutil.move(found / "lib/modules" / version, place / "modules/lib/modules" / version)
        for name in ("vmlinuz", "config"):
            shutil.move(found / "boot" / f"{name}-{version}", place / name)
        shutil.move(found / "bin/busybox", place / "busybox")
        shutil.rmtree(found)
        run(["depmod", "--basedir", place / "modules", version], log=place / "log")

    place = made(
        f"kernel-{machine}", key(suite, _PACKAGES[machine], "config"), make, hint="about 10 seconds"
    )
    modules = next((place / "modules/lib/modules").iterdir())
    return Kernel(
        machine, modules.name, place / "vmlinuz", place / "config", modules, place / "busybox"
    )
