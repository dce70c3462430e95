"""Manual pages of the packages: reST in dist-config/manual/, rendered by docutils.

A page is readable as it stands, also in a browser. Between `.. begin: NAME` and `.. end: NAME` are
lists from the agent's own tables; `scripts/generate` writes them there.
"""

import pathlib
import re
from collections.abc import Callable, Iterable

from docutils import core

from agent import __version__
from build import tables, toolchain
from build.cache import BuildError
from build.tables import Tables

FOLDER = "dist-config/manual"
_DATE = "2026-01-01"  # that of SOURCE_DATE_EPOCH: the pages of a version never change
_REGION = re.compile(r"(?ms)^(\.\. begin: ([^\n]+)\n).*?^(\.\. end: ([^\n]+)\n)")
# A warning is an error: a page with a mistake is not made.
STRICT = {"report_level": 2, "halt_level": 2, "file_insertion_enabled": False}


def pages() -> list[pathlib.Path]:
    """Return the sources: azready.8.rst, ..."""
    return sorted((toolchain.TOP / FOLDER).glob("*.[0-9].rst"))


def render(source: str) -> str:
    """Return a page for man(7). Raises docutils.utils.SystemMessage for a mistake in it."""
    head = f":Version: azready {__version__}\n:Date: {_DATE}\n:Manual section:"
    page = core.publish_string(
        source.replace(":Manual section:", head, 1),
        writer="manpage",
        settings_overrides={**STRICT, "output_encoding": "unicode"},
    )
    # No word is hyphenated, so that names of settings and paths can be copied: man(7), HY.
    page = str(page).replace("\n.TH ", "\n.nr HY 0\n.TH ", 1)
    return page.replace("\n.SH Name\n", "\n.ad l\n.SH NAME\n", 1)


def filled(text: str, data: Tables) -> str:
    """Return a page with new contents of its regions. Raises BuildError for an unknown one."""

    def made(found: re.Match[str]) -> str:
        begin, name, end, last = found.groups()
        if name != last or name not in _LISTS:
            raise BuildError(f"a manual page has a region {name!r}, which ends as {last!r}")
        return f"{begin}\n{_LISTS[name](data)}\n{end}"

    return _REGION.sub(made, text)


def _items(rows: Iterable[tuple[str, str]]) -> str:
    """Return a definition list."""
    return "\n".join(f"``{term}``\n    {text}\n" for term, text in rows)


def _marked(text: str) -> str:
    """Return a text of the agent with its paths, options and names as literals of reST."""
    return tables.marked(text).replace("`", "``")


def _synopsis(data: Tables) -> str:
    lines = []
    for command, (argument, _, _) in data.commands.items():
        value = f" *{argument}*" if argument else ""
        lines.append(f"| **azready {command}**{value} [*OPTION* ...]\n")
    return "".join(lines)


def _commands(data: Tables) -> str:
    return _items(
        (f"azready {name} {argument}".rstrip(), f"{_marked(_sentence(text))}")
        for name, (argument, text, _) in data.commands.items()
    )


def _options(data: Tables) -> str:
    rows = []
    for name, (value, text) in data.options.items():
        names = f": {', '.join(data.systems)}" if name == "--init" else ""
        where = ", ".join(command for command, (_, _, own) in data.commands.items() if name in own)
        meaning = _sentence(f"{_marked(text)}{names}")
        rows.append((f"{name} {value}".rstrip(), f"{meaning} (*{where}*)"))
    return _items(rows)


def _examples(data: Tables) -> str:
    return _items(
        (line, _sentence(text)) for lines in data.examples.values() for line, text in lines
    )


def _statuses(data: Tables) -> str:
    return _items((str(status), _sentence(text)) for status, text in data.exit_statuses)


def _settings(data: Tables) -> str:
    return _items(
        (
            f"{setting.name} = {tables.toml(setting.default)}",
            _marked(tables.meaning(setting)),
        )
        for setting in data.settings
    )


def _steps(data: Tables) -> str:
    return _items(
        (step.name, _marked(step.summary) + (" *Its failure fails the run.*" * step.fatal))
        for step in data.steps
    )


def _systems(data: Tables) -> str:
    rows = []
    for name, one in data.systems.items():
        title = "" if one.title == name else f"{one.title}: "
        text = f"{title}{_marked(one.files)}. Enabled by: {_marked(one.enabled_by)}."
        rows.append((name, text))
    return _items(rows)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(("?", ".")) else ".")


_LISTS: dict[str, Callable[[Tables], str]] = {
    "synopsis": _synopsis,
    "commands": _commands,
    "options": _options,
    "examples": _examples,
    "exit statuses": _statuses,
    "settings": _settings,
    "steps": _steps,
    "init systems": _systems,
}
