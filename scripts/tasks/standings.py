"""What a race measured, and the tables of it."""

import dataclasses
import json
import pathlib
import statistics

from rich.table import Table

EVENTS = ("init", "link", "address", "metadata", "user", "host keys", "Ready", "login")
FIRST = "azready"
_COLUMNS = (
    "reporter",
    "Ready, s",
    "login, s",
    "azready's share of it",
    "packages",
    "MB in the image",
    "MB in use at login",
    "processes left",
)


@dataclasses.dataclass(frozen=True)
class Boot:
    """One boot: `events` are seconds, `memory` is what is in use at the login, in megabytes.

    Without any events, it ended in no login or no Ready.
    """

    contender: str
    keys: bool
    events: dict[str, float]
    memory: float


@dataclasses.dataclass(frozen=True)
class Added:
    """What a contender adds: packages and bytes in the image, processes once the boot is over."""

    packages: int
    size: int
    left: tuple[str, ...]


@dataclasses.dataclass
class Record:
    """All that a race measured: `keys` of a boot says whether its image has SSH host keys."""

    boots: list[Boot] = dataclasses.field(default_factory=list)
    added: dict[str, Added] = dataclasses.field(default_factory=dict)
    about: str = ""

    @property
    def names(self) -> list[str]:
        """The contenders, in the order of their first boot."""
        return list(dict.fromkeys(one.contender for one in self.boots))

    def of(self, name: str, *, keys: bool) -> list[Boot]:
        """Return the boots of a contender in one kind of image."""
        return [one for one in self.boots if (one.contender, one.keys) == (name, keys)]

    def times(self, name: str, event: str, *, keys: bool) -> list[float]:
        """Return the times of an event, of the boots that have it, in seconds."""
        return [one.events[event] for one in self.of(name, keys=keys) if event in one.events]

    def median(self, name: str, event: str, *, keys: bool) -> float | None:
        """Return the median of an event's times, None if fewer than half of the boots have it."""
        times = self.times(name, event, keys=keys)
        boots = self.of(name, keys=keys)
        return statistics.median(times) if times and 2 * len(times) >= len(boots) else None

    def share(self, name: str, event: str, *, keys: bool) -> float | None:
        """Return which part of this contender's time azready takes, as a ratio of medians."""
        ours = self.median(FIRST, event, keys=keys)
        theirs = self.median(name, event, keys=keys)
        return ours / theirs if ours and theirs else None

    def write(self, place: pathlib.Path) -> None:
        """Write all of it as JSON."""
        place.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read(place: pathlib.Path) -> Record:
    """Return what Record.write() wrote."""
    values = json.loads(place.read_text())
    added = {
        name: Added(one["packages"], one["size"], tuple(one["left"]))
        for name, one in values["added"].items()
    }
    return Record([Boot(**one) for one in values["boots"]], added, values["about"])


def titles(record: Record) -> dict[bool, str]:
    """Return the headings of the two kinds of image, of those that were booted."""
    kinds = {False: "image without SSH host keys", True: "image with SSH host keys"}
    return {keys: title for keys, title in kinds.items() if keys in {b.keys for b in record.boots}}


def rows(record: Record, *, keys: bool) -> list[list[str]]:
    """Return the cells of a table, one row for each contender."""
    return [_row(record, name, keys=keys) for name in record.names if record.of(name, keys=keys)]


def table(record: Record, *, keys: bool) -> Table:
    """Return the table for the terminal."""
    shown = Table(title=f"{titles(record)[keys]}: median (fastest to slowest)")
    for column in _COLUMNS:
        shown.add_column(column)
    for row in rows(record, keys=keys):
        shown.add_row(*row)
    return shown


def markdown(record: Record, command: str) -> str:
    """Return the tables as a page, with the command that makes them again."""
    parts = ["# The race\n", f"{record.about}\n", f"```\n{command}\n```\n"]
    for keys, title in titles(record).items():
        lines = [_COLUMNS, ["---"] * len(_COLUMNS), *rows(record, keys=keys)]
        cells = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## {title[:1].upper()}{title[1:]}\n\n{cells}\n")
    return "\n".join(parts)


def _row(record: Record, name: str, *, keys: bool) -> list[str]:
    added = record.added[name]
    memory = [one.memory for one in record.of(name, keys=keys) if one.events]
    shares = [record.share(name, event, keys=keys) for event in ("Ready", "login")]
    return [
        name,
        _spread(record.times(name, "Ready", keys=keys)),
        _spread(record.times(name, "login", keys=keys)),
        " / ".join(f"{share:.2f}" if share else "-" for share in shares) if name != FIRST else "",
        str(added.packages),
        f"{added.size / 1e6:.1f}",
        f"{statistics.median(memory):.0f}" if memory else "-",
        str(len(added.left)),
    ]


def _spread(times: list[float]) -> str:
    middle = statistics.median(times) if times else 0
    return f"{middle:.1f} ({min(times):.1f} to {max(times):.1f})" if times else "-"
