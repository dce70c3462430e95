"""The recipes for containers' builds: run by buildah, and by ostree, on a root of Debian.

Each page says what was run. No registry is asked: the base image is made here.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

from build import emptyroot, packages
from build.cache import BuildError
from build.unshare import CLONE_NEWUTS, unshare
from scripts.simulator.scenario import VM
from scripts.simulator.server import Simulator
from scripts.tasks import guests
from tests.conftest import FROZEN, TOP, shellcheck
from tests.frozen.test_guests import asking, insert, played

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not emptyroot.possible(), reason="roots of other systems take root"
)
EXAMPLES = TOP / "dist-config/examples"
FILE = "azready-linux-x86_64"
WITH_PASSWORD = VM(media="cd", password="T0p-Secret", disable_password="false")
# As in an image of bootc.
READ_ONLY = 'mount --bind "$1/usr" "$1/usr" && mount -o remount,bind,ro "$1/usr" && '


class Builder:
    """buildah with a store of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def __call__(self, *words: object) -> str:
        store = [f"--root={self._folder}/store", f"--runroot={self._folder}/run"]
        command = ["buildah", *store, "--storage-driver=vfs", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def build(self, recipe: str, *words: str) -> pathlib.Path:
        """Build a recipe beside the file of a release; return where the root is."""
        context = self._folder / recipe
        shutil.copytree(EXAMPLES / recipe, context, dirs_exist_ok=True)
        shutil.copy(FROZEN, context / FILE)
        name = "-".join((recipe, *words)).replace("=", "-").replace("--", "").lower()
        self("bud", "--isolation=chroot", "--no-hosts", *words, f"--tag={name}", context)
        return pathlib.Path(self("mount", self("from", "--pull-never", f"localhost/{name}")))


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """A builder that has a Debian with systemd and sshd as localhost/base."""
    try:
        if not shutil.which("buildah"):
            packages.install({"apt-get": "buildah", "dnf": "buildah"})
        root = guests.debian("systemd")
    except BuildError as error:
        pytest.skip(str(error))
    made = Builder(tmp_path_factory.mktemp("buildah"))
    base = made("from", "scratch")
    made("add", "--quiet", base, root, "/")
    made("commit", "--quiet", base, "localhost/base")
    return made


def files(root: pathlib.Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_the_image_for_copy_from_holds_the_file_alone(builder: Builder) -> None:
    root = builder.build("container", "--target=azready", "--build-arg=BASE=localhost/base")
    assert files(root) == {"azready"}
    assert (root / "azready").read_bytes() == FROZEN.read_bytes()


def test_a_root_from_a_containers_build_is_installed(builder: Builder) -> None:
    root = builder.build("container", "--build-arg=BASE=localhost/base")
    assert (root / "usr/local/bin/azready").read_bytes() == FROZEN.read_bytes()
    link = root / "etc/systemd/system/multi-user.target.wants/azready.service"
    assert link.is_symlink()
    ended, reports = provision(root, "/usr/local/bin/azready")
    assert (ended.returncode, reports) == (0, ["Ready"]), ended.stderr
    assert not link.is_symlink()


def test_a_bootable_container_changes_usr_alone(builder: Builder, tmp_path: pathlib.Path) -> None:
    root = builder.build("bootc", "--build-arg=BASE=localhost/base")
    base = pathlib.Path(builder("mount", builder("from", "--pull-never", "localhost/base")))
    store = tmp_path / "store"
    ostree("init", f"--repo={store}", "--mode=archive")
    for name, tree in (("base", base), ("image", root)):
        for folder in ("dev", "run"):  # of the build, not of the image; ostree keeps no devices
            shutil.rmtree(tree / folder, ignore_errors=True)
        ostree("commit", f"--repo={store}", f"--branch={name}", f"--tree=dir={tree}")
    differ = ostree("diff", f"--repo={store}", "base", "image").splitlines()
    changed = {line.split()[-1] for line in differ}
    assert {
        "/usr/bin/azready",
        "/usr/lib/azready.toml",
        "/usr/lib/systemd/system-preset/80-azready.preset",
        "/usr/lib/systemd/system/azready.service",
        "/usr/lib/systemd/system/multi-user.target.wants/azready.service",
    } <= changed
    assert [path for path in changed if not path.startswith("/usr/")] == []


def test_a_bootable_container_provisions_itself_once(builder: Builder) -> None:
    root = builder.build("bootc", "--build-arg=BASE=localhost/base")
    ended, reports = provision(root, "/usr/bin/azready", READ_ONLY)
    assert (ended.returncode, reports) == (0, ["Ready"]), ended.stderr
    assert "create /var/lib/azready/disabled, which keeps the unit" in ended.stderr
    # The vendor's settings counted, also against the password that came.
    assert "NOPASSWD" in (root / "etc/sudoers.d/90-azready").read_text()
    assert not (root / "etc/systemd/system/multi-user.target.wants/azready.service").exists()
    unit = (root / "usr/lib/systemd/system/azready.service").read_text()
    assert "ConditionPathExists=!/var/lib/azready/disabled\n" in unit
    assert provision(root, "/usr/bin/azready", READ_ONLY)[1] == []


def ostree(*words: str) -> str:
    if not shutil.which("ostree"):
        try:
            packages.install({"apt-get": "ostree", "dnf": "ostree"})
        except BuildError as error:
            pytest.skip(str(error))
    done = subprocess.run(["ostree", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def provision(
    root: pathlib.Path, executable: str, first: str = ""
) -> tuple["subprocess.CompletedProcess[str]", list[str]]:
    """Run the first boot of an installed root; return its end, and the accepted reports."""
    insert(root, WITH_PASSWORD)
    with Simulator(played(WITH_PASSWORD)) as platform:
        words = asking(platform, executable, "provision", "--force", "--deadline", "20")
        command = f'{first}exec chroot "$@"'
        ended = subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", command, "sh", root, *words],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: unshare(CLONE_NEWUTS),
        )
        return ended, platform.reports


def test_the_script_of_mkosi_installs(tmp_path: pathlib.Path) -> None:
    root = guests.copy_of(guests.debian("systemd"), tmp_path)
    shutil.copy(FROZEN, root / "usr/local/bin/azready")
    script = EXAMPLES / "mkosi/mkosi.postinst"
    subprocess.run([script], env={"BUILDROOT": str(root)}, check=True, capture_output=True)
    assert (root / "etc/systemd/system/multi-user.target.wants/azready.service").is_symlink()
    shellcheck(script)
