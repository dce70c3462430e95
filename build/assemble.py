"""What the freezers have in common: a working folder with the job for link.py in it, and the way of the result to its place."""

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
    """Where the sizes of what is inside a file are kept, for `scripts/build --report`."""
    return output.with_name(f".{output.name}.sizes.json")


@contextlib.contextmanager
def working_folder(freezer: str, machine: str) -> Iterator[pathlib.Path]:
    """An empty folder of the cache, ours alone until the end of the block."""
    with locked(f"{freezer}-work"):
        work = toolchain.cache_folder() / f"{freezer}-work-{machine}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work


def compiler(cpython: CPython, machine: str, library: pathlib.Path) -> list[str]:
    """The command that compiles C against the headers of CPython."""
    return [str(zig.tools(machine) / "cc"), *zig.CFLAGS, f"-I{cpython.unpacked() / 'Include'}", f"-I{library}"]


def write_job(work: pathlib.Path, cpython: CPython, machine: str, library: pathlib.Path, objects: Sequence[pathlib.Path]) -> None:
    """Leave in `work` what link.py must know: how to compile and to link, and the objects and archives that go into the file with the modules."""
    job = {
        "library": str(cpython.unpacked() / "Lib"),
        "compile": compiler(cpython, machine, library),
        "link": [str(zig.tools(machine) / "cc"), *zig.LDFLAGS],
        "inputs": [*map(str, objects), *(str(library / name) for name in cpython_build.ARCHIVES)],
    }
    (work / "link.json").write_text(json.dumps(job))


def publish(work: pathlib.Path, made: pathlib.Path, output: pathlib.Path) -> None:
    """Put the finished file in its place at once, with the sizes of what is inside beside it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    shutil.copyfile(made, partial)
    partial.chmod(0o755)
    shutil.copyfile(work / "sizes.json", sizes_file(output))
    partial.replace(output)
