"""The boot lab's network: what it has, that nothing leads out, and that nothing is left."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from scripts.bootlab import LabError, cloud
from scripts.bootlab.cloud import Cloud
from scripts.simulator import platform
from scripts.simulator.scenario import VM
from tests.conftest import TOP

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces take root and ip"
)
_ASK = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Metadata": "true"})
print(urllib.request.urlopen(request, timeout=2).read().decode())
"""
_NAME = f"http://{platform.IMDS}/metadata/instance/compute/name?api-version=2021-08-01&format=text"


def _name(running: Cloud) -> str:
    return running.run([sys.executable, "-c", _ASK, _NAME]).stdout.strip()


def test_the_platform_answers_inside_and_nothing_leads_out(tmp_path: pathlib.Path) -> None:
    before = os.listdir("/sys/class/net")
    with Cloud(tmp_path, VM(name="first")) as running:
        assert _name(running) == "first"
        assert "default" not in running.ip("route show")
        assert running.run([sys.executable, "-c", _ASK, "http://192.0.2.1/"]).returncode
        assert os.listdir("/sys/class/net") == before
        assert len(running.requests()) == 1
        assert '"service": "imds"' in (tmp_path / "events.jsonl").read_text()


def test_what_is_answered_can_be_changed(tmp_path: pathlib.Path) -> None:
    with Cloud(tmp_path, VM(name="first")) as running:
        running.serve(VM(name="second"))
        assert _name(running) == "second"
        running.cut(platform.IMDS)
        assert _name(running) == ""
        running.serve(VM(name="third"))
        assert _name(running) == ""
        running.mend(platform.IMDS)
        assert _name(running) == "third"


def test_a_default_route_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def separate() -> int:
        made = real()
        inside = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{made}", "ip"]
        for words in (
            "link add wan type bridge",
            "link set wan up",
            "addr add 192.0.2.2/24 dev wan",
            "route add default via 192.0.2.1",
        ):
            subprocess.run([*inside, *words.split()], check=True)
        return made

    real = cloud._separate
    monkeypatch.setattr(cloud, "_separate", separate)
    with pytest.raises(LabError, match="default route"), Cloud(tmp_path):
        pass


def test_the_machines_own_namespace_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "unshare", lambda flags: None)
    with pytest.raises(LabError, match="own network namespace"), Cloud(tmp_path):
        pass


def test_nothing_starts_in_a_lab_that_was_ended(tmp_path: pathlib.Path) -> None:
    with Cloud(tmp_path) as running:
        process = running.start(["sleep", "60"])
        running.kill()
        assert process.wait(10) == -signal.SIGKILL
        with pytest.raises(LabError, match="was ended"):
            running.start(["sleep", "60"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_lab(tmp_path: pathlib.Path, number: signal.Signals) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from scripts.bootlab.cloud import Cloud\n"
        "with Cloud(pathlib.Path(sys.argv[1])) as running:\n"
        "    child = running.start(['sleep', '60'])\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    lab = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path],
        cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert lab.stdout is not None
    child = pathlib.Path("/proc", lab.stdout.readline().strip())
    end = time.monotonic() + 5
    while not (child / "cmdline").read_text() and time.monotonic() < end:
        time.sleep(0.02)  # in the middle of an execve(2), it has none
    assert (child / "cmdline").read_text()
    lab.send_signal(number)
    lab.wait(10)
    lab.stdout.close()
    end = time.monotonic() + 5
    while child.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not child.exists()
