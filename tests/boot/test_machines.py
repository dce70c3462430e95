"""The quick part of the boot lab: real kernels boot a few real systems.

`scripts/boot --all` boots all of them, and each of them four times.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from build import toolchain
from build.cache import BuildError
from scripts.bootlab.checks import CHECKS, Proof, Result
from scripts.bootlab.guests import GUESTS
from scripts.tasks import boot
from tests.conftest import BUILT, TOP

FILES = {
    machine: "frozen" if machine == toolchain.native() else f"{machine}-{toolchain.DEFAULT_FREEZER}"
    for machine in ("x86_64", "aarch64")
}
# guest -> boots: after the first, the same again; a copy of the disk; a generalized image.
QUICK = {"busybox": 4, "systemd": 2, "busybox-aarch64": 1}


@pytest.fixture(scope="module", autouse=True)
def _lab() -> None:
    try:
        boot.need()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", QUICK)
def test_a_real_boot(name: str, tmp_path: pathlib.Path) -> None:
    guest = GUESTS[name]
    for key in {"frozen", FILES[guest.machine]}:
        BUILT[key].command()
    proof = Proof(guest, tmp_path, boots=QUICK[name])
    proof.run()
    results = proof.results
    assert {check: found.text for check, found in results.items() if found.state == "failed"} == {}
    assert results["Ready"].state == results["console"].state == "passed"
    assert b"<State>Ready</State>" in (tmp_path / "ready.xml").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lab_leaves_nothing(number: signal.Signals, tmp_path: pathlib.Path) -> None:
    words = [
        sys.executable,
        "-m",
        "scripts.tasks.boot",
        "--guest=busybox",
        "--folder",
        str(tmp_path),
    ]
    lab = subprocess.Popen(
        words, cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)}, stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while not any(tmp_path.glob("busybox/1/console.log")) and time.monotonic() < end:
            time.sleep(0.05)
        assert any("qemu" in command for command in _commands(tmp_path))
        lab.send_signal(number)
        assert lab.wait(30) == 130
    finally:
        lab.kill()
    assert list(_commands(tmp_path)) == []
    assert list(tmp_path.rglob("*.qcow2")) == []


def test_the_results_are_junit(tmp_path: pathlib.Path) -> None:
    proof = Proof(GUESTS["busybox"], tmp_path)
    proof.results = dict.fromkeys(CHECKS, Result("passed", seconds=1.5))
    proof.results["clone"] = Result("failed", "it <never> came\nand more")
    proof.results["login"] = Result("skipped", "the guest has no sshd")
    boot.write([proof], tmp_path / "results.xml")
    text = (tmp_path / "results.xml").read_text()
    assert f'tests="{len(CHECKS)}" failures="1" skipped="1"' in text
    assert (
        '<failure message="it &lt;never&gt; came">it &lt;never&gt; came\nand more</failure>' in text
    )


def _commands(folder: pathlib.Path) -> Iterator[str]:
    """What runs with a path below `folder` on its command line."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{folder}/" in command:
            yield command
