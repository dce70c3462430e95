"""What azready writes for dinit and s6-rc, judged by their own programs, of the pinned releases.

Both boot as PID 1 of a container here, and on a real kernel in the boot lab (scripts/boot).
"""

import os
import pathlib
import subprocess

import pytest

from agent import cli, init
from agent.root import Root
from build.cache import BuildError
from scripts.bootlab import shapes
from scripts.tasks import guests, nspawn, released
from tests.boot import lab
from tests.conftest import FROZEN

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making and booting roots takes root")
LOCAL_FILES = {"filesystems", "late-filesystems", "local.target", "mount-filesystems"}
SV = "etc/s6/sv"
ENABLED = "etc/s6/adminsv/default/contents.d"


def install(root: pathlib.Path, name: str) -> str:
    """Install azready; return what it said."""
    words = [str(FROZEN), "install", "--root", str(root), "--init", name]
    return subprocess.run(words, check=True, capture_output=True, text=True).stderr


def inside(root: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["chroot", root, *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("there", [sorted(LOCAL_FILES), ["filesystems"]])
def test_dinit_check_accepts_the_service(there: list[str], tmp_path: pathlib.Path) -> None:
    try:
        (tmp_path / "dinit-check").write_bytes((guests.dinit() / "dinit-check").read_bytes())
    except BuildError as error:
        pytest.skip(str(error))
    (tmp_path / "dinit-check").chmod(0o755)
    shapes.write(tmp_path / "etc/dinit.d/boot", "type = internal\nwaits-for.d: boot.d\n")
    (tmp_path / "etc/dinit.d/boot.d").mkdir()
    for name in there:
        shapes.write(tmp_path / "etc/dinit.d" / name, "type = internal\n")
    install(tmp_path, "dinit")
    (tmp_path / "var/log").mkdir(parents=True)
    result = inside(tmp_path, "/dinit-check", "-s", "boot")
    said = (result.stdout + result.stderr).splitlines()
    assert "Checking service: azready..." in said
    # It finds no fault in azready but the names that this system has no service for: dinit starts
    # without them, as the boot lab shows.
    assert [line for line in said if "Service 'azready'" in line] == []
    assert {line for line in said if line.startswith("Unable")} == {
        f"Unable to load service '{name}': service description not found."
        for name in LOCAL_FILES.difference(there)
    }
    assert result.returncode == (set(there) != LOCAL_FILES)


def test_s6_rc_compile_accepts_the_service(tmp_path: pathlib.Path) -> None:
    try:
        programs = released.s6_rc() / "bin"
    except BuildError as error:
        pytest.skip(str(error))
    shapes.s6_rc_alone(tmp_path, "", "true")
    assert "to do, in the image: s6-db-reload, which compiles" in install(tmp_path, "s6-rc")
    sources = [tmp_path / SV, tmp_path / "etc/s6/adminsv"]
    words = [programs / "s6-rc-compile", tmp_path / "compiled", *sources]
    result = subprocess.run(words, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")

    def ask(*words: str) -> list[str]:
        command = [str(programs / "s6-rc-db"), "-c", str(tmp_path / "compiled"), *words]
        done = subprocess.run(command, check=True, capture_output=True)
        return done.stdout.decode().replace("\0", " ").split()

    assert ask("type", "azready") == ["oneshot"]
    assert ask("dependencies", "azready") == ["mount-filesystems", "s6rc-oneshot-runner"]
    assert "azready" in ask("contents", "default")
    assert ask("script", "azready")[:2] == [cli.DEFAULT_EXECUTABLE, "provision"]


def container(place: pathlib.Path) -> pathlib.Path:
    """A root of Debian without an init system; the test is skipped where it could not boot."""
    root = place / "root"
    root.mkdir()
    try:
        nspawn.need()
        guests.copy_of(guests.debian(), root)
        guests.dinit()
        released.s6_rc()
    except BuildError as error:
        pytest.skip(str(error))
    root.chmod(0o755)
    lab.say_so(root, cli.DEFAULT_EXECUTABLE)
    shapes.program(root / "sbin/end", lab.END)
    return root


def say_so(file: pathlib.Path) -> None:
    """Have a service run azready as a test machine needs it."""
    text = file.read_text()
    assert f"{cli.DEFAULT_EXECUTABLE} provision" in text
    file.write_text(text.replace(f"{cli.DEFAULT_EXECUTABLE} provision", "/sbin/said"))


def until_it_is_done(root: pathlib.Path, place: pathlib.Path, link: str) -> str:
    """Boot twice: a run that fails and leaves it enabled, one that succeeds. Return what was said."""
    (root / "etc/azready.toml").write_text("deadline = 3\n")
    refused = lab.plain(place, '[[goalstate]]\nstatus = 403\ntimes = "forever"\n')
    assert lab.boot(root, refused) == []
    assert "gave up reporting Ready" in (root / "var/lib/said").read_text()
    assert init.enabled(Root(str(root))) == [link]
    (root / "etc/azready.toml").unlink()
    assert lab.boot(root, lab.plain(place)) == ["Ready"]
    said = (root / "var/lib/said").read_text()
    assert f"disable azready: remove {link}" in said
    assert (root / "etc/hostname").read_text() == "web-1\n"
    assert "azureuser:" in (root / "etc/passwd").read_text()
    return said


def test_dinit_runs_it_until_it_is_done(tmp_path: pathlib.Path) -> None:
    root = container(tmp_path)
    (root / "sbin/init").write_bytes((guests.dinit() / "dinit").read_bytes())
    (root / "sbin/init").chmod(0o755)
    for name, text in {
        "boot": "type = internal\nwaits-for.d: boot.d\n",
        "filesystems": "type = internal\n",
        "end": "type = scripted\ncommand = /sbin/end\nrestart = false\nstart-timeout = 0\n",
    }.items():
        shapes.write(root / "etc/dinit.d" / name, text)
    (root / "etc/dinit.d/boot.d").mkdir()
    (root / "etc/dinit.d/boot.d/end").symlink_to("../end")
    assert "init system: dinit (" in install(root, "dinit")
    say_so(root / "etc/dinit.d/azready")
    said = until_it_is_done(root, tmp_path, "/etc/dinit.d/boot.d/azready")
    assert lab.boot(root, lab.plain(tmp_path)) == []
    assert (root / "var/lib/said").read_text() == said, "started once more"


def test_s6_rc_runs_it_until_it_is_done(tmp_path: pathlib.Path) -> None:
    root = container(tmp_path)
    shapes.s6_rc_alone(root, "", "true")
    assert "init system: s6-rc (" in install(root, "s6-rc")
    say_so(root / SV / "azready/up")
    shapes.write(root / SV / "end/type", "oneshot\n")
    shapes.write(root / SV / "end/up", "/sbin/end\n")
    shapes.write(root / ENABLED / "end", "")
    result = inside(root, "/usr/bin/s6-db-reload")
    assert result.returncode == 0, result.stderr
    said = until_it_is_done(root, tmp_path, f"/{ENABLED}/azready")
    # Not enabled any more, but compiled: it is started, and the marker ends it.
    assert lab.boot(root, lab.plain(tmp_path)) == []
    again = (root / "var/lib/said").read_text().removeprefix(said)
    assert "has been provisioned: nothing to do" in again, again
    # Compiled anew, it is not even started.
    assert inside(root, "/usr/bin/s6-db-reload").returncode == 0
    assert lab.boot(root, lab.plain(tmp_path)) == []
    assert (root / "var/lib/said").read_text() == said + again
