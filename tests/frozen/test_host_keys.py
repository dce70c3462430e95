"""Host keys are made beside everything else, and nothing depends on when they are ready."""

import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from build import emptyroot
from build.unshare import CLONE_NEWUTS, unshare
from scripts.simulator import scenario
from scripts.simulator.scenario import VM
from scripts.simulator.server import Simulator
from tests.frozen.test_guests import WITH_PASSWORD, Boot, asking, boot, insert, make, played

__all__ = ["make"]
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not emptyroot.possible(), reason="roots of other systems take root"
)
KINDS = ("rsa", "ecdsa", "ed25519")
# As slow as /slow-KIND says; -y asks whether a key is usable.
KEYGEN = """#!/bin/sh
[ "$1" = -y ] && exec /usr/bin/grep -q whole "$5"
echo "$3" >>/begun
echo part >"$7"
/usr/bin/sleep .02
echo "$3 $(/usr/bin/nice)" >>/first
/usr/bin/sleep "$(/usr/bin/cat "/slow-$3")"
echo "$3 $(/usr/bin/nice)" >>/last
echo "ended" >>/begun
echo whole >"$7"
echo public >"$7.pub"
"""
# Somebody who starts sshd when told so, and does not answer.
SYSTEMD = ("env", "NOTIFY_SOCKET=/run/nobody")
Make = Callable[[str], pathlib.Path]


def guest(make: Make, **seconds: float) -> pathlib.Path:
    """A Debian whose ssh-keygen takes these seconds, and whose VM id is known from the start."""
    root = make("debian")
    keygen = root / "usr/bin/ssh-keygen"
    keygen.unlink()  # it is a hard link
    keygen.write_text(KEYGEN)
    keygen.chmod(0o755)
    for kind in KINDS:
        (root / f"slow-{kind}").write_text(f"{seconds.get(kind, 0)}\n")
    identity = root / "sys/class/dmi/id/product_uuid"
    identity.parent.mkdir(parents=True)
    identity.write_text(VM().vm_id + "\n")
    return root


def said_without_times(said: str) -> list[str]:
    """What was done, sorted; nothing of how long it took."""
    lines = (line.partition("] ")[2] for line in said.splitlines())
    return sorted(
        line for line in lines if "try " not in line and not line.startswith("provisioned: ")
    )


def keys(root: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "etc/ssh").glob("*ssh_host_*")}


ALL = {f"ssh_host_{kind}_key{end}": ("public\n" if end else "whole\n") for kind in KINDS for end in ("", ".pub")}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[str]]:
    return {}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["healthy", "imds-recovers"])
def test_results_are_the_same_in_any_order(
    name: str, seed: int, make: Make, undisturbed: dict[str, list[str]]
) -> None:
    seconds = random.Random(f"{name} {seed}").sample([0, 0.4, 0.9, 2], 3)
    root = guest(make, **dict(zip(KINDS, seconds, strict=True)))
    ended = boot(root, WITH_PASSWORD, name=name, around=SYSTEMD)
    assert (ended.code, ended.reports) == (0, ["Ready"]), ended.said
    assert keys(root) == ALL
    said = said_without_times(ended.said)
    assert {
        "generate host keys for sshd (ecdsa, ed25519)",
        "generate host keys for sshd (rsa)",
    } <= {*said}
    assert undisturbed.setdefault(name, said) == said


def test_all_kinds_are_made_side_by_side_and_only_who_needs_them_waits(
    make: Make,
) -> None:
    root = guest(make, rsa=4, ecdsa=4)  # sshd is asked with the other one
    ended = boot(root, WITH_PASSWORD, around=SYSTEMD)
    assert ended.code == 0, ended.said
    begun = (root / "begun").read_text().split()
    assert sorted(begun[:3]) == sorted(KINDS), "one after the other"
    own = os.nice(0)
    low = min(19, own + 10)
    for file, ecdsa in (("first", low), ("last", own)):
        found = (root / file).read_text().splitlines()
        assert {f"rsa {low}", f"ecdsa {ecdsa}"} <= set(found), file
        assert len(found) == len(KINDS)
    told = ("create the user", "host keys for sshd (ecdsa, ed25519)", "report Ready", "sshd (rsa)")
    places = [ended.said.index(text) for text in told]
    assert places == sorted(places)


def test_keys_are_used_while_the_platform_is_silent(make: Make) -> None:
    root = guest(make, rsa=0.3)
    insert(root, WITH_PASSWORD)
    silent = scenario.parse("x", '[[imds]]\nstatus = 503\ntimes = "forever"\n')
    with Simulator(dataclasses.replace(silent, vm=WITH_PASSWORD)) as platform:
        process = start(root, platform)
        try:
            end = time.monotonic() + 10
            while keys(root) != ALL and time.monotonic() < end:
                time.sleep(0.05)
            assert keys(root) == ALL
            assert process.poll() is None, "it still asks for the metadata"
        finally:
            process.terminate()
            said = process.communicate(timeout=30)[0]
    assert said.count("generate host keys for sshd (") == 2


def start(root: pathlib.Path, platform: Simulator) -> "subprocess.Popen[str]":
    words = asking(platform, "provision", "--force", "--deadline", "20")
    return subprocess.Popen(
        [*SYSTEMD, "chroot", str(root), "/azready", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: unshare(CLONE_NEWUTS),
    )


@pytest.mark.parametrize("at", [0.05, 0.3, 0.8])
def test_a_signal_ends_them_and_leaves_nothing_half_written(make: Make, at: float) -> None:
    root = guest(make, rsa=30, ecdsa=30, ed25519=0.5)
    insert(root, WITH_PASSWORD)
    with Simulator(played(WITH_PASSWORD)) as platform:
        process = start(root, platform)
        while not (root / "begun").exists():
            time.sleep(0.01)
        time.sleep(at)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[0]
        assert platform.reports == ["ProvisioningFailed"]
    assert "terminated by SIGTERM" in said
    # What the signal came too late for is there as a whole: nothing else is.
    found = {name: text for name, text in keys(root).items() if not name.endswith("_pending")}
    assert all(ALL[name] == text for name, text in found.items())
    left = [path for path in pathlib.Path("/proc").glob("[0-9]*/cwd") if inside(path, root)]
    assert left == []
    assert "generate host keys" not in said
    again = boot(guest_again(root), WITH_PASSWORD)
    assert again.code == 0, again.said
    assert keys(root) == ALL


def guest_again(root: pathlib.Path) -> pathlib.Path:
    for kind in KINDS:
        (root / f"slow-{kind}").write_text("0\n")
    return root


def inside(link: pathlib.Path, root: pathlib.Path) -> bool:
    try:
        return str(link.readlink()).startswith(str(root))
    except OSError:
        return False


def refused(root: pathlib.Path, *kinds: str) -> Boot:
    keygen = root / "usr/bin/ssh-keygen"
    lines = "".join(
        f'[ "$3" != {kind} ] || {{ echo part >"$7"; echo no {kind}; exit 1; }}\n' for kind in kinds
    )
    keygen.write_text(KEYGEN.replace("echo part", lines + "echo part", 1))
    return boot(root, WITH_PASSWORD, around=SYSTEMD)


def test_a_kind_that_is_refused_is_a_warning(make: Make) -> None:
    root = guest(make)
    ended = refused(root, "rsa", "ecdsa")
    assert ended.code == 0
    assert ended.said.count("warning: /usr/bin/ssh-keygen -t ") == 2
    assert sorted(keys(root)) == ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]


def test_no_key_at_all_is_never_told_as_one(make: Make) -> None:
    root = guest(make)
    ended = refused(root, *KINDS)
    assert ended.code == 0
    assert "warning: /usr/bin/ssh-keygen -t rsa exited with status 1: no rsa; " in ended.said
    assert "generate host keys" not in ended.said
    assert keys(root) == {}


def test_where_sshd_wants_an_rsa_key_alone_it_is_waited_for(make: Make) -> None:
    root = guest(make, rsa=0.5)
    (root / "etc/ssh/sshd_config").write_text(
        "HostKey /etc/ssh/ssh_host_rsa_key\nInclude /etc/ssh/sshd_config.d/*.conf\n"
    )
    ended = boot(root, WITH_PASSWORD, around=SYSTEMD)
    assert ended.code == 0, ended.said
    assert "generate host keys for sshd (rsa, ecdsa, ed25519)" in ended.said
    assert ended.said.index("generate host keys") < ended.said.index("report Ready")
    assert keys(root) == ALL


def test_if_no_other_can_be_made_the_rsa_key_is_waited_for(make: Make) -> None:
    root = guest(make, rsa=0.5)
    ended = refused(root, "ecdsa", "ed25519")
    assert ended.code == 0, ended.said
    assert ended.said.count("warning: /usr/bin/ssh-keygen -t ") == 2
    assert ended.said.index("generate host keys") < ended.said.index("report Ready")
    assert sorted(keys(root)) == ["ssh_host_rsa_key", "ssh_host_rsa_key.pub"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_key_that_this_boot_does_not_make_is_made_by_the_next(make: Make, number: int) -> None:
    root = guest(make, rsa=30)
    link = root / "etc/systemd/system/multi-user.target.wants/azready.service"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("../azready.service")
    insert(root, WITH_PASSWORD)
    marker = root / f"var/lib/azready/{VM().vm_id}.provisioned"
    with Simulator(played(WITH_PASSWORD)) as platform:
        process = start(root, platform)
        end = time.monotonic() + 20
        while not marker.exists() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
        assert process.poll() is None, "it waits for the key"
        process.send_signal(number)
        said = process.communicate(timeout=30)[0]
        assert platform.reports == ["Ready"]
    if number == signal.SIGTERM:
        assert process.returncode == 0
        assert "SIGTERM came before all host keys: the next boot makes the others" in said
    assert {"ssh_host_ecdsa_key", "ssh_host_ed25519_key"} <= set(keys(root)) - {"ssh_host_rsa_key"}
    assert link.is_symlink()
    again = boot(guest_again(root), WITH_PASSWORD)
    assert (again.code, again.reports) == (0, []), again.said
    assert "has been provisioned: nothing to do" in again.said
    assert keys(root) == ALL
    assert not link.is_symlink()
    assert boot(root, WITH_PASSWORD, around=SYSTEMD).said.count("generate") == 0


def test_where_sshd_waits_for_the_end_all_keys_are_there_before_the_report(
    make: Make,
) -> None:
    root = guest(make, rsa=0.5)
    ended = boot(root, WITH_PASSWORD)
    assert ended.code == 0, ended.said
    assert ended.said.index("(rsa, ecdsa, ed25519)") < ended.said.index("report Ready")
    assert keys(root) == ALL
