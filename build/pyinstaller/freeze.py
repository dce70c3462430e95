"""The main freezer: PyInstaller, statically linked.

Its unmodified bootloader is linked with CPython, and all modules are frozen into the executable.
PyInstaller's Analysis finds the modules (azready.spec). They are compiled into a table of frozen
modules (build/frozen.py), which is linked with libpython and the bootloader (link.py, loader.c).
PyInstaller's EXE appends its archive. That contains only boot.py and the entry script, so the
bootloader runs in place and unpacks nothing.

The version is pinned because internals are used: `EXE._bootloader_file`, `api.is_linux`,
`PYZ.dependencies`.
"""

import inspect
import pathlib
import re
import sys

from build import assemble, sources, toolchain, zig
from build import cpython as cpython_build
from build.cache import BuildError, key, made, run
from build.snapshot import make

HERE = pathlib.Path(__file__).parent

# What bootloader/wscript finds out about musl.
_DEFINES = (
    "_REENTRANT",
    "_GNU_SOURCE",
    "NDEBUG",
    "HAVE_STDBOOL_H=1",
    "HAVE_UNSETENV=1",
    "HAVE_MKDTEMP=1",
    "HAVE_DIRNAME=1",
    "HAVE_BASENAME=1",
    "HAVE_WCSDUP=1",
)
_REDIRECTED = ("dlopen", "dlsym", "dlclose", "dlerror")
_REDIRECTED_MAIN = {
    "execvp": "azready_execvp",
    "pyi_utils_set_library_search_path": "azready_set_library_search_path",
}
_REDIRECTED_SNAPSHOT = ("realpath", "prctl")


def freeze(cpython: sources.CPython, machine: str, output: pathlib.Path) -> None:
    """Build the static file for `machine` at `output`, with a snapshot if it can have one.

    Raises BuildError.
    """
    _freeze(cpython, machine, output, snapshot=toolchain.has_snapshot(machine, "pyinstaller"))


def freeze_plain(cpython: sources.CPython, machine: str, output: pathlib.Path) -> None:
    """Build the static file without a snapshot. Raises BuildError."""
    _freeze(cpython, machine, output, snapshot=False)


def _freeze(
    cpython: sources.CPython, machine: str, output: pathlib.Path, *, snapshot: bool
) -> None:
    python = cpython_build.interpreter(cpython)
    library = cpython_build.library(cpython, machine, python, own_malloc=snapshot)
    bootloader = _bootloader(cpython, machine, library, snapshot=snapshot)
    objects = sorted(bootloader.glob("*.o"))
    packages = _packages()
    name = "pyinstaller" if snapshot else toolchain.PLAIN
    with assemble.working_folder(name, machine) as work:
        version = toolchain.pins()["pyinstaller"]["version"]
        (work / "boot.py").write_text(
            (HERE / "boot.py").read_text().replace("@FREEZER@", f"PyInstaller {version}")
        )
        if snapshot:
            before, behind = make.objects(cpython, machine, library)
            assemble.write_job(
                work,
                cpython,
                machine,
                library,
                [*objects, *before],
                behind=behind,
                baked=make.baked_modules(),
                apart=make.apart_modules(),
            )
            make.write_bake(work)
        else:
            assemble.write_job(work, cpython, machine, library, objects)
        environment = {
            **zig.environment(),
            "AZREADY_WORK": str(work),
            "PYTHONPATH": str(packages),
            "PYINSTALLER_CONFIG_DIR": str(work / "config"),
        }
        places = [f"--distpath={work / 'dist'}", f"--workpath={work / 'build'}"]
        run(
            [python, "-m", "PyInstaller", "--noconfirm", *places, HERE / "azready.spec"],
            log=work / "log",
            cwd=work,
            env=environment,
        )
        frozen = make.make(work, machine) if snapshot else work / "dist" / "azready"
        assemble.publish(work, frozen, output)
        if snapshot:
            make.keep(work, output)


def _packages() -> pathlib.Path:
    """Return a folder for PYTHONPATH with PyInstaller and its dependencies."""
    text = toolchain.requirements(toolchain.pins()["freezer"])

    def install(place: pathlib.Path) -> None:
        requirements = place / "requirements.txt"
        requirements.write_text(text)
        options = [
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "--python-version=3.13",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                *options,
                f"--target={place}",
                "-r",
                requirements,
            ],
            log=place / "log",
        )

    return made("pyinstaller", key(text), install)


def _bootloader(
    cpython: sources.CPython, machine: str, library: pathlib.Path, *, snapshot: bool
) -> pathlib.Path:
    """Return a folder with the object files of the bootloader, its inflate, and loader.c."""
    tree = sources.released("pyinstaller") / "bootloader"
    redirected = [f"-D{name}=azready_{name}" for name in _REDIRECTED]
    redirected_main = [f"-D{name}={new}" for name, new in _REDIRECTED_MAIN.items()]

    def compile_all(place: pathlib.Path) -> None:
        (place / "symbols.inc").write_text(_symbols(tree / "src" / "pyi_dylib_python.h"))
        with_python = [
            *assemble.compiler(cpython, machine, library),
            *(f"-D{define}" for define in _DEFINES),
        ]
        included = [
            f"-ffile-prefix-map={tree}=bootloader",
            f"-I{tree / 'src'}",
            f"-I{tree / 'zlib'}",
            f"-I{place}",
        ]
        extra = {"loader": [], "pyi_main": redirected + redirected_main}
        if snapshot:
            extra["loader"] = ["-DAZREADY_SNAPSHOT"]
            extra["main"] = [*redirected, "-Dmain=bootloader_main"]
            extra["pyi_main"] += [f"-D{name}=azready_{name}" for name in _REDIRECTED_SNAPSHOT]
        files = [*(tree / "src").glob("*.c"), *(tree / "zlib").glob("*.c"), HERE / "loader.c"]
        zig.compile_all(
            {
                f"{file.stem}.o": [
                    *with_python,
                    *included,
                    *extra.get(file.stem, redirected),
                    "-c",
                    file,
                ]
                for file in files
            },
            place,
        )

    inputs = key(
        inspect.getsource(_bootloader),
        HERE / "loader.c",
        toolchain.pins()["pyinstaller"]["sha256"],
        library.name,
        *_DEFINES,
        *_REDIRECTED,
        *_REDIRECTED_MAIN,
        str(snapshot),
        *_REDIRECTED_SNAPSHOT,
    )
    return made(f"bootloader-{machine}", inputs, compile_all)


def _symbols(header: pathlib.Path) -> str:
    """Return the functions that the bootloader resolves at run time as SYMBOL(name) lines.

    Those that CPython 3.13 lacks are left out.
    """
    names = re.findall(r"^PYI_EXT_FUNC_PROTO\([^,]+,\s*(\w+)", header.read_text(), re.MULTILINE)
    if not names:
        raise BuildError(f"{header} lists no function: is this the pinned PyInstaller?")
    # PyInitConfig is an API of CPython 3.14.
    return "".join(f"SYMBOL({name})\n" for name in sorted(set(names)) if "InitConfig" not in name)
