"""Keeps files on a disk whose contents are in no cache: `scripts/bench --cold`.

The disk is a loop device that reads past the page cache (O_DIRECT), with the read-ahead that
distributions have: 128 KiB. Before each run, the pages of a file are dropped. What a first boot
pays for a file is bytes rather than instructions then. Needs root.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

READ_AHEAD = 128  # KiB, the default of Linux
_SIZE = 96 << 20


@contextlib.contextmanager
def disk() -> Iterator[pathlib.Path]:
    """Mount such a disk, empty; at the end, unmount it. Raises CalledProcessError, OSError."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch, contextlib.ExitStack() as undo:
        image, place = pathlib.Path(scratch, "image"), pathlib.Path(scratch, "disk")
        image.write_bytes(bytes(_SIZE))
        place.mkdir()
        _run("mkfs.ext4", "-q", "-O", "^has_journal", str(image))
        device = _run("losetup", "--find", "--show", "--direct-io=on", str(image))
        undo.callback(_run, "losetup", "--detach", device)
        queue = pathlib.Path("/sys/block", pathlib.Path(device).name, "queue/read_ahead_kb")
        before = queue.read_text()
        queue.write_text(str(READ_AHEAD))
        undo.callback(queue.write_text, before)
        _run("mount", "-o", "noatime", device, str(place))
        undo.callback(_run, "umount", str(place))
        yield place


def put(file: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    """Copy a program to the disk; return its path there."""
    copy = place / file.name
    shutil.copy(file, copy)
    with open(copy, "rb") as opened:
        os.fsync(opened.fileno())
    return copy


def drop(file: pathlib.Path) -> None:
    """Drop a file from the page cache (posix_fadvise(2))."""
    with open(file, "rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_read(file: pathlib.Path) -> int:
    """Return how much was read from the disk of a file since it was there, by anybody.

    Field 3 of its statistics is sectors of 512 bytes (Documentation/block/stat.rst of the kernel).
    """
    number = file.stat().st_dev
    device = pathlib.Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return int((device / "stat").read_text().split()[2]) * 512


def _run(*words: str) -> str:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()
