"""The agent's own tables, as the manual pages, README.md and azready.toml are made from them.

The records are described by protocols, so that the makers can be tested with other data.
"""

import dataclasses
import importlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent import cli
from build import toolchain


class Setting(Protocol):
    """A key of /etc/azready.toml: "user.shell", its default, a sentence, and the limits."""

    @property
    def name(self) -> str:
        """The key, after the name of its table."""

    @property
    def default(self) -> bool | int | str | tuple[str, ...]:
        """The default; its type is the type of the key."""

    @property
    def sentence(self) -> str:
        """What the key decides, in one sentence."""

    @property
    def takes(self) -> str:
        """The limits, such as "seconds from 1 to 86400"; may be empty."""


class Step(Protocol):
    """A step of a first boot."""

    @property
    def name(self) -> str:
        """Its name in the settings."""

    @property
    def summary(self) -> str:
        """What it does, in a few words."""

    @property
    def fatal(self) -> bool:
        """Tells whether its failure is the failure of the run, by default."""


class System(Protocol):
    """An init system."""

    @property
    def name(self) -> str:
        """The name that --init takes."""

    @property
    def title(self) -> str:
        """Its name for people."""

    @property
    def files(self) -> str:
        """What `install` writes."""

    @property
    def enabled_by(self) -> str:
        """What makes it start azready."""


@dataclasses.dataclass(frozen=True)
class Tables:
    """All tables: `commands` maps a command to argument, help and options; `options` an option
    to the name of its value and help.
    """

    commands: Mapping[str, tuple[str, str, tuple[str, ...]]]
    options: Mapping[str, tuple[str, str]]
    exit_statuses: Sequence[tuple[int, str]]
    settings: Sequence[Setting]
    steps: Sequence[Step] = ()
    systems: Mapping[str, System] = dataclasses.field(default_factory=dict)


def of_agent() -> Tables:
    """Return the tables of the agent beside this folder."""
    if not hasattr(cli, "EXIT_STATUSES"):
        return _of_older_agent()
    return Tables(
        cli.COMMANDS,
        cli.OPTIONS,
        cli.EXIT_STATUSES,
        _table("agent.settings", "SETTINGS"),
        _table("agent.steps", "STEPS"),
        _table("agent.init", "SYSTEMS"),
    )


def toml(value: bool | int | str | tuple[str, ...]) -> str:
    """Return a default as TOML writes it: `true`, `10`, `"auto"`, `["adm", "sudo"]`."""
    # JSON's literals of these types are TOML's, too.
    return json.dumps(value, ensure_ascii=False)


def _table(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


# Remove from here on once agent/ has SETTINGS, STEPS, SYSTEMS and EXIT_STATUSES.


@dataclasses.dataclass(frozen=True)
class _Setting:
    name: str
    default: Any
    sentence: str
    takes: str = ""


def _of_older_agent() -> Tables:
    """Take the settings from azready.toml and its comments, and no steps and init systems."""
    text = (toolchain.TOP / "dist-config" / "azready.toml").read_text()
    settings, table, comment = [], "", ""
    for line in text.partition("\n\n")[2].splitlines():
        if line.startswith("#"):
            comment += line.removeprefix("#").strip() + " "
        elif line.startswith("["):
            table, comment = line.strip("[]") + ".", ""
        elif line:
            ((key, default),) = tomllib.loads(line).items()
            default = tuple(default) if isinstance(default, list) else default
            own = line.partition("  # ")[2]
            settings.append(_Setting(table + key, default, (comment or own).strip() or "As above."))
        else:
            comment = ""
    codes = [line.split(maxsplit=1) for line in cli.EXIT_CODES.splitlines()[1:]]
    return Tables(cli.COMMANDS, cli.OPTIONS, [(int(code), text) for code, text in codes], settings)
