"""What was rehearsed is what is performed, word for word, and a second rehearsal is empty."""

import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.change import Change, perform
from agent.commands import carrying, provision
from agent.errors import GuestError, ProtocolError
from agent.profile import merge
from agent.protocol import imds
from agent.root import Root
from agent.settings import Config
from agent.steps import STEPS
from scripts.simulator import platform, scenario
from scripts.simulator.scenario import VM
from scripts.tasks import guests
from tests.conftest import Lines

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making users takes root")

NOWHERE = http.endpoint("http://127.0.0.1:9")
NAMES = [step.name for step in STEPS]
MACHINES = sorted({scenario.load(name).vm for name in scenario.names()}, key=repr)
SSHD_CONFIGS = {
    "drop-ins": "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
    "no drop-ins": "Port 22\n",
    "no sshd": "",
}

choices = st.fixed_dictionaries(
    {"media.wait": st.just(0)},
    optional={
        "fatal": st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
        "user.groups": st.lists(st.sampled_from(["adm", "sudo", "none"]), unique=True).map(tuple),
        "user.shell": st.sampled_from(["", "/bin/zsh"]),
        "user.sudo": st.sampled_from(["auto", "nopasswd", "password"]),
        "sshd.edit": st.booleans(),
        "run_custom_data": st.booleans(),
        "state_directory": st.sampled_from(["/var/lib/azready", "/var/lib/azready-2"]),
        **{f"steps.{name}": st.booleans() for name in NAMES},
    },
)
images = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["none", "bare", "whole", "system"]),
        "tool": st.sampled_from(["sudo", "doas", "none"]),
        "sshd": st.sampled_from(sorted(SSHD_CONFIGS)),
        "pool": st.booleans(),
        "hostname": st.sampled_from([None, "old\n", "web-1\n"]),
    }
)
PLAIN = {"user": "none", "tool": "sudo", "sshd": "drop-ins", "pool": True, "hostname": None}
EXISTING = {**PLAIN, "user": "whole"}
SYSTEM = {**PLAIN, "user": "system"}
NO_DROP_INS = {**PLAIN, "sshd": "no drop-ins"}
PASSWORD = VM(media="cd", password="secret", disable_password="false", custom_data="#!/bin/sh\n")


# The five differences that separate descriptions of a step once had.
@example(VM(), {"media.wait": 0, "steps.user": False}, EXISTING)
@example(VM(), {"media.wait": 0, "fatal": ()}, SYSTEM)
@example(VM(), {"media.wait": 0}, NO_DROP_INS)
@example(VM(), {"media.wait": 0, "sshd.edit": True}, NO_DROP_INS)
@example(VM(), {"media.wait": 0, "state_directory": "/var/lib/azready-2"}, PLAIN)
@example(PASSWORD, {"media.wait": 0, "run_custom_data": True}, {**PLAIN, "tool": "doas"})
@given(st.sampled_from(MACHINES), choices, images)
def test_what_was_rehearsed_is_performed(
    vm: VM, chosen: dict[str, Any], image: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        lay_out(root, vm, image)
        config = Config(chosen)
        before = picture(root)
        rehearsed = provision.rehearse(boot(root, vm, config))
        assert picture(root) == before
        performed = carry_out(boot(root, vm, config))
        assert performed == rehearsed
        again = provision.rehearse(boot(root, vm, config))
        assert [text for text in again[0] if not text.startswith("warn: ")] == []
        assert again[1] == rehearsed[1]


def boot(root: pathlib.Path, vm: VM, config: Config) -> Boot:
    made = Boot(Root(str(root)), NOWHERE, NOWHERE, Deadline(5), config, Lines())
    document = json.dumps(platform.instance(vm, extended=True)).encode()
    try:
        made.metadata = imds.parse(document)
    except ProtocolError:
        made.metadata = None
    made.vm_id = vm.vm_id
    return made


def carry_out(made: Boot) -> tuple[list[str], list[str]]:
    """Perform as `provision` does, and return what `provision.rehearse` returns."""
    texts: list[str] = []

    def act(changes: Iterator[Change]) -> None:
        perform(noted(changes), made.log)

    def noted(changes: Iterator[Change]) -> Iterator[Change]:
        for change in changes:
            texts.append(change.text)
            yield change

    made.profile = merge(made.metadata, made.medium)
    try:
        carrying.carry_out(made, act, lambda text: texts.append(f"warn: {text}"))
    except GuestError as error:
        return texts, [str(error)]
    return texts, []


def lay_out(root: pathlib.Path, vm: VM, image: dict[str, Any]) -> None:
    guests.sketch(root, vm)
    (root / "etc/ssh/sshd_config").write_text(SSHD_CONFIGS[image["sshd"]])
    if image["sshd"] == "no sshd":
        (root / "etc/ssh/sshd_config").unlink()
    if image["tool"] != "sudo":
        (root / "usr/bin/sudo").unlink()
    if image["tool"] == "doas":
        (root / "usr/bin/doas").touch(0o755)
    if not image["pool"]:
        (root / "var/lib/hyperv/.kvp_pool_1").unlink()
        (root / "var/lib/hyperv").rmdir()
    if image["hostname"]:
        (root / "etc/hostname").write_text(image["hostname"])
    name = vm.admin_username
    if image["user"] != "none" and name.isidentifier() and name != "root":
        uid = 900 if image["user"] == "system" else 1000
        with open(root / "etc/passwd", "a") as passwd:
            passwd.write(f"{name}:x:{uid}:{uid}::/data/{name}:/bin/sh\n")
        if image["user"] == "whole":
            with open(root / "etc/shadow", "a") as shadow:
                shadow.write(f"{name}:$6$a$b:19000:0:99999:7:::\n")
            (root / "data" / name).mkdir(parents=True)
            os.chown(root / "data" / name, uid, uid)


def picture(root: pathlib.Path) -> dict[str, object]:
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in root.rglob("*")}
