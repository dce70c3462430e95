"""A first boot that is killed at any change, and run again, ends like one that nobody disturbed."""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from scripts.simulator import scenario
from scripts.simulator.server import Simulator
from tests.conftest import TOP
from tests.simulated import killer


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    if os.geteuid() != 0:
        pytest.skip("files that belong to several users take root")
    platform = dataclasses.replace(scenario.load("healthy"), vm=killer.MACHINE)
    with Simulator(platform) as simulator:
        words = [
            str(tmp_path_factory.mktemp("killed")),
            simulator.url("wireserver"),
            simulator.url("imds"),
        ]
        result = subprocess.run(
            [sys.executable, "-m", "tests.simulated.killer", *words],
            cwd=TOP,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_an_undisturbed_run_touches_every_kind_of_file(runs: list[dict[str, Any]]) -> None:
    assert runs[0]["code"] == 0
    for path in (
        "etc/passwd",
        "etc/gshadow",
        "home/azureuser/.config/app/settings",
        "home/azureuser/.ssh/authorized_keys",
        "etc/sudoers.d/90-azready",
    ):
        assert path in runs[0]["files"]


def test_every_kill_is_healed_by_the_next_run(runs: list[dict[str, Any]]) -> None:
    killed = runs[1:-1]
    assert [run for run in killed if run["first"] != -9 or not run["killed"]] == []
    assert [run for run in killed if run["code"] or run["different"]] == []


def test_kills_hit_every_kind_of_change_and_the_last_run_gets_through(
    runs: list[dict[str, Any]],
) -> None:
    hit = {run["killed"].split(" ")[0] for run in runs[1:-1]}
    assert {
        "rename",
        "mkdir",
        "symlink",
        "chown",
        "fchmod",
        "fchown",
        "ftruncate",
        "fsync",
        "unlink",
        "open",
        "write",
    } <= hit
    assert (runs[-1]["first"], runs[-1]["killed"]) == (0, "")
    assert len(runs) > 100
