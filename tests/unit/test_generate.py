"""scripts/generate: checked-in text that follows from the agent is current, and well made."""

import pathlib
import tomllib

import pytest

from agent.settings import Setting
from build.cache import BuildError
from scripts.tasks import generate
from tests.conftest import TOP

CHANGES = """\
# Changelog

- not an item of a version

## 0.2.0 (2026-03-04)

- check: says "why"

## 0.1.0 (unreleased)

First version.

- one
- two
"""


@pytest.mark.parametrize("name", generate.generated())
def test_generated_text_is_current(name: str) -> None:
    current = (TOP / name).read_text()
    assert current == generate.generated()[name], "run scripts/generate"


def test_check_changes_nothing_and_fails_if_something_is_out_of_date(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    old = tmp_path / "old"
    old.write_text("old\n")
    monkeypatch.setattr("build.toolchain.TOP", tmp_path)
    monkeypatch.setattr(generate, "generated", lambda: {"old": "new\n"})
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert (generate.main(), old.read_text()) == (1, "old\n")
    monkeypatch.setattr("sys.argv", ["generate"])
    assert (generate.main(), old.read_text()) == (0, "new\n")
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generate.main() == 0


def test_the_settings_file_is_wrapped_toml_with_the_defaults() -> None:
    settings = [
        Setting("limit", 5, "A long sentence about a limit. " * 8 + "End.", "seconds"),
        Setting("names", ("a", 'b"'), "Names."),
        Setting("steps.one", True, "Do one thing."),
        Setting("steps.another", False, "Do another thing."),
        Setting("user.shell", "", "A shell."),
    ]
    text = generate.settings_file(settings)
    assert tomllib.loads(text) == {
        "limit": 5,
        "names": ["a", 'b"'],
        "steps": {"one": True, "another": False},
        "user": {"shell": ""},
    }
    assert max(map(len, text.splitlines())) <= generate.WIDTH
    assert "End. Takes seconds.\nlimit = 5\n" in text
    assert "one = true       # Do one thing.\nanother = false  # Do another thing.\n" in text


def test_the_changelog_of_packages_has_the_items_of_each_version() -> None:
    text = generate.packages_changelog(CHANGES)
    assert text.count("- semver: ") == 2
    assert "- semver: 0.2.0\n  date: 2026-03-04T00:00:00Z\n" in text
    assert '    - note: "check: says \\"why\\""\n' in text
    assert '    - note: "one"\n    - note: "two"\n' in text
    assert "not an item" not in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# Changelog\n", "has no section"),
        (f"## 1 (unreleased)\n\n- {'x' * 75}\n", "longer than 74 columns"),
    ],
)
def test_a_changelog_that_packages_cannot_take_is_an_error(text: str, says: str) -> None:
    with pytest.raises(BuildError, match=says):
        generate.packages_changelog(text)
