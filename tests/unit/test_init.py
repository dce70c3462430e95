"""Init systems: which one an image has, and getting into and out of its boot, offline."""

import pathlib
import shutil
import subprocess

import pytest

from agent import init
from agent.init.others import with_azready, without_azready
from tests.conftest import words

OTHERS = init.NAMES[1:]


def sketch(root: pathlib.Path, *paths: str, target: str = "") -> str:
    for path in paths:
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    if target:
        (root / "sbin").mkdir(exist_ok=True)
        (root / "sbin/init").symlink_to(target)
    return str(root)


@pytest.mark.parametrize(
    ("paths", "target", "name"),
    [
        ((), "/lib/systemd/systemd", "systemd"),
        (("/usr/lib/systemd/systemd",), "", "systemd"),
        (("/usr/lib/systemd/systemd", "/sbin/init", "/etc/init.d/rc"), "", "sysvinit"),
        (("/sbin/init", "/sbin/openrc-run", "/etc/init.d/rc"), "", "openrc"),
        (("/sbin/openrc-run",), "/bin/busybox", "openrc"),
        (("/etc/init.d/rcS",), "/bin/busybox", "busybox"),
        (("/etc/init.d/rc", "/etc/init.d/rcS"), "/lib/runit/runit-init", "runit"),
        ((), "/usr/bin/dinit", "dinit"),
        (("/etc/finit.conf", "/sbin/init"), "", "finit"),
        (("/etc/passwd",), "", ""),
    ],
)
def test_the_init_system_is_found_out(tmp_path: pathlib.Path, paths: tuple[str, ...], target: str, name: str) -> None:
    found, why = init.detect(sketch(tmp_path, *paths, target=target))
    assert (found, bool(why)) == (name, bool(name))


@pytest.mark.parametrize("name", init.NAMES)
def test_enabling_and_disabling_leave_nothing(tmp_path: pathlib.Path, name: str) -> None:
    root, system = str(tmp_path), init.load(name)
    assert (system.place(root), init.installed(root), init.enabled(root), init.disable(root)) == ("", [], [], [])
    assert system.install(root, "/opt/azready")
    assert not system.install(root, "/opt/azready")
    assert init.installed(root) == [name]
    assert system.enable(root)
    assert not system.enable(root)
    links = init.enabled(root)
    assert links
    for link in links:
        place = tmp_path / link.removeprefix(root).lstrip("/")
        target = place.readlink()
        seen = tmp_path / str(target).lstrip("/") if target.is_absolute() else place.parent / target
        assert "/opt/azready provision" in (seen / "run" if seen.is_dir() else seen).read_text()
    assert init.disable(root) == links
    assert init.enabled(root) == []
    assert system.uninstall(root)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("name", ["openrc", "sysvinit", "runit", "busybox"])
def test_scripts_are_executable_and_their_syntax_is_right(tmp_path: pathlib.Path, name: str) -> None:
    init.load(name).install(str(tmp_path), "/opt/azready")
    script = tmp_path / init.load(name).place(str(tmp_path)).lstrip("/")
    assert script.stat().st_mode & 0o777 == 0o755
    subprocess.run(["sh", "-n", script], check=True)
    dash = shutil.which("dash")
    if dash:
        subprocess.run([dash, "-n", script], check=True)


def test_only_the_folder_of_services_that_is_there_gets_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "etc/service").mkdir(parents=True)
    init.load("runit").enable(str(tmp_path))
    assert init.enabled(str(tmp_path)) == ["/etc/service/azready"]


ORDER = """\
TARGETS = killprocs bootlogs sudo ssh single
INTERACTIVE =
single: killprocs
rc.local: rmnologin bootlogs ssh
"""


def test_azready_gets_into_the_order_of_insserv_before_sshd() -> None:
    changed = with_azready(ORDER)
    assert changed.splitlines()[0] == "TARGETS = killprocs bootlogs sudo ssh single azready"
    assert changed.endswith("rc.local: rmnologin bootlogs ssh\nssh: azready\n")
    assert with_azready(changed) == changed
    assert without_azready(changed) == ORDER
    ruled = with_azready(ORDER + "ssh: sudo\n")
    assert ruled.endswith("ssh: sudo azready\n")
    assert without_azready(ruled) == ORDER + "ssh: sudo\n"


def test_an_order_without_azready_is_not_touched() -> None:
    odd = "TARGETS = a  b\nfree:\n\nb: a"
    assert without_azready(odd) == odd


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*words("frozen"), *arguments], capture_output=True, text=True)


def test_install_says_what_was_found_and_why_and_uninstall_takes_it_out(tmp_path: pathlib.Path) -> None:
    root = sketch(tmp_path, "/sbin/openrc-run", "/bin/sh")
    shutil.copy("/bin/true", tmp_path / "bin/sh")
    assert "init system: openrc (/sbin/openrc-run is there)" in run("install", "--root", root, "--dry-run").stderr
    assert not (tmp_path / "etc").exists()
    assert run("install", "--root", root).returncode == 0
    assert (tmp_path / "etc/runlevels/default/azready").is_symlink()
    assert run("uninstall", "--root", root).returncode == 0
    assert not (tmp_path / "etc/init.d/azready").exists()


def test_another_init_system_can_be_named(tmp_path: pathlib.Path) -> None:
    assert run("unit", "--init", "dinit", "--exec", "/opt/azready").stdout.endswith(
        "command = /opt/azready provision\nrestart = false\nlogfile = /var/log/azready.log\n"
    )
    unknown = run("unit", "--init", "upstart")
    assert unknown.returncode == 2
    assert "--init 'upstart' is not known: give one of systemd, openrc" in unknown.stderr
