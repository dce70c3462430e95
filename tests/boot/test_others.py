"""The init systems besides systemd, as PID 1 of a container: each runs what `azready install` put there once, and not again."""

import json
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from build.cache import BuildError
from scripts.tasks import guests, nspawn
from tests.boot.test_systemd import simulated
from tests.conftest import FROZEN

# Switches the machine off once a first boot is over, or could not be: it is started last, or beside the others.
END = """\
#!/bin/sh
at=0
while [ $at -lt 60 ] && ! ls /var/lib/azready/*.provisioned >/dev/null 2>&1; do at=$((at + 1)); sleep .25; done
sleep 1
sync
exec busybox poweroff -f
"""
# What starts it: (path, text, link, target).
SHELL = "#!/bin/sh\nexec /sbin/end\n"
PLACES = {
    "sysvinit": ("etc/init.d/end", SHELL, "etc/rc2.d/S99end", "../init.d/end"),
    "openrc": (
        "etc/init.d/end",
        "#!/sbin/openrc-run\ndepend() {\n    after azready\n}\nstart() {\n    /sbin/end\n}\n",
        "etc/runlevels/default/end",
        "/etc/init.d/end",
    ),
    "busybox": ("etc/init.d/S98end", SHELL, "etc/init.d/S99end", "S98end"),
    "runit": ("etc/sv/end/run", SHELL, "etc/runit/runsvdir/default/end", "/etc/sv/end"),
    "s6": ("etc/sv/end/run", SHELL, "etc/s6/service/end", "/etc/sv/end"),
    "finit": ("etc/finit.d/available/end.conf", "task [2345] name:end /sbin/end -- End\n", "etc/finit.d/end.conf", "/etc/finit.d/available/end.conf"),
}


@pytest.fixture(scope="module", params=PLACES)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, pathlib.Path, str]]:
    """(init system, root, what install said)"""
    name = str(request.param)
    try:
        nspawn.need()
        guest = guests.debian("" if name == "busybox" else name)
    except BuildError as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp(name)
    root.chmod(0o755)
    guests.copy_of(guest, root)
    shutil.rmtree(root / "dev")
    (root / "dev").mkdir()
    if name == "busybox":
        make_busybox_the_init(root)
    if name == "s6":
        make_s6_the_init(root)
    said = subprocess.run([FROZEN, "install", "--root", root], check=True, capture_output=True, text=True).stderr
    script = root / said.splitlines()[2].rpartition("] ")[2].lstrip("/")
    # The kernels of test machines have no DMI; and what is said goes into a file.
    (root / "sbin/said").write_text("#!/bin/sh\nexec /usr/local/bin/azready provision --force >>/var/lib/said 2>&1\n")
    (root / "sbin/said").chmod(0o755)
    script.write_text(script.read_text().replace("/usr/local/bin/azready provision", "/sbin/said"))
    (root / "sbin/end").write_text(END)
    (root / "sbin/end").chmod(0o755)
    path, text, link, target = PLACES[name]
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(text)
    (root / path).chmod(0o755)
    (root / link).symlink_to(target)
    order = root / "etc/init.d/.depend.start"
    if name == "sysvinit":
        order.write_text(order.read_text().replace("\n", " end\n", 1) + "end: azready\n")
    yield name, root, said
    shutil.rmtree(root, ignore_errors=True)


def make_busybox_the_init(root: pathlib.Path) -> None:
    """As Buildroot does it: an inittab that runs rcS, which runs every script that is named like one, in order."""
    (root / "sbin/init").symlink_to("/bin/busybox")
    (root / "etc/inittab").write_text("::sysinit:/etc/init.d/rcS\n")
    starter = root / "etc/init.d/rcS"
    starter.write_text('#!/bin/sh\nfor script in /etc/init.d/S??*; do [ ! -f "$script" ] || "$script" start; done\n')
    starter.chmod(0o755)


def make_s6_the_init(root: pathlib.Path) -> None:
    """s6 alone, without s6-rc, which no package here brings: the supervisor is PID 1, and what is in its folder is started."""
    (root / "etc/s6/service").mkdir(parents=True)
    starter = root / "etc/s6/init"
    starter.write_text("#!/bin/sh\nexec s6-svscan /etc/s6/service\n")
    starter.chmod(0o755)
    (root / "sbin/init").symlink_to("/etc/s6/init")


def test_it_runs_once(image: tuple[str, pathlib.Path, str], tmp_path: pathlib.Path) -> None:
    name, root, installed = image
    assert f"init system: {name} (" in installed
    (tmp_path / "scenario.toml").write_text(f"description = {json.dumps(f'a first boot under {name}')}\n")
    assert simulated(root, tmp_path / "scenario.toml") == ["Ready"]
    said = (root / "var/lib/said").read_text()
    assert "disabled the unit: removed /etc/" in said
    assert (root / "etc/hostname").read_text() == "web-1\n"
    assert "azureuser:" in (root / "etc/passwd").read_text()
    assert simulated(root, tmp_path / "scenario.toml") == []
    assert (root / "var/lib/said").read_text() == said
