"""What a start imports is on a list, because every module costs the boot time (figures in scripts/bench)."""

import os
import pathlib
import subprocess
import sys

import pytest

from scripts.simulator import scenario
from scripts.simulator.server import Simulator

TOP = pathlib.Path(__file__).parents[2]
REPORT = {
    *("agent", "agent.cli", "agent.errors", "agent.log"),
    *("agent.azure", "agent.azure.http", "agent.azure.retry", "agent.azure.wireserver"),
    *(
        "agent.protocol",
        "agent.protocol.goalstate",
        "agent.protocol.health",
        "agent.protocol.http1",
        "agent.protocol.xml",
    ),
    *("_socket", "pyexpat", "pyexpat.errors", "pyexpat.model"),
}
PROVISION = REPORT | {
    *(
        "agent.provision",
        "agent.config",
        "agent.osprofile",
        "agent.azure.identity",
        "agent.azure.imds",
        "agent.azure.media",
    ),
    *(
        "agent.protocol.imds",
        "agent.protocol.iso9660",
        "agent.protocol.kvp",
        "agent.protocol.medium",
        "agent.protocol.ovf",
        "agent.protocol.udf",
    ),
    *(
        "agent.guest",
        "agent.guest.accountfiles",
        "agent.guest.accounts",
        "agent.guest.hostname",
        "agent.guest.hyperv",
    ),
    *(
        "agent.guest.mount",
        "agent.guest.passwords",
        "agent.guest.programs",
        "agent.guest.sshd",
        "agent.guest.sshkeys",
        "agent.guest.state",
    ),
    *(
        "agent.guest.sudo",
        "agent.init",
        "agent.init.initramfs",
        "agent.init.others",
        "agent.init.rivals",
        "agent.init.systemd",
    ),
    *("agent.root", "agent.tree", "agent.walk"),
    *("_json", "_sha2", "_sha512", "_stat", "binascii", "errno", "fcntl", "select", "stat"),
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
