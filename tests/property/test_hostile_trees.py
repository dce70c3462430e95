"""Random hostile images through every command that changes files: the world outside stays."""

import contextlib
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import init
from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.change import Change
from agent.commands import carrying, failure, generalize, install, uninstall
from agent.errors import AzreadyError
from agent.protocol import imds
from agent.root import Root
from agent.settings import Config
from agent.steps import DISABLE, MARKER
from scripts.simulator import platform
from scripts.simulator.scenario import VM
from scripts.tasks import guests
from tests.conftest import TOP, Lines, exchange, picture

NOWHERE = http.endpoint("http://127.0.0.1:9")
MACHINE = VM(media="cd", password="p", disable_password="false", custom_data="c", user_data="dQ==")
PLACES = (
    *("etc", "etc/passwd", "etc/shadow", "etc/group", "etc/hosts", "etc/hostname", "etc/ssh"),
    *("etc/ssh/sshd_config", "etc/ssh/sshd_config.d", "etc/sudoers.d", "etc/sudoers.d/90-azready"),
    *("etc/skel", "etc/skel/.ssh", "etc/.pwd.lock", "etc/machine-id", "etc/azready.toml"),
    *("etc/systemd", "etc/systemd/system", "etc/systemd/system/multi-user.target.wants"),
    *("etc/systemd/system/azready.service", "etc/init.d", "etc/init.d/.depend.start", "etc/rc2.d"),
    *("home", "home/ann", "home/azureuser", "home/azureuser/.ssh", "home/ann/.bash_history"),
    *("home/azureuser/.ssh/authorized_keys", "usr", "usr/local/bin", "usr/local/bin/azready"),
    *("var", "var/lib", "var/lib/azready", "var/lib/azready/customdata", "var/lib/hyperv"),
    *("var/lib/hyperv/.kvp_pool_1", "var/log", "var/log/syslog", "var/log/azure", "var/mail/ann"),
    *("dev", "dev/sr0", "root", "root/.bash_history", "var/lib/cloud", "var/lib/dhcp"),
)
KINDS = ("out", "out file", "up", "circle", "fifo", "folder", "hard link", "junk", "missing")
trees = st.dictionaries(st.sampled_from(PLACES), st.sampled_from(KINDS), max_size=6)


@pytest.mark.skipif(os.geteuid() != 0, reason="making users takes root")
@settings(max_examples=500)
@given(trees, st.sampled_from(sorted(init.SYSTEMS)))
def test_nothing_outside_of_a_hostile_image_is_touched(tree: dict[str, str], system: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = pathlib.Path(folder)
        outside, image = world / "outside", world / "image"
        lay_out(outside, image, tree)
        before = picture(outside, links=False)
        work_on(image, system)
        assert picture(outside, links=False) == before
        assert sorted(path.name for path in world.iterdir()) == ["image", "outside"]
        shutil.rmtree(image)


@pytest.mark.skipif(os.geteuid() != 0, reason="files that belong to several users take root")
@pytest.mark.parametrize("what", ["", "/.ssh", "/.ssh/authorized_keys", "/.bashrc"])
def test_exchanges_during_a_first_boot_reach_nothing_outside(
    tmp_path: pathlib.Path, what: str
) -> None:
    """The user of an earlier boot works against the one that makes a clone another machine."""
    outside, image = tmp_path / "outside", tmp_path / "image"
    lay_out(outside, image, {})
    (image / "etc/skel/.bashrc").write_text("")
    root, home = Root(str(image)), image / "home/azureuser"
    for change in first_boot(root):
        change.apply()
    assert (home / ".ssh/authorized_keys").exists()
    is_file = what.endswith(("keys", "rc"))
    (image / "link").symlink_to(outside / ("file" if is_file else ""))
    before, etc = picture(outside, links=False), picture(image / "etc", links=False)
    attacker = multiprocessing.get_context("fork").Process(
        target=exchange, args=(f"{home}{what}", str(image / "link"))
    )
    attacker.start()
    end = time.monotonic() + 3
    rounds, met = 0, 0  # met: how often the link was in the place of the file
    try:
        while rounds < 50 or (time.monotonic() < end and rounds < 2000):
            with contextlib.suppress(AzreadyError):
                for change in first_boot(root):
                    change.apply()
            rounds += 1
            met += pathlib.Path(f"{home}{what}").is_symlink()
    finally:
        attacker.kill()
        attacker.join()
    assert 0 < met < rounds
    assert picture(outside, links=False) == before
    assert picture(image / "etc", links=False) == etc


def lay_out(outside: pathlib.Path, image: pathlib.Path, tree: dict[str, str]) -> None:
    for name in ("ann", ".ssh", "azready", "system"):
        (outside / name).mkdir(parents=True)
        (outside / name / "file").write_text("kept")
    (outside / "file").write_text("ann:x:1000:1000::/home/ann:/bin/sh\n")
    guests.sketch(image, MACHINE)
    (image / "home/ann").mkdir(parents=True)
    os.chown(image / "home/ann", 1000, 1000)
    with open(image / "etc/passwd", "a") as passwd:
        passwd.write("ann:x:1000:1000::/home/ann:/bin/sh\n")
    for name, kind in tree.items():
        place = image / name
        with contextlib.suppress(OSError):
            spoil(place, kind, outside)


def spoil(place: pathlib.Path, kind: str, outside: pathlib.Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if kind == "out":
        place.symlink_to(outside)
    elif kind == "out file":
        place.symlink_to(outside / "file")
    elif kind == "up":
        place.symlink_to("../" * 12 + str(outside).lstrip("/"))
    elif kind == "circle":
        place.symlink_to(place.name)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "hard link":
        os.link(outside / "file", place)
    elif kind == "junk":
        place.write_bytes(b"\xff\n:::::\n" * 3)


def work_on(image: pathlib.Path, system: str) -> None:
    """Run everything that changes files; errors of ours are fine."""
    root = Root(str(image))
    program = b"\x7fELF" + bytes(60)
    streams = (
        lambda: install.changes(root, "/usr/local/bin/azready", program, init.SYSTEMS[system]),
        lambda: first_boot(root),
        lambda: iter(generalize.changes(root, "/var/lib/azready", "ann")),
        lambda: iter(generalize.changes(root, "/var/lib/azready", "")),
        lambda: uninstall.changes(root, "/usr/local/bin/azready"),
    )
    for stream in streams:
        with contextlib.suppress(AzreadyError):
            changes: Iterator[Change] = stream()  # type: ignore[no-untyped-call]
            for change in changes:
                with contextlib.suppress(AzreadyError):
                    change.apply()


def first_boot(root: Root) -> Iterator[Change]:
    config = Config({"media.wait": 0, "fatal": (), "sshd.edit": True})
    boot = Boot(root, NOWHERE, NOWHERE, Deadline(5), config, Lines())
    boot.metadata = imds.parse(json.dumps(platform.instance(MACHINE, extended=True)).encode())
    boot.vm_id = MACHINE.vm_id
    collected: list[Change] = []

    def act(changes: Iterator[Change]) -> None:
        for change in changes:
            change.apply()

    carrying.carry_out(boot, act, collected.append)  # type: ignore[arg-type]
    failure.record(boot, "a reason")
    yield from MARKER.changes(boot)
    yield from DISABLE.changes(boot)


def test_no_path_of_a_root_is_joined_by_hand() -> None:
    """The agent opens files through Root; elsewhere `root` is never a string, nor put into one."""
    # cli.py opens / for a lost stdin, log.py its own standard error.
    allowed = {"root.py", "walk.py", "tree.py", "files.py", "staging.py", "cli.py", "log.py"}
    joined = re.compile(r"""root: str\b|f["'][^"'\n]*\{(?:self\._)?root(?:\.path)?\}/|root \+ """)
    for file in sorted((TOP / "agent").rglob("*.py")):
        text = file.read_text()
        if file.name not in allowed:
            assert not re.search(r"posix\.(open|stat|lstat|unlink|rename|mkdir)\(", text), file
            if file.name != "initramfs.py":  # shell variables, in a script
                assert not joined.search(text), file
