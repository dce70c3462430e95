"""The workflows, as far as they can be read without GitHub.

zizmor (scripts/test --lint) looks for the known kinds of holes.
"""

import re

import pytest

from agent import cli
from tests.conftest import TOP

WORKFLOWS = sorted((TOP / ".github/workflows").glob("*.yml"))
RELEASE = (TOP / ".github/workflows/release.yml").read_text()
WATCH = (TOP / ".github/workflows/watch.yml").read_text()


def job(name: str, text: str = RELEASE) -> str:
    match = re.search(rf"^  {name}:\n(.*?)(?=^  \w|\Z)", text, re.DOTALL | re.MULTILINE)
    assert match, name
    return match[1]


def in_order(text: str, *parts: str) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_the_agent_is_started_only_where_it_may() -> None:
    """Hosted runners are Azure VMs: what a step runs of ours is on this list.

    No file is followed by a command of the agent's.
    """
    commands = "|".join({command.split()[0] for command in cli.COMMANDS})
    for workflow in WORKFLOWS:
        text = workflow.read_text()
        assert set(re.findall(r"\./scripts/\w+", text)) <= {
            "./scripts/test",
            "./scripts/build",
            "./scripts/package",
            "./scripts/release",
            "./scripts/smoke",
        }
        assert re.findall(rf"(?:azready\S*|\$file\"?)\s+(?:--\S+\s+)*(?:{commands})\b", text) == []


def test_every_action_is_pinned_once_and_says_its_version() -> None:
    pins: dict[str, set[str]] = {}
    for workflow in WORKFLOWS:
        for used in re.findall(r"uses: (.+)", workflow.read_text()):
            match = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", used)
            assert match, used
            pins.setdefault(match[1], set()).add(match[2])
    assert {action: pin for action, pin in pins.items() if len(pin) > 1} == {}
    assert "actions/attest" in pins


def test_a_release_is_made_with_the_flag_of_a_release() -> None:
    assert re.search(r'^env:\n  AZREADY_RELEASE: "1"', RELEASE, re.MULTILINE)
    # sudo would drop it.
    assert re.findall(r"sudo .*", RELEASE) == ['sudo ./scripts/smoke "$file"']


def test_the_tests_run_where_none_must_be_skipped() -> None:
    """Roots of Debian are made on Debian only, and take root."""
    for text in (
        job("build"),
        job("test", (TOP / ".github/workflows/pull-request.yml").read_text()),
    ):
        assert re.search(r"image: debian:13@sha256:[0-9a-f]{64}\n +options: --privileged\b", text)
        assert "run: ./scripts/test\n" in text


def test_only_the_protected_job_may_write() -> None:
    for text in map(str, (workflow.read_text() for workflow in WORKFLOWS)):
        assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    publish = job("publish")
    assert "\n    environment: release\n" in f"\n{publish}"
    assert "needs: [build, again, try]" in publish
    rest = "".join(workflow.read_text() for workflow in WORKFLOWS).replace(publish, "")
    assert ": write" in publish
    assert ": write" not in rest


def test_what_is_published_is_what_was_checked_and_attested() -> None:
    assert in_order(
        job("publish"),
        "scripts.tasks.release --check release --same-as second/SHA256SUMS",
        "subject-checksums: release/SHA256SUMS",
        "gh release create",
        "--draft",
        " release/*\n",
        "gh release download",
        "scripts.tasks.release --check uploaded --same-as release/SHA256SUMS",
        "--draft=false",
    )
    for name in ("build", "again"):
        assert in_order(job(name), "./scripts/build", "./scripts/package", "./scripts/release")
    assert "path: dist/release\n" in job("build")


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("rebuild", "scripts.tasks.release --check published --same-as dist/release/SHA256SUMS"),
        ("scan", "scripts.tasks.scan found.json"),
    ],
)
def test_releases_are_rebuilt_and_scanned_every_week(name: str, does: str) -> None:
    assert re.search(r"^  schedule:\n    - cron: \"\d+ \d+ \* \* \d\"$", WATCH, re.MULTILINE)
    assert does in job(name, WATCH)
