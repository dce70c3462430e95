"""Shows where the bytes of a file come from: by part, by object, by frozen module."""

import collections
import json
import pathlib
from collections.abc import Iterator

from rich.table import Table

from build.assemble import sizes_file

_ROWS = 25
# What an object belongs to, by how its name starts. The rest is the agent as Nuitka compiled it, or
# PyInstaller's bootloader.
_PARTS = (
    ("libpython3.13.a", "CPython"),
    *((f"{name}.o", "CPython") for name in ("pystate", "pyexpat", "pytime", "socketmodule")),
    *((f"{name}.o", "snapshot: code") for name in ("heap", "dump", "resume", "rehearsal")),
    *(
        (f"{name}.o", "snapshot: code")
        for name in ("nothreads", "nocompiler", "modules", "begin", "end")
    ),
    ("libexpat", "expat"),
    ("libHacl", "HACL* (SHA-2)"),
    ("libc.a", "musl"),
    ("libcompiler_rt", "compiler-rt"),
    ("crt1", "musl"),
    ("module.agent", "agent (compiled)"),
    ("__", "agent (compiled)"),
    ("constants", "agent (compiled)"),
    ("CompiledFunctionType", "Nuitka's runtime"),
    ("<internal>", "merged strings"),
)


def tables(file: pathlib.Path) -> Iterator[Table]:
    """Yield the tables of a built file, from `sizes_file`."""
    sizes = json.loads(sizes_file(file).read_text())
    total = file.stat().st_size
    for heading, column in (
        ("part", _by_part(sizes, total)),
        ("object", sizes["objects"]),
        ("frozen module", sizes["modules"]),
    ):
        result = Table(title=f"{file.name}, {total:,} bytes, by {heading}", min_width=60)
        result.add_column(heading)
        result.add_column("bytes", justify="right")
        result.add_column("share", justify="right")
        for name, size in _shortened(column):
            result.add_row(name, f"{size:,}", f"{size / total:.1%}")
        yield result


def _by_part(sizes: dict[str, dict[str, int]], total: int) -> dict[str, int]:
    parts: collections.Counter[str] = collections.Counter()
    for name, size in sizes["objects"].items():
        if name != "frozen.o":
            parts[
                next(
                    (part for start, part in _PARTS if name.startswith(start)), "program around it"
                )
            ] += size
    for name, size in sizes["modules"].items():
        parts[
            "agent (frozen)" if name.partition(".")[0] == "agent" else "standard library (frozen)"
        ] += size
    parts["snapshot: heap"] = sizes.get("snapshot", {}).get("heap", 0)
    parts["headers, padding, archive"] = total - sum(parts.values())
    return dict(parts.most_common())


def _shortened(sizes: dict[str, int], rows: int = _ROWS) -> list[tuple[str, int]]:
    items = list(sizes.items())
    rest = items[rows:]
    return items[:rows] + ([(f"{len(rest)} others", sum(size for _, size in rest))] if rest else [])
