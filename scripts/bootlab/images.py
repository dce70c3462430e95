"""Makes the disk and the initial RAM disk of a guest, and keeps them in the cache.

A guest is a root of the distribution's packages, shaped as the author of an image would, into which
azready is put by `azready install --root`: nothing of azready's is written by hand.
"""

import inspect
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable

from build import toolchain
from build.cache import key, made
from scripts.bootlab import LabError, disks, guests, inside, kernels, kvm, shapes
from scripts.bootlab.guests import Guest
from scripts.bootlab.machine import Hardware
from scripts.tasks import guests as roots

_KEPT = 86400  # seconds without use, after which an image, which is large, is removed
_RECIPES = [
    pathlib.Path(__file__).with_name(name).read_bytes()
    for name in ("images.py", "guests.py", "shapes.py", "disks.py")
]


def hardware(guest: Guest, folder: pathlib.Path) -> Hardware:
    """Return a machine for the guest with a fresh disk in `folder`. Raises BuildError, LabError."""
    kernel = kernels.kernel(guest.machine)
    folder.mkdir(parents=True, exist_ok=True)
    base = _as_it_is(guest.tree, kernel, folder) if guest.tree else built(guest)
    return Hardware(
        machine=guest.machine,
        kernel=kernel.image,
        initrd=base / "initrd",
        disk=disks.overlay(base / "disk", folder / "disk.qcow2"),
        memory=guest.memory,
        arguments=guest.arguments,
        accelerator=kvm.accelerator(kernel),
    )


def _as_it_is(tree: str, kernel: kernels.Kernel, place: pathlib.Path) -> pathlib.Path:
    """Write disk and initial RAM disk for a root that somebody has made; return their folder."""
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        root = pathlib.Path(scratch)
        root.chmod(0o755)
        _copied(pathlib.Path(tree), kernel, root)
        disks.initrd(kernel, place / "initrd")
        disks.image(root, place / "disk")
    return place


def _copied(source: pathlib.Path, kernel: kernels.Kernel, root: pathlib.Path) -> None:
    """Copy a root, and add the modules of the kernel."""
    subprocess.run(["cp", "-a", f"{source}/.", root], check=True)
    modules = root / "usr/lib/modules"
    modules.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", kernel.modules, modules], check=True)


def built(guest: Guest) -> pathlib.Path:
    """Return a cached folder with the guest's `disk` and `initrd`. Raises BuildError, LabError."""
    file = toolchain.output(guest.machine)
    if not file.exists():
        raise LabError(f"{file} is missing: run scripts/build --arch {guest.machine}")
    kernel = kernels.kernel(guest.machine)
    source = root_of(guest)
    reporter = guest.instead.inputs if guest.instead else toolchain.sha256(file)
    recipes = [*_RECIPES, *{_recipe(part) for part in (guest.shape, guest.initrd) if part}]
    inputs = key(str(source), str(kernel.image), reporter, guest.name, *recipes)

    def make(place: pathlib.Path) -> None:
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            root = pathlib.Path(scratch)
            root.chmod(0o755)
            shaped(guest, source, kernel, root)
            if guest.initrd:
                guest.initrd(root, kernel, place / "initrd")
            else:
                disks.initrd(kernel, place / "initrd")
            disks.image(root, place / "disk")

    name = f"boot-{guest.name}"
    place = made(name, inputs, make, hint="about 10 seconds")
    os.utime(place)
    for other in toolchain.cache_folder().glob(f"{name}-{'[0-9a-f]' * 16}"):
        if other.stat().st_mtime < time.time() - _KEPT:
            shutil.rmtree(other, ignore_errors=True)
    return place


def _recipe(function: Callable[..., object]) -> bytes:
    """Return the module that makes a part of a guest: guests with faults have their own."""
    return pathlib.Path(inspect.getfile(function)).read_bytes()


def root_of(guest: Guest) -> pathlib.Path | None:
    """Return the guest's packages, unpacked, or None. Raises BuildError."""
    if not guest.root:
        return None
    foreign = guest.machine != toolchain.native()
    init = guest.root if guest.root != guests.PLAIN else ""
    return roots.debian(init, guest.packages, kernels.DEBIAN[guest.machine] if foreign else "")


def shaped(
    guest: Guest, source: pathlib.Path | None, kernel: kernels.Kernel, root: pathlib.Path
) -> None:
    """Make the guest's root in an empty folder, azready included. Raises LabError."""
    if source:
        _copied(source, kernel, root)
        (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 0\n")
        (root / "etc/hostname").write_text("image\n")
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (root / "etc/resolv.conf").unlink(missing_ok=True)
    else:
        shapes.busybox_alone(root, kernel.busybox, guest.machine)
    guest.shape(root)
    if guest.settings:
        (root / "etc/azready.toml").write_text(guest.settings)
    if guest.instead:
        guest.instead.put(root)
    else:
        install(guest, root)


def install(guest: Guest, root: pathlib.Path) -> None:
    """Put azready into a root, as the README says for images. Raises LabError."""
    native = toolchain.output()
    words = [str(native), "install", "--root", str(root), "--init", guest.init]
    words += ["--file", str(toolchain.output(guest.machine))]
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode:
        raise LabError(f"azready install exited with status {result.returncode}: {result.stderr}")
    if not os.path.lexists(f"{root}{guest.link}"):
        raise LabError(f"azready install made no {guest.link}: {result.stderr}")
    if guest.then:
        if f"in the image: {guest.then}" not in result.stderr:
            raise LabError(f"azready install did not ask for {guest.then}: {result.stderr}")
        inside(root, guest.then)
