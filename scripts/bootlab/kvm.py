"""Tells whether KVM boots kernels here, by booting one.

A /dev/kvm says little: where virtualisation is nested, kernels may end in their first instructions,
without a word.
"""

import os
import pathlib
import platform
import subprocess
import tempfile

from build.cache import key, made
from scripts.bootlab import disks
from scripts.bootlab.kernels import Kernel

_DEVICE = "/dev/kvm"
_SAYS = "kvm-boots-kernels"
_INIT = f"#!/bin/busybox sh\n/bin/busybox echo {_SAYS}\n/bin/busybox poweroff -f\n"
_LIMIT = 15  # seconds; a kernel that runs needs one


def accelerator(kernel: Kernel) -> str:
    """Return QEMU's accelerator for machines of this kernel: "kvm" or "tcg".

    AZREADY_ACCEL decides if it is set. Otherwise the answer is kept until this machine's next boot.
    Raises BuildError, LabError.
    """
    if chosen := os.environ.get("AZREADY_ACCEL"):
        return chosen
    if kernel.machine != platform.machine() or not os.access(_DEVICE, os.R_OK | os.W_OK):
        return "tcg"

    def probe(place: pathlib.Path) -> None:
        (place / "accelerator").write_text("kvm" if _boots(kernel) else "tcg")

    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    inputs = key(boot, kernel.version)
    place = made("kvm", inputs, probe, hint=f"boots a kernel, {_LIMIT} s at most")
    return (place / "accelerator").read_text()


def _boots(kernel: Kernel) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        top = pathlib.Path(scratch, "top")
        disks.lay_out(kernel, top, _INIT)
        disks.pack(top, pathlib.Path(scratch, "initrd"))
        console = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}[kernel.machine]
        board = {"x86_64": "q35", "aarch64": "virt"}[kernel.machine]
        words = [
            f"qemu-system-{kernel.machine}", "-machine", board, "-accel", "kvm", "-cpu", "host",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-m", "256", "-kernel", str(kernel.image), "-initrd", f"{scratch}/initrd",
            "-append", f"console={console} panic=-1 quiet",
        ]  # fmt: skip
        try:
            result = subprocess.run(
                words, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LIMIT
            )
        except subprocess.TimeoutExpired:
            return False
        return _SAYS.encode() in result.stdout
