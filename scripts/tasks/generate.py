"""`scripts/generate`: rewrites checked-in text that follows from the agent or from other text.

- dist-config/azready.toml, from agent.settings.SETTINGS;
- the lists of the manual pages, from the agent's own tables (build/manual.py);
- dist-config/changelog.yaml, from CHANGELOG.md.

Every maker is a pure function from data to text. `--check` changes nothing and fails if anything
would change.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence

from agent.settings import Setting
from build import __main__ as build
from build import manual, tables, toolchain
from build.cache import BuildError, console

WIDTH = 100  # columns
NOTE_WIDTH = 74  # columns: what lintian accepts in the changelog of a .deb
SETTINGS = "dist-config/azready.toml"
CHANGELOG = "CHANGELOG.md"
PACKAGES_CHANGELOG = "dist-config/changelog.yaml"

_SETTINGS_HEAD = """\
# /etc/azready.toml: the settings of azready. The file is optional, and so is every key; all keys
# are listed with their defaults. An unknown key, or a value of the wrong type, is an error.
"""
_CHANGELOG_HEAD = f"# The changelog of the packages. scripts/generate makes it from {CHANGELOG}.\n"
_UNRELEASED = "2026-01-01"  # that of SOURCE_DATE_EPOCH
_VERSION = re.compile(
    r"^## (\S+) \((unreleased|\d{4}-\d{2}-\d{2})\)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)


def main() -> int:
    """Write what has changed, or only compare; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/generate",
        description=f"Rewrite {SETTINGS}, {PACKAGES_CHANGELOG}, and the lists of the manual pages.",
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 if anything would change"
    )
    options = parser.parse_args()
    try:
        made = generated()
    except BuildError as error:
        return build.refuse(error)
    stale = [name for name, text in made.items() if _read(name) != text]
    for name in stale:
        console.print(f"{name}: {'out of date' if options.check else 'rewritten'}", markup=False)
        if not options.check:
            (toolchain.TOP / name).write_text(made[name])
    return 1 if stale and options.check else 0


def generated() -> dict[str, str]:
    """Return path -> text for every file with generated text. Raises BuildError."""
    data = tables.of_agent()
    return {
        SETTINGS: settings_file(data.settings),
        PACKAGES_CHANGELOG: packages_changelog(_read(CHANGELOG)),
        **{
            str(page.relative_to(toolchain.TOP)): manual.filled(page.read_text(), data)
            for page in manual.pages()
        },
    }


def _read(name: str) -> str:
    return (toolchain.TOP / name).read_text()


def settings_file(settings: Sequence[Setting]) -> str:
    """Return azready.toml: every key with its sentence, its limits and its default."""
    by_table: dict[str, list[Setting]] = {"": []}
    for setting in settings:
        by_table.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    return _SETTINGS_HEAD + "".join(
        (f"\n[{table}]" if table else "") + _keys(members) for table, members in by_table.items()
    )


def _keys(settings: Sequence[Setting]) -> str:
    """Return lines of a table: comments after the keys if all fit there, else before them."""
    lines = [
        f"{setting.name.rpartition('.')[2]} = {tables.toml(setting.default)}"
        for setting in settings
    ]
    width = max(map(len, lines), default=0)
    switches = all(isinstance(setting.default, bool) for setting in settings)
    beside = [
        f"{line:<{width}}  # {tables.meaning(setting)}"
        for line, setting in zip(lines, settings, strict=True)
    ]
    if len(settings) > 1 and switches and max(map(len, beside)) <= WIDTH:
        return "\n" + "\n".join(beside) + "\n"
    start = "\n"
    text = ""
    for line, setting in zip(lines, settings, strict=True):
        comment = textwrap.fill(
            tables.meaning(setting),
            WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        text += f"{start}{comment}\n{line}\n"
    return text


def packages_changelog(text: str) -> str:
    """Return changelog.yaml from CHANGELOG.md: sections `## VERSION (DATE)` with a list each.

    Raises BuildError for an item that is too long for the changelog of a package.
    """
    entries = [_entry(*match.groups()) for match in _VERSION.finditer(text)]
    if not entries:
        raise BuildError(f"{CHANGELOG} has no section: ## VERSION (DATE)")
    return _CHANGELOG_HEAD + "".join(entries)


def _entry(version: str, date: str, body: str) -> str:
    items = re.findall(r"^- (.+)$", body, re.MULTILINE)
    for item in items:
        if len(item) > NOTE_WIDTH:
            raise BuildError(f"{CHANGELOG}: longer than {NOTE_WIDTH} columns: {item}")
    # A JSON string is also a YAML string.
    notes = "".join(f"    - note: {json.dumps(item, ensure_ascii=False)}\n" for item in items)
    return f"""\
- semver: {version}
  date: {_UNRELEASED if date == "unreleased" else date}T00:00:00Z
  packager: The azready authors <azready@example.org>
  deb:
    urgency: medium
    distributions: [unstable]
  changes:
{notes}"""


if __name__ == "__main__":
    sys.exit(main())
