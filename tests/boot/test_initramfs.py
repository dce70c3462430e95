"""dracut and initramfs-tools build azready into a real initramfs, and what they built is run.

It runs in a chroot, with a read-only root to make ready, and a network that nobody has configured. No kernel starts here; what the kernel and
its drivers do before is not part of this.
"""

import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from agent import cli, init
from agent.root import Root
from build.cache import BuildError
from scripts.tasks import guests, nspawn
from tests.boot import lab
from tests.conftest import FROZEN
from tests.network import WHY_NOT, network

pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed"),
]

# maker -> (how an initramfs is built and unpacked in the root, where the real root is while it
# runs, how it runs the script)
MAKERS = {
    "dracut": (
        "dracut --force --no-kernel --no-hostonly /var/initramfs 6.1.0 && cd /var/unpacked && lsinitrd --unpack /var/initramfs",
        "sysroot",
        "NEWROOT=/sysroot; . /usr/lib/dracut/hooks/pre-pivot/50-azready.sh",
    ),
    "initramfs-tools": (
        "echo CONFIG_RD_GZIP=y >/boot/config-6.1.0 && mkinitramfs -o /var/initramfs 6.1.0 && unmkinitramfs /var/initramfs /var/unpacked",
        "root",
        "export rootmnt=/root; sh /scripts/local-bottom/azready",
    ),
}
# A file system of its own, because what is remounted is the file system, not the folder.
RUN = """
set -e
mount --make-rprivate /
cd "$1"
mkdir -p proc dev sys run "$2"
mount -t tmpfs tmpfs "$2"
tar -C ../.. --one-file-system --exclude=./var/unpacked -cf - . | tar -C "$2" -xf -
mount -o remount,ro "$2"
mount -t proc proc proc
mount --bind /dev dev
mount -t tmpfs tmpfs run
for time in first second; do
    chroot . /bin/sh -c "$3"
    grep -q " $PWD/$2 tmpfs ro" /proc/mounts
    cp "$2/var/lib/said" "$4/$time"
done
cp "$2/etc/hostname" "$4"
grep -c "$PWD/$2" /proc/mounts >"$4/mounts"
"""


@pytest.fixture(scope="module", params=MAKERS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, pathlib.Path]]:
    """(maker, root with the initramfs unpacked in /var/unpacked)"""
    maker = str(request.param)
    try:
        nspawn.need()
        guest = guests.debian("initramfs")
    except BuildError as error:
        pytest.skip(str(error))
    root = guests.copy_of(guest, tmp_path_factory.mktemp(maker))
    subprocess.run(
        [FROZEN, "install", "--root", root, "--init", maker], check=True, capture_output=True
    )
    lab.say_so(root, cli.DEFAULT_EXECUTABLE)
    for path in init.SYSTEMS[maker].texts:
        script = root / path.lstrip("/")
        script.write_text(
            script.read_text().replace(f"{cli.DEFAULT_EXECUTABLE} provision", "/sbin/said")
        )
    (root / "var/unpacked").mkdir()
    # dracut asks /proc what it runs in.
    command = f'mount -t proc proc "$1/proc" && exec chroot "$1" /bin/sh -ec "{MAKERS[maker][0]}"'
    made = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-ec", command, "sh", root],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    yield maker, root
    shutil.rmtree(root, ignore_errors=True)


def test_a_first_boot_in_the_initramfs_happens_once(
    built: tuple[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    maker, root = built
    _, place, run = MAKERS[maker]
    words = ["/bin/sh", "-c", RUN, "sh", str(root / "var/unpacked"), place, run, str(tmp_path)]
    with network() as net:
        platform = net.simulator()
        net.dnsmasq("--dhcp-option=121,0.0.0.0/0,10.9.0.1")
        text = net.start(words, net.guest).communicate(timeout=120)[0]
        assert platform.communicate(timeout=10)[0] == "['Ready'] []\n", text
    said = (tmp_path / "first").read_text()
    assert "] eth0 has 10.9.0." in said
    assert f"disable azready: remove {init.SYSTEMS[maker].enabled(Root(str(root)))[0]}" in said
    assert (tmp_path / "second").read_text() == said
    assert (tmp_path / "hostname").read_text() == "web-1\n"
    # Nothing of what was mounted in the real root is left.
    assert (tmp_path / "mounts").read_text() == "1\n"
