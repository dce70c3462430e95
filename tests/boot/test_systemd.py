"""A real systemd as PID 1 boots an image that azready was installed into.

This shows the unit, its order and its sandbox, with everything to do.
"""

import dataclasses
import json
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from scripts.simulator import media
from scripts.simulator.scenario import VM
from tests.boot import lab
from tests.conftest import FROZEN

# What a script leaves behind: a daemon, which has a session and a parent of its own and minds no SIGTERM.
DAEMON = "(trap '' TERM; setsid sleep 1234 </dev/null >/dev/null 2>&1 &)\n"
SCRIPT = f"#!/bin/sh\n{DAEMON}echo from the script\necho x >/usr/outside-the-sandbox && echo wrote to usr\n"
ENDLESS = f"#!/bin/sh\n{DAEMON}trap '' TERM\nyes >/dev/null &\nwhile :; do sleep 1234; done\n"
MACHINE = VM(password="correct horse", disable_password="false", custom_data=SCRIPT)
# The kernels of test machines have no DMI, hence --force. What is said goes into a file, because
# the journal is gone with the container.
LAB = """
[Service]
ExecStart=
ExecStart=/usr/local/bin/azready provision --force
StandardOutput=append:/var/lib/said
StandardError=inherit
"""
# systemd-hostnamed runs before azready gives the machine a name.
EARLY = """
[Unit]
After=dbus.service
Before=azready.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'hostnamectl status >/var/lib/early'
"""
END = """
[Unit]
After=azready.service ssh.service multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'while systemctl show azready -p SubState | grep -q running; do sleep .1; done'
ExecStart=/bin/sh -c 'systemctl --failed --no-legend --plain >/var/lib/failed; systemctl is-active ssh >/var/lib/ssh'
ExecStart=/bin/sh -c 'hostnamectl --static >/var/lib/name; systemctl show azready -p ConditionResult >/var/lib/condition'
ExecStart=/bin/sh -c 'grep -lz -e ^1234 -e ^yes /proc/[0-9]*/cmdline >/var/lib/left; systemctl list-units --all --plain --no-legend "azready-*" >/var/lib/units'
ExecStart=systemctl poweroff --force --force
"""
# Looks around a second after sshd has started.
MEANWHILE = """
[Unit]
After=ssh.service systemd-user-sessions.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sleep 1; systemctl show azready -p ActiveState -p SubState -p StatusText >/var/lib/meanwhile; ls /run/azready >>/var/lib/meanwhile'
ExecStart=/bin/sh -c 'systemctl show azready -p ActiveEnterTimestampMonotonic --value >/var/lib/order'
ExecStart=/bin/sh -c 'systemctl show ssh systemd-user-sessions -p InactiveExitTimestampMonotonic --value >>/var/lib/order'
"""
STOPPER = """
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sleep 2; systemctl stop azready; systemctl is-failed azready >/var/lib/stopped'
"""
READ_ONLY = "[Service]\nReadWritePaths=\nReadWritePaths=-/var/lib -/home\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    root = lab.root_with("systemd", tmp_path_factory.mktemp("systemd"))
    shutil.rmtree(root / "dev")
    (root / "dev").mkdir()
    (root / "var/cd.iso").write_bytes(media.iso9660({"ovf-env.xml": media.ovf_env(MACHINE)}))
    (root / "etc/azready.toml").write_text(
        'run_custom_data = true\nfatal = ["user", "ssh_keys", "password", "sudo", "sshd", "custom_data"]\nmedia.devices = ["/var/cd.iso"]\n'
    )
    units = root / "etc/systemd/system"
    for name, text in (
        ("azready.service.d/lab.conf", LAB),
        ("early.service", EARLY),
        ("end.service", END),
    ):
        (units / name).parent.mkdir(exist_ok=True)
        (units / name).write_text(text)
    for name in ("early.service", "end.service"):
        (units / "multi-user.target.wants" / name).symlink_to(f"../{name}")
    subprocess.run([FROZEN, "install", "--root", root], check=True, capture_output=True)
    yield root
    shutil.rmtree(root, ignore_errors=True)


def boot(
    root: pathlib.Path, folder: pathlib.Path, custom_data: str = MACHINE.custom_data
) -> list[str]:
    """Boot until it is off; returns the reports that the platform accepted."""
    # A string of JSON is one of TOML, too.
    values = {
        "password": MACHINE.password,
        "disable_password": MACHINE.disable_password,
        "custom_data": custom_data,
    }
    return lab.boot(
        root,
        lab.plain(
            folder,
            "[vm]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()),
        ),
    )


def test_systemd_runs_a_whole_first_boot_once(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert boot(image, tmp_path) == ["Ready"]
    said = (image / "var/lib/said").read_text()
    assert "warning" not in said
    for words in (
        "provisioning CD: /var/cd.iso",
        "create the user azureuser with the shell /bin/bash",
        "create the home /home/azureuser",
        "let azureuser become root with a password, in /etc/sudoers.d/90-azready",
        "authorize 1 SSH key in /home/azureuser/.ssh/authorized_keys",
        "set the password of azureuser",
        "allow SSH logins with a password in /etc/ssh/sshd_config.d/00-azready.conf",
        "generate host keys for sshd",
        "customdata: from the script",
        "customdata: wrote to usr",
        "disable azready: remove ",
    ):
        assert words in said
    assert (image / "etc/hostname").read_text() == "web-1\n"
    assert (image / "etc/shadow").read_text().splitlines()[-1].startswith("azureuser:$")
    assert (image / "usr/outside-the-sandbox").exists()
    assert not (image / "etc/systemd/system/multi-user.target.wants/azready.service").is_symlink()
    # sshd started behind it, with the host keys that it made, and nothing failed.
    assert ((image / "var/lib/failed").read_text(), (image / "var/lib/ssh").read_text()) == (
        "",
        "active\n",
    )
    # A hostnamed that ran before sees the name.
    assert "Static hostname" in (image / "var/lib/early").read_text()
    assert (image / "var/lib/name").read_text() == "web-1\n"
    # What the script has started lives on, and what it has ended is gone.
    assert len((image / "var/lib/left").read_text().split()) == 1
    assert boot(image, tmp_path) == []
    assert (image / "var/lib/said").read_text() == said


def test_a_script_that_does_not_end_is_stopped_with_all_that_it_started(
    image: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    machine = dataclasses.replace(MACHINE, custom_data=ENDLESS)
    (image / "var/cd.iso").write_bytes(media.iso9660({"ovf-env.xml": media.ovf_env(machine)}))
    (image / "etc/azready.toml").write_text(
        'run_custom_data = true\ncustom_data_limit = 3\nmedia.devices = ["/var/cd.iso"]\n'
    )
    (image / "var/lib/said").unlink(missing_ok=True)
    shutil.rmtree(image / "var/lib/azready", ignore_errors=True)
    subprocess.run([FROZEN, "install", "--root", image], check=True, capture_output=True)
    assert boot(image, tmp_path, ENDLESS) == ["Ready"]
    said = (image / "var/lib/said").read_text()
    assert "warning: the customData script was stopped after 3 s" in said
    assert said.count("warning") == 1
    assert [(image / "var/lib" / name).read_text() for name in ("left", "units", "failed")] == [
        "",
        "",
        "",
    ]


def again(image: pathlib.Path, name: str, text: str) -> None:
    """Prepare another first boot, with a unit of one's own."""
    units = image / "etc/systemd/system"
    (units / f"{name}.service").write_text(text)
    (units / "multi-user.target.wants" / f"{name}.service").symlink_to(f"../{name}.service")
    (image / "var/lib/said").unlink(missing_ok=True)
    shutil.rmtree(image / "var/lib/azready", ignore_errors=True)
    subprocess.run([FROZEN, "install", "--root", image], check=True, capture_output=True)


def drop(image: pathlib.Path, name: str) -> None:
    (image / f"etc/systemd/system/multi-user.target.wants/{name}.service").unlink()


def test_people_can_log_in_while_the_platform_is_silent(
    image: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    again(image, "meanwhile", MEANWHILE)
    silent = lab.plain(tmp_path, "[[goalstate]]\nstatus = 503\ntimes = 3\n")
    assert lab.boot(image, silent) == ["Ready"]
    drop(image, "meanwhile")
    meanwhile = (image / "var/lib/meanwhile").read_text()
    assert "ActiveState=active\nSubState=running\n" in meanwhile
    assert "StatusText=reporting Ready: try " in meanwhile
    assert "next try in " in meanwhile
    assert meanwhile.splitlines()[-1] == "lock"
    # Nobody may log in before the user is there.
    ready, *others = [int(line) for line in (image / "var/lib/order").read_text().split()]
    assert len(others) == 2
    assert ready <= min(others)
    assert ((image / "var/lib/failed").read_text(), (image / "var/lib/ssh").read_text()) == (
        "",
        "active\n",
    )


def test_a_run_with_nothing_to_do_is_no_failure(
    image: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    link = image / "etc/systemd/system/multi-user.target.wants/azready.service"
    assert not link.is_symlink()
    link.symlink_to("../azready.service")
    lab_conf = image / "etc/systemd/system/azready.service.d/lab.conf"
    lab_conf.write_text(LAB.replace(" --force", ""))  # a container is not Azure
    try:
        assert boot(image, tmp_path) == []
    finally:
        lab_conf.write_text(LAB)
    assert "not a VM on Azure" in (image / "var/lib/said").read_text().splitlines()[-1]
    assert (image / "var/lib/failed").read_text() == ""


def test_a_stop_is_told_in_time(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    again(image, "stopper", STOPPER)
    hanging = lab.plain(tmp_path, '[[imds]]\nconnection = "hang"\ntimes = "forever"\n')
    assert lab.boot(image, hanging) == ["ProvisioningFailed"]
    drop(image, "stopper")
    assert (image / "var/lib/stopped").read_text() == "failed\n"
    *lines, last = (image / "var/lib/said").read_text().splitlines()
    assert any("warning: check: IMDS: there is no instance metadata" in line for line in lines)
    assert not any("cannot ask the kernel" in line for line in lines)
    assert "provisioning failed: terminated by SIGTERM before Ready was reported; " in last
    assert last.endswith("; Azure was told; tried again at the next boot")
    assert (image / "etc/systemd/system/multi-user.target.wants/azready.service").is_symlink()


def test_where_etc_is_read_only_a_file_keeps_the_unit_from_running_again(
    image: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (image / "etc/systemd/system/azready.service.d/read-only.conf").write_text(READ_ONLY)
    (image / "etc/azready.toml").write_text("fatal = []\nsteps.user = false\nsteps.media = false\n")
    (image / "var/lib/said").unlink(missing_ok=True)
    shutil.rmtree(image / "var/lib/azready", ignore_errors=True)
    subprocess.run([FROZEN, "install", "--root", image], check=True, capture_output=True)
    assert boot(image, tmp_path) == ["Ready"]
    said = (image / "var/lib/said").read_text()
    assert "read-only" in said.lower()
    assert "create /var/lib/azready/disabled, which keeps the unit from running again" in said
    assert (image / "etc/systemd/system/multi-user.target.wants/azready.service").is_symlink()
    assert (image / "var/lib/condition").read_text() == "ConditionResult=yes\n"
    assert boot(image, tmp_path) == []
    assert (image / "var/lib/condition").read_text() == "ConditionResult=no\n"
    assert (image / "var/lib/said").read_text() == said
    # Enabling it anew takes the file away.
    subprocess.run([FROZEN, "install", "--root", image], check=True, capture_output=True)
    assert not (image / "var/lib/azready/disabled").exists()
