"""Holds what the freezers share: the working folder with the job for link.py, and the publication
of the result.
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from build import cpython as cpython_build
from build import toolchain, zig
from build.cache import locked
from build.sources import CPython


def sizes_file(output: pathlib.Path) -> pathlib.Path:
    """Return the path of the sizes of what a file contains, for `scripts/build --report`."""
    return output.with_name(f".{output.name}.sizes.json")


@contextlib.contextmanager
def working_folder(freezer: str, machine: str) -> Iterator[pathlib.Path]:
    """Make an empty folder in the cache; hold its lock until the end of the block."""
    with locked(f"{freezer}-work"):
        work = toolchain.cache_folder() / f"{freezer}-work-{machine}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work


def compiler(cpython: CPython, machine: str, library: pathlib.Path) -> list[str]:
    """Return the command that compiles C against CPython's headers."""
    return [
        str(zig.tools(machine) / "cc"),
        *zig.CFLAGS,
        f"-I{cpython.unpacked() / 'Include'}",
        f"-I{library}",
    ]


def write_job(
    work: pathlib.Path,
    cpython: CPython,
    machine: str,
    library: pathlib.Path,
    objects: Sequence[pathlib.Path],
    *,
    behind: Sequence[pathlib.Path] = (),
    baked: Sequence[str] = (),
    apart: Sequence[str] = (),
) -> None:
    """Write link.json into `work` for link.py.

    It says how to compile and how to link, and which objects and archives are linked with the
    modules, in their order: `objects`, the library, those `behind` it. `baked` are
    the modules that the snapshot holds, besides the agent's without those in `apart`.
    """
    job = {
        "library": str(cpython.unpacked() / "Lib"),
        "compile": compiler(cpython, machine, library),
        "link": [str(zig.tools(machine) / "cc"), *zig.LDFLAGS],
        "inputs": [
            *map(str, objects),
            *(str(library / name) for name in cpython_build.ARCHIVES),
            *map(str, behind),
        ],
        "baked": list(baked),
        "apart": list(apart),
    }
    (work / "link.json").write_text(json.dumps(job))


def publish(work: pathlib.Path, made: pathlib.Path, output: pathlib.Path) -> None:
    """Move the finished file into place atomically, and the sizes of its parts next to it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    shutil.copyfile(made, partial)
    partial.chmod(0o755)
    shutil.copyfile(work / "sizes.json", sizes_file(output))
    partial.replace(output)
