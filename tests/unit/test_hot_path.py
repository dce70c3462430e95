"""What a start imports is on a list: each module costs boot time (scripts/bench measures it)."""

import os
import pathlib
import subprocess
import sys

import pytest

from scripts.simulator import scenario
from scripts.simulator.server import Simulator

TOP = pathlib.Path(__file__).parents[2]


def rooms(*names: str) -> set[str]:
    """Every module of these packages: a first boot needs each step and each init system."""
    return {
        ".".join(("agent", name, *([] if file.stem == "__init__" else [file.stem])))
        for name in names
        for file in (TOP / "agent" / name).glob("*.py")
    }


REPORT = {
    "agent",
    "agent.cli",
    "agent.errors",
    "agent.log",
    "agent.record",
    *(f"agent.azure{name}" for name in ("", ".http", ".retry", ".wireserver")),
    *(f"agent.commands{name}" for name in ("", ".common", ".report")),
    *(f"agent.protocol{name}" for name in ("", ".goalstate", ".health", ".http1", ".xml")),
    *("_socket", "pyexpat", "pyexpat.errors", "pyexpat.model", "select"),
}
PROVISION = {
    *REPORT,
    *rooms("formats", "init", "steps"),
    *(
        f"agent.{name}"
        for name in (
            "account_faults",
            "account_lock",
            "account_tools",
            "accounts",
            "boot",
            "change",
            "profile",
        )
    ),
    *(
        f"agent.{name}"
        for name in ("files", "programs", "root", "settings", "sshd", "tree", "walk")
    ),
    *(f"agent.{name}" for name in ("lock", "nearness", "notify", "signals", "staging")),
    *("agent.azure.imds", "agent.commands.failure", "agent.commands.provision"),
    *(f"agent.commands.{name}" for name in ("carrying", "early", "wanted")),
    *(f"agent.machine{name}" for name in ("", ".identity", ".media", ".mount")),
    *(f"agent.protocol.{name}" for name in ("imds", "iso9660", "keys", "kvp", "medium", "ovf")),
    *(f"agent.protocol.{name}" for name in ("udf", "udf_descriptor", "udf_volume")),
    *("_json", "_sha2", "_sha512", "_stat", "binascii", "errno", "fcntl", "stat"),
}
PROGRAM = """
import sys
sys.path.insert(0, {top!r})
before = set(sys.modules)
from agent.cli import main
code = main({arguments!r})
print("\\n".join(sorted(set(sys.modules) - before)))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("command", "allowed"), [(["report", "ready"], REPORT), (["provision", "--force"], PROVISION)]
)
def test_only_listed_modules_are_imported(
    command: list[str], allowed: set[str], tmp_path: pathlib.Path
) -> None:
    with Simulator(scenario.load("healthy")) as simulator:
        arguments = [*command, "--wireserver", simulator.url("wireserver")]
        if "provision" in command:
            if os.geteuid() != 0:
                pytest.skip("a first boot makes a user, whose files take root")
            arguments += ["--imds", simulator.url("imds"), "--root", str(tmp_path)]
        program = PROGRAM.format(top=str(TOP), arguments=arguments)
        result = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=30
        )
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) <= allowed
    assert simulator.reports == ["Ready"]
