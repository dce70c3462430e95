"""Roots that boot as containers, and what a test machine needs besides.

A boot runs azready, ends by itself, and leaves what was said.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from agent import init
from agent.root import Root
from build.cache import BuildError
from scripts.tasks import guests, nspawn
from tests.conftest import TOP

# Test machines have no DMI, hence --force; and what is said goes into a file, because journal and
# console are gone with the container.
SAID = """\
#!/bin/sh
{executable} provision --force "$@" >>/var/lib/said 2>&1
code=$?
echo $code >/run/ended
exit $code
"""
# Switches the machine off once a first boot is over, or is not to be: it is started last, or beside
# the others. A run has more to do after it has made its marker.
END = """\
#!/bin/sh
at=0
over() {
    [ -e /run/ended ] && return
    ls /var/lib/azready/*.provisioned >/dev/null 2>&1 && ! busybox pidof azready >/dev/null
}
while [ $at -lt 120 ] && ! over; do at=$((at + 1)); sleep .25; done
sleep 1
sync
exec busybox poweroff -f
"""
# What starts it: (path, text, link, target).
SHELL = "#!/bin/sh\nexec /sbin/end\n"
PLACES = {
    "systemd": (
        "etc/systemd/system/end.service",
        "[Unit]\nAfter=azready.service multi-user.target\n[Service]\nType=oneshot\nExecStart=/sbin/end\n",
        "etc/systemd/system/multi-user.target.wants/end.service",
        "../end.service",
    ),
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
    "finit": (
        "etc/finit.d/available/end.conf",
        "task [2345] name:end /sbin/end -- End\n",
        "etc/finit.d/end.conf",
        "/etc/finit.d/available/end.conf",
    ),
}
NAMES = tuple(PLACES)


def root_with(name: str, place: pathlib.Path) -> pathlib.Path:
    """A root of Debian with this init system, in an empty folder.

    The test is skipped where that cannot be made or booted.
    """
    try:
        nspawn.need()
        guest = guests.debian("" if name == "busybox" else name)
    except BuildError as error:
        pytest.skip(str(error))
    place.chmod(0o755)
    guests.copy_of(guest, place)
    if name == "systemd":
        (place / "etc/machine-id").write_bytes(b"")
    if name == "busybox":
        _make_busybox_the_init(place)
    if name == "s6":
        _make_s6_the_init(place)
    return place


def prepare(root: pathlib.Path, name: str, executable: str, kind: str = "") -> None:
    """Have the boot run azready as a test machine needs it, and end.

    `kind` is that of the script, if it is another than the init system's own.
    """
    shutil.rmtree(root / "dev")  # the container brings its own
    (root / "dev").mkdir()
    say_so(root, executable)
    _program(root / "sbin/end", END)
    if name == "systemd":
        drop_in = root / "etc/systemd/system/azready.service.d"
        drop_in.mkdir(parents=True)
        (drop_in / "lab.conf").write_text(
            "[Service]\nNotifyAccess=all\nExecStart=\nExecStart=/sbin/said\n"
        )
    else:
        script = root / init.SYSTEMS[kind or name].place(Root(str(root))).lstrip("/")
        script.write_text(script.read_text().replace(f"{executable} provision", "/sbin/said"))
    path, text, link, target = PLACES[name]
    _program(root / path, text)
    (root / link).symlink_to(target)
    order = root / "etc/init.d/.depend.start"
    if order.exists():
        order.write_text(order.read_text().replace("\n", " end\n", 1) + "end: azready\n")


def say_so(root: pathlib.Path, executable: str) -> None:
    """Put /sbin/said into a root: `executable` as a test machine needs it."""
    _program(root / "sbin/said", SAID.format(executable=executable))


def boot(root: pathlib.Path, scenario: pathlib.Path) -> list[str]:
    """Boot a root against a scenario until it is off; return the reports that were accepted."""
    return simulated(scenario, [sys.executable, "-m", "scripts.tasks.nspawn", str(root)])


def simulated(scenario: pathlib.Path, command: list[str]) -> list[str]:
    """Run a command against a scenario, in a namespace that is the simulator's.

    Returns the reports that the platform accepted.
    """
    # The console of a container goes elsewhere than the events: it has no respect for lines.
    apart = ["sh", "-c", 'exec "$@" >&2', "sh", *command]
    words = ["--netns", "--json", "--strict", "--scenario", str(scenario), "--", *apart]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    result = subprocess.run(
        [sys.executable, "-m", "scripts.simulator", *words],
        cwd=TOP,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    events = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return [event["report"] for event in events if event.get("report")]


def plain(folder: pathlib.Path, text: str = "") -> pathlib.Path:
    """A scenario in which everything works."""
    scenario = folder / "scenario.toml"
    scenario.write_text('description = "a first boot"\n' + text)
    return scenario


def _program(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _make_busybox_the_init(root: pathlib.Path) -> None:
    """As Buildroot does it: an inittab that runs rcS.

    rcS runs every script that is named like one, in order.
    """
    (root / "sbin/init").symlink_to("/bin/busybox")
    (root / "etc/inittab").write_text("::sysinit:/etc/init.d/rcS\n")
    _program(
        root / "etc/init.d/rcS",
        '#!/bin/sh\nfor script in /etc/init.d/S??*; do [ ! -f "$script" ] || "$script" start; done\n',
    )


def _make_s6_the_init(root: pathlib.Path) -> None:
    """s6 alone, without s6-rc (test_released.py).

    The supervisor is PID 1, and what is in its folder is started.
    """
    (root / "etc/s6/service").mkdir(parents=True)
    _program(root / "etc/s6/init", "#!/bin/sh\nexec s6-svscan /etc/s6/service\n")
    (root / "sbin/init").symlink_to("/etc/s6/init")
