"""Makes the snapshot: compiles what takes and resumes it, runs the file that PyInstaller made, and
puts the memory that this leaves into the static file.
"""

import inspect
import json
import pathlib
import shutil
import subprocess
import tempfile

from build import assemble, zig
from build import machine as emulation
from build.cache import BuildError, key, made
from build.frozen import BAKED_CODE
from build.snapshot import audit, image
from build.sources import CPython

HERE = pathlib.Path(__file__).parent
# Its order is the order of the variables in memory: "python" stands for the library.
_ORDER = (
    *("begin", "heap", "nothreads", "dump", "resume", "rehearsal", "nocompiler", "modules"),
    *("pystate", "pyexpat", "pytime", "socketmodule", "python", "end"),
)
# As CPython's own objects are compiled (BASECFLAGS of its Makefile).
_LIKE_CPYTHON = ("-std=c11", "-fwrapv", "-DNDEBUG", "-DPy_BUILD_CORE")
_FAST = {"heap": ("-O2",)}
_SECONDS = 120


def apart_modules() -> list[str]:
    """Return the modules of the agent that the snapshot does not hold."""
    return (HERE / "apart-modules").read_text().split()


def baked_modules() -> list[str]:
    """Return the modules of the standard library that the snapshot holds."""
    return (HERE / "baked-modules").read_text().split()


def objects(
    cpython: CPython, machine: str, library: pathlib.Path
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Return the object files to be linked in front of CPython's library, and those behind it."""
    tree = cpython.unpacked()

    def build(place: pathlib.Path) -> None:
        command = [
            *assemble.compiler(cpython, machine, library),
            *_LIKE_CPYTHON,
            f"-ffile-prefix-map={tree}=cpython",
            f"-ffile-prefix-map={HERE}=snapshot",
            f"-I{tree / 'Include' / 'internal'}",
            f"-I{tree}",
            *(f"-I{tree / 'Modules' / part}" for part in ("", "expat")),
        ]
        zig.compile_all(
            {
                f"{name}.o": [
                    *command,
                    "-O2" if name == "heap" else "-Os",
                    "-c",
                    HERE / f"{name}.c",
                ]
                for name in _ORDER
                if name != "python"
            },
            place,
        )

    recipe = [inspect.getsource(objects), *_ORDER, *_LIKE_CPYTHON, str(_FAST)]
    inputs = key(*recipe, library.name, *sorted(HERE.glob("*.[ch]")))
    place = made(f"snapshot-{machine}", inputs, build)
    at = _ORDER.index("python")
    before, behind = _ORDER[:at], _ORDER[at + 1 :]
    return [place / f"{name}.o" for name in before], [place / f"{name}.o" for name in behind]


def write_bake(work: pathlib.Path) -> None:
    """Write bake.py, the program of the file that PyInstaller makes, into the working folder."""
    text = (HERE / "bake.py").read_text()
    objects = (HERE / "baked-objects").read_text().split()
    for place, names in (
        ("@BAKED@", baked_modules()),
        ("@APART@", apart_modules()),
        ("@OBJECTS@", objects),
    ):
        text = text.replace(f'"{place}"', repr(names))
    (work / "bake.py").write_text(text)


def make(work: pathlib.Path, machine: str) -> pathlib.Path:
    """Return the static file, made of what link.py and PyInstaller left in the working folder.

    Raises BuildError.
    """
    output = work / "snapshot"
    shutil.copy(work / "dist" / "azready", work / "base")
    memory = bake(work / "base", work / BAKED_CODE, emulation.emulator(machine))
    (work / "memory").write_bytes(memory)
    output.write_bytes(checked(work))
    sizes = json.loads((work / "sizes.json").read_text())
    *_, heap, _ = (data for _, data in image.records(memory))
    sizes["snapshot"] = {"heap": len(heap.rstrip(b"\0"))}  # its last pages are not in the file
    (work / "sizes.json").write_text(json.dumps(sizes))
    return output


def checked(folder: pathlib.Path) -> bytes:
    """Return the static file, made of runtime, map and memory of a folder.

    Raises BuildError if what the snapshot holds is not what it should hold.
    """
    runtime, memory = ((folder / name).read_bytes() for name in ("runtime", "memory"))
    known = audit.variables((folder / "map").read_text())
    if misplaced := audit.misplaced(known):
        raise BuildError(f"on the wrong side of begin.o or end.o: {' '.join(misplaced)}")
    try:
        if new := audit.changed(known, runtime, memory) - audit.listed():
            raise BuildError(
                "the snapshot holds variables that are not on the list; look at them, then add "
                f"them to build/snapshot/{audit.LIST.name}: {' '.join(sorted(new))}"
            )
        return image.put(memory, runtime)
    except image.UnsuitableError as error:
        raise BuildError(f"the snapshot does not fit the file: {error}") from None


def parts(output: pathlib.Path) -> pathlib.Path:
    """Return the folder with what a built file was made of; the tests make it once more."""
    return output.with_name(f".{output.name}.snapshot")


def keep(work: pathlib.Path, output: pathlib.Path) -> None:
    """Copy what the snapshot was made of next to the file."""
    place = parts(output)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in ("base", BAKED_CODE, "runtime", "map", "memory"):
        shutil.copy(work / name, place)


def bake(file: pathlib.Path, code: pathlib.Path, emulator: str = "") -> bytes:
    """Run `file`, which PyInstaller made, with the frozen code it lacks; return its memory.

    The surroundings are always the same: name, environment, folder, kinds of the descriptors. With
    an `emulator`, a path, the file runs in it. Raises BuildError.
    """
    command = [emulator, "-0", "azready", str(file.absolute())] if emulator else ["azready"]
    with tempfile.TemporaryFile() as memory, open(code, "rb") as frozen:
        done = subprocess.run(
            command,
            executable=emulator or file.absolute(),
            env={},
            cwd="/",
            stdin=frozen,
            stdout=memory,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_SECONDS,
        )
        if done.returncode:
            raise BuildError(f"the file did not come up for its snapshot: {done.stderr[-3000:]}")
        memory.seek(0)
        return memory.read()
