"""`azready status`: from markers and record alone, for people and for programs."""

import json
import os
import pathlib
from collections.abc import Callable

import pytest

from agent import cli
from agent.machine import identity
from agent.protocol import kvp
from agent.root import Root
from agent.steps import state
from agent.steps.kvp import POOL, write

OWN = "5f4d2a3c-1b2e-4c5d-8f90-a1b2c3d4e5f6"
OTHER = "11111111-2222-3333-4444-555555555555"
SOURCE = kvp.source("azready/1", "2026-03-01T10:00:00Z", OWN, "")

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "product_uuid").write_text(OWN)
    (tmp_path / "sys/firmware/efi").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def ask(root: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> Ask:
    def asked(*options: str) -> tuple[int, str]:
        before = sorted(root.rglob("*"))
        code = cli.main(["status", "--root", str(root), *options])
        assert sorted(root.rglob("*")) == before
        said = capfd.readouterr()
        assert said.err == ""
        return code, said.out

    return asked


def mark(root: pathlib.Path, vm_id: str, time: str) -> None:
    path = root / state.marker("var/lib/azready", vm_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{time} azready 1 reported Ready\n")


def record(root: pathlib.Path, report: str) -> None:
    (root / POOL.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    write(Root(str(root)), report)


def test_a_fresh_image_is_not_provisioned(ask: Ask) -> None:
    assert ask() == (1, f"not provisioned: VM {OWN} has no marker\n")
    code, text = ask("--json")
    assert code == 1
    assert json.loads(text) == {
        "schema": 1,
        "provisioned": False,
        "vm_id": OWN,
        "time": None,
        "note": None,
        "failure": None,
        "failure_time": None,
        "markers": [],
    }


@pytest.mark.parametrize("spelling", [OWN, identity.swapped(OWN)])
def test_a_marker_tells_when_and_which_vm(root: pathlib.Path, ask: Ask, spelling: str) -> None:
    mark(root, spelling, "2026-03-01T10:00:00Z")
    record(root, kvp.success(SOURCE))
    text = f"provisioned: VM {spelling}, 2026-03-01T10:00:00Z: azready 1 reported Ready\n"
    assert ask() == (0, text)
    found = json.loads(ask("--json")[1])
    assert (found["provisioned"], found["vm_id"]) == (True, spelling)
    assert (found["time"], found["note"]) == ("2026-03-01T10:00:00Z", "azready 1 reported Ready")


def test_a_failure_is_told_with_its_reason(root: pathlib.Path, ask: Ask) -> None:
    record(root, kvp.error('the disk "a|b" is full', SOURCE))
    code, text = ask()
    assert code == 1
    assert text.endswith('\nthe last run failed, 2026-03-01T10:00:00Z: the disk "a|b" is full\n')
    found = json.loads(ask("--json")[1])
    assert found["failure"] == 'the disk "a|b" is full'
    assert found["failure_time"] == "2026-03-01T10:00:00Z"


def test_a_success_after_a_failure_counts(root: pathlib.Path, ask: Ask) -> None:
    """Where the record of the success could not be written."""
    record(root, kvp.error("no", SOURCE))
    mark(root, OWN, "2026-03-01T11:00:00Z")
    assert ask()[0] == 0
    assert json.loads(ask("--json")[1])["failure"] is None


def test_the_marker_of_another_vm_is_not_ours(root: pathlib.Path, ask: Ask) -> None:
    mark(root, OTHER, "2026-02-01T10:00:00Z")
    code, text = ask()
    assert code == 1
    assert text == (
        f"not provisioned: VM {OWN} has no marker\n"
        f"marker of another VM: {OTHER}, 2026-02-01T10:00:00Z: azready 1 reported Ready\n"
    )
    mark(root, OWN, "2026-03-01T10:00:00Z")
    assert ask()[0] == 0
    assert json.loads(ask("--json")[1])["markers"] == [OTHER, OWN]


@pytest.mark.skipif(
    bool(identity.vm_id(Root())), reason="this machine's own DMI tells which VM it is"
)
def test_without_dmi_the_latest_marker_counts(root: pathlib.Path, ask: Ask) -> None:
    (root / "sys/class/dmi/id/product_uuid").unlink()
    assert ask() == (1, "not provisioned: VM of unknown id has no marker\n")
    mark(root, OTHER, "2026-04-01T10:00:00Z")
    mark(root, OWN, "2026-03-01T10:00:00Z")
    assert ask()[1].startswith(f"provisioned: VM {OTHER}, 2026-04-01T10:00:00Z: ")


@pytest.mark.parametrize("damage", [b"x", b"\xff" * kvp.RECORD_SIZE, os.urandom(5120)])
def test_a_damaged_record_and_a_hostile_marker_break_nothing(
    root: pathlib.Path, ask: Ask, damage: bytes
) -> None:
    record(root, kvp.success(SOURCE))
    (root / POOL.lstrip("/")).write_bytes(damage)
    mark(root, OWN, "")
    (root / f"var/lib/azready/{OWN}.provisioned").write_bytes(b"\x1b[2J\xff \n\n x")
    code, text = ask()
    assert code == 0
    assert all(line.isprintable() for line in text.splitlines())
    assert json.loads(ask("--json")[1])["provisioned"] is True
