"""azready beside the Azure Linux agent, as dist-config/examples/COMING-FROM.md has the two.

azready provisions; the agent is there for extensions, of which the simulator has none: it runs the
process that would handle them.
"""

import pathlib

from scripts.bootlab import shapes
from scripts.bootlab.cloud import wait
from scripts.bootlab.machine import PATIENCE, Machine
from scripts.bootlab.trial import Trial
from scripts.simulator.server import Exchange

# What the agent comes with, and needs here: its unit starts only where the processor says Hyper-V.
BESIDE = "udev,kmod,iproute2,waagent,eject"
_HYPER_V = "[Unit]\nConditionVirtualization=\n"
SETTING = "Provisioning.Agent=disabled"
# What azready leaves, before the agent starts: a line for each file, with its mode and owner.
_STATE = """\
#!/bin/sh
for file in /etc/hostname /etc/hosts /etc/passwd /etc/shadow /etc/group /etc/sudoers.d/* \\
    /etc/ssh/ssh_host_*_key /etc/ssh/sshd_config /etc/ssh/sshd_config.d/* \\
    /home/*/.ssh/authorized_keys; do
    echo "$(stat -c '%a %U:%G' "$file") $(sha256sum "$file")"
done
hostname
"""
_UNIT = """\
[Unit]
DefaultDependencies=no
After=local-fs.target systemd-remount-fs.service azready.service
Before=walinuxagent.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c '/usr/local/sbin/state >/var/lib/before'

[Install]
WantedBy=multi-user.target
"""


def shape(root: pathlib.Path) -> None:
    """systemd-networkd, and the agent for extensions alone."""
    shapes.networkd(root)
    settings = root / "etc/waagent.conf"
    lines = settings.read_text().splitlines()
    lines = [line for line in lines if not line.startswith("Provisioning.Agent=")]
    settings.write_text("\n".join([*lines, SETTING, ""]))
    shapes.write(root / "etc/systemd/system/walinuxagent.service.d/lab.conf", _HYPER_V)
    shapes.program(root / "usr/local/sbin/state", _STATE)
    shapes.write(root / "etc/systemd/system/state.service", _UNIT)
    shapes.enable(root, "state.service")


def provision(trial: Trial) -> None:
    """A first boot, and another: azready provisions, once; the agent undoes nothing."""
    hardware = trial.hardware()
    with trial.boot(hardware) as machine:
        _agent_is_at_work(trial, machine)
        reporters = _reporters(trial)
        trial.require("azready" in reporters, f"Ready was reported by {reporters}")
        trial.note(f"reported by {', '.join(reporters)}")
        state = _held(trial, machine, "")
        trial.rest(machine)
        machine.switch_off()
    with trial.boot(hardware) as machine:
        _agent_is_at_work(trial, machine)
        again = _reporters(trial, machine.started)
        trial.require("azready" not in again, f"the second boot's reports are by {again}")
        _held(trial, machine, state)
        trial.rest(machine)


def _agent_is_at_work(trial: Trial, machine: Machine) -> None:
    """Wait until the agent has done without provisioning, and what handles extensions runs."""
    trial.ready(machine)
    trial.login(machine)
    log = "/var/log/waagent.log"

    def handles() -> str:
        return machine.run(f"pgrep -f '[r]un-exthandlers' >/dev/null && cat {log} || true")

    said = wait(handles, PATIENCE, what="the agent handles extensions", alive=machine.is_on)
    trial.require("Provisioning is disabled, skipping" in said, f"{log}: {said}")
    # It asks for the goal state itself, in which extensions would be, and tells how it is.
    asked = len(_requests(trial, machine, "comp=goalstate"))
    _wait(trial, machine, "comp=goalstate", asked + 1)
    _wait(trial, machine, "/HealthService", 1)


def _wait(trial: Trial, machine: Machine, target: str, count: int) -> None:
    """Wait until a machine has sent so many requests for a target. Raises LabError."""
    wait(
        lambda: len(_requests(trial, machine, target)) >= count,
        PATIENCE,
        what=f"what handles extensions sends {target}",
        alive=machine.is_on,
    )


def _requests(trial: Trial, machine: Machine, target: str) -> list[Exchange]:
    exchanges = trial.cloud.requests(machine.started)
    return [exchange for exchange in exchanges if exchange.request.target.endswith(target)]


def _reporters(trial: Trial, since: float = 0.0) -> list[str]:
    """Return who has sent the reports."""
    reports = [exchange for exchange in trial.cloud.requests(since) if exchange.report]
    return [exchange.request.headers["x-ms-agent-name"] for exchange in reports]


def _held(trial: Trial, machine: Machine, earlier: str) -> str:
    """Return what is there now, in which is all that was there earlier, or else it was undone.

    More may be there: host keys that take long. Raises LabError.
    """
    before = machine.run("cat /var/lib/before")
    now = machine.run("/usr/local/sbin/state")
    for line in (*earlier.splitlines(), *before.splitlines()):
        trial.require(line in now.splitlines(), f"it was undone: {line}; now: {now}")
    return now
