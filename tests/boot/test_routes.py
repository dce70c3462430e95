"""Every way into an image that azready-image(7) names, on a real root, which then boots.

The commands are run as they stand there.
"""

import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from docutils import core, nodes

from agent import cli, init
from agent.root import Root
from build import manual, toolchain
from scripts.tasks import package, released
from tests.boot import lab
from tests.conftest import BUILT, TOP

PAGE = core.publish_doctree(
    (TOP / manual.FOLDER / "azready-image.7.rst").read_text(), settings_overrides=manual.STRICT
)
# way -> the command line for it
WAYS = {
    next(item.findall(nodes.term)).astext(): next(item.findall(nodes.literal_block)).astext()
    for section in PAGE.findall(nodes.section)
    if section["names"] == ["ways"]
    for item in section.findall(nodes.definition_list_item)
}
FOREIGN = "The file alone, for another architecture"
INIT_SYSTEMS = {
    ".apk": "openrc",
    ".apk, without apk": "openrc",
    "Buildroot, as BR2_ROOTFS_POST_BUILD_SCRIPT": "busybox",
}
# Where the file is not at its usual place.
PACKAGED = (
    ".deb",
    ".rpm",
    "Arch",
    ".apk",
    ".apk, without apk",
    'Yocto, in do_install, with INSANE_SKIP:${PN} += "already-stripped"',
)
NEEDED = {".rpm": "rpm", "Arch": "pacman"}
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making and booting roots takes root"),
    pytest.mark.skipif(
        toolchain.native() != "x86_64", reason="the commands of the page are for x86_64"
    ),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the files and the packages."""
    folder = tmp_path_factory.mktemp("packages")
    BUILT["frozen"].command()
    package.make("x86_64", BUILT["frozen"].file, folder)
    for file in toolchain.output("x86_64"), toolchain.output("aarch64"):
        (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture
def root(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    place = tmp_path / "root"
    place.mkdir()
    yield place
    shutil.rmtree(place, ignore_errors=True)


def run(way: str, root: pathlib.Path, packages: pathlib.Path) -> None:
    """Run a command of the page."""
    command = WAYS[way]
    if way in NEEDED and not shutil.which(NEEDED[way]):
        pytest.skip(f"{NEEDED[way]} is not installed (scripts/test installs it where it can)")
    if way.startswith("Packer"):
        shutil.copy(BUILT["frozen"].file, root / "tmp")
        words = ["chroot", str(root), "/bin/sh", "-ec", command]
    else:
        scratch = root.parent / "scratch"
        scratch.mkdir()
        command = command.replace("/tmp", str(scratch)).replace("/mnt/image", str(root))
        words = ["/bin/sh", "-ec", command]
    if way == ".apk":  # no image of Alpine is here, which would have its database
        apk = released.apk()
        subprocess.run([apk, "--root", root, "--initdb", "--no-network", "add"], check=True)
    if way == "Arch":
        (root / "var/lib/pacman").mkdir(parents=True)
        (root / "bin/sh").unlink()
        (root / "bin/sh").symlink_to(
            "bash"
        )  # nfpm writes functions of bash, which is what sh is on Arch
    tools = released.apk().parent if way == ".apk" else ""
    folders = {
        "SRCDIR": packages,
        "WORKDIR": packages,
        "BUILDROOT": root,
        "TARGET_DIR": root,
        "D": root,
    }
    environment = {
        "PATH": f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{tools}",
        **{name: str(path) for name, path in folders.items()},
    }
    result = subprocess.run(words, cwd=packages, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("way", [way for way in WAYS if way != FOREIGN])
def test_an_image_that_was_made_so_boots(
    way: str, root: pathlib.Path, packages: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    name = INIT_SYSTEMS.get(way, "systemd")
    lab.root_with(name, root)
    run(way, root, packages)
    assert len(init.enabled(Root(str(root)))) >= 1
    lab.prepare(root, name, package.EXECUTABLE if way in PACKAGED else cli.DEFAULT_EXECUTABLE)
    assert lab.boot(root, lab.plain(tmp_path)) == ["Ready"]
    assert init.enabled(Root(str(root))) == []
    if way in PACKAGED:
        assert lab.boot(root, lab.plain(tmp_path)) == []


@pytest.mark.parametrize("name", ["sysvinit", "openrc", "runit"])
def test_the_script_of_a_deb_runs_under_other_init_systems(
    name: str, root: pathlib.Path, packages: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    lab.root_with(name, root)
    run(".deb", root, packages)
    lab.prepare(root, name, package.EXECUTABLE, "sysvinit")
    assert lab.boot(root, lab.plain(tmp_path)) == ["Ready"]
    assert init.enabled(Root(str(root))) == []
    assert lab.boot(root, lab.plain(tmp_path)) == []


def test_an_image_for_another_processor_gets_its_file(
    root: pathlib.Path, packages: pathlib.Path
) -> None:
    built = BUILT["aarch64-pyinstaller"]
    built.command()
    (root / "usr/lib/systemd").mkdir(parents=True)
    (root / "usr/lib/systemd/systemd").write_bytes(built.file.read_bytes()[:64])
    run(FOREIGN, root, packages)
    assert (root / "usr/local/bin/azready").read_bytes() == built.file.read_bytes()
    assert len(init.enabled(Root(str(root)))) == 1
