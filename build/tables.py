"""The agent's own tables, from which manual pages, README.md and azready.toml are generated."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence

from agent import cli, init, settings, steps, usage
from agent.change import Step
from agent.init.scripts import Scripts
from agent.settings import Setting

# In the agent's own texts: a path, an option, a URL, or a key of a unit.
_CODE = re.compile(r"(?<![^\s(])(?:/[\w./*-]*\w|--[a-z-]*[a-z]|http://[\w./:]*\w|\w+=(?=\s|$))")


@dataclasses.dataclass(frozen=True)
class Tables:
    """All tables.

    `commands` maps a command to its argument, help and options; `options` maps an option to the
    name of its value, and help; `systems` maps the names that --init takes; `examples` maps a
    command to command lines and what they do; `choices` maps an option to the values that it takes.
    """

    commands: Mapping[str, tuple[str, str, tuple[str, ...]]]
    options: Mapping[str, tuple[str, str]]
    exit_statuses: Sequence[tuple[int, str]]
    settings: Sequence[Setting]
    steps: Sequence[Step]
    systems: Mapping[str, Scripts]
    examples: Mapping[str, Sequence[tuple[str, str]]]
    choices: Mapping[str, Sequence[str]]


def of_agent() -> Tables:
    """Return the tables of the agent beside this folder."""
    return Tables(
        cli.COMMANDS,
        cli.OPTIONS,
        cli.EXIT_STATUSES,
        settings.SETTINGS,
        steps.STEPS,
        init.SYSTEMS,
        usage.EXAMPLES,
        {"--init": tuple(init.SYSTEMS), "--dhcp": settings.DHCP},
    )


def toml(value: bool | int | str | tuple[str, ...]) -> str:
    """Return a default as TOML writes it: `true`, `10`, `"auto"`, `["adm", "sudo"]`."""
    # JSON's literals of these types are also TOML's.
    return json.dumps(value, ensure_ascii=False)


def meaning(setting: Setting) -> str:
    """Return what a setting does, and what it takes."""
    return f"{setting.sentence} Takes {setting.takes}." if setting.takes else setting.sentence


def marked(text: str) -> str:
    """Return `text` with backticks around paths, options and names, unless it has its own."""
    return text if "`" in text else _CODE.sub(r"`\g<0>`", text)
