"""The main freezer: PyInstaller, with its unmodified bootloader linked statically with CPython and all modules frozen into the executable.

How it holds together: PyInstaller's Analysis finds the modules (azready.spec); they are compiled into a table of frozen modules (build/frozen.py),
which is linked with libpython and the bootloader (link.py, loader.c); PyInstaller's EXE appends its archive, which holds nothing but boot.py and the
entry script, so the bootloader runs it in place and unpacks nothing. The version is pinned because internals are used: `EXE._bootloader_file`,
`api.is_linux`, `PYZ.dependencies`.
"""

import inspect
import pathlib
import re
import shutil
import sys

from build import cpython as cpython_build
from build import sources, toolchain
from build.cache import BuildError, key, locked, made, run

HERE = pathlib.Path(__file__).parent
TOP = HERE.parent.parent

# What bootloader/wscript would find out about musl.
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
_REDIRECTED_MAIN = {"execvp": "azready_execvp", "pyi_utils_set_library_search_path": "azready_set_library_search_path"}


def freeze(cpython: sources.CPython, machine: str, output: pathlib.Path) -> None:
    """Make the static file for `machine` at `output`. Raises BuildError."""
    python = cpython_build.interpreter(cpython)
    library = cpython_build.library(cpython, machine, python)
    objects = _bootloader(cpython, machine, library)
    packages = _packages()
    with locked("pyinstaller"):
        _assemble(cpython, machine, output, {"python": python, "library": library, "objects": objects, "packages": packages})


def _assemble(cpython: sources.CPython, machine: str, output: pathlib.Path, parts: dict[str, pathlib.Path]) -> None:
    work = toolchain.cache_folder() / f"pyinstaller-work-{machine}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    version = toolchain.pins()["pyinstaller"]["version"]
    (work / "boot.py").write_text((HERE / "boot.py").read_text().replace("@FREEZER@", f"PyInstaller {version}"))
    environment = {
        **cpython_build.zig_environment(),
        "AZREADY_TOP": str(TOP),
        "AZREADY_WORK": str(work),
        "AZREADY_LIBRARY": str(cpython.unpacked() / "Lib"),
        "AZREADY_CPYTHON": str(parts["library"]),
        "AZREADY_ARCHIVES": " ".join(cpython_build.ARCHIVES),
        "AZREADY_BOOTLOADER": str(parts["objects"]),
        "AZREADY_CC": str(cpython_build.zig_tools(toolchain.ZIG_TARGETS[machine]) / "cc"),
        "AZREADY_CFLAGS": " ".join(cpython_build.CFLAGS),
        "AZREADY_LDFLAGS": " ".join(cpython_build.LDFLAGS),
        "PYTHONPATH": str(parts["packages"]),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYINSTALLER_CONFIG_DIR": str(work / "config"),
    }
    places = [f"--distpath={work / 'dist'}", f"--workpath={work / 'build'}"]
    run([parts["python"], "-m", "PyInstaller", "--noconfirm", *places, HERE / "azready.spec"], log=work / "log", cwd=work, env=environment)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    shutil.copyfile(work / "dist" / "azready", partial)
    partial.chmod(0o755)
    partial.replace(output)


def _packages() -> pathlib.Path:
    """PyInstaller and what it needs, as a folder for PYTHONPATH."""
    text = toolchain.requirements(toolchain.pins()["freezer"])

    def install(place: pathlib.Path) -> None:
        requirements = place / "requirements.txt"
        requirements.write_text(text)
        options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version=3.13", "--no-compile", "--disable-pip-version-check"]
        run([sys.executable, "-m", "pip", "install", *options, f"--target={place}", "-r", requirements], log=place / "log")

    return made("pyinstaller", key(text), install)


def _bootloader(cpython: sources.CPython, machine: str, library: pathlib.Path) -> pathlib.Path:
    """A folder with the object files of the bootloader, its inflate, and loader.c."""
    tree = sources.bootloader()
    cc = cpython_build.zig_tools(toolchain.ZIG_TARGETS[machine]) / "cc"
    redirected = [f"-D{name}=azready_{name}" for name in _REDIRECTED]
    redirected_main = [f"-D{name}={new}" for name, new in _REDIRECTED_MAIN.items()]

    def compile_all(place: pathlib.Path) -> None:
        (place / "symbols.inc").write_text(_symbols(tree / "src" / "pyi_dylib_python.h"))
        flags = [
            *cpython_build.CFLAGS,
            *(f"-D{define}" for define in _DEFINES),
            f"-ffile-prefix-map={tree}=bootloader",
            f"-I{tree / 'src'}",
            f"-I{tree / 'zlib'}",
            f"-I{place}",
        ]
        python = [f"-I{cpython.unpacked() / 'Include'}", f"-I{library}"]
        for source in sorted([*(tree / "src").glob("*.c"), *(tree / "zlib").glob("*.c"), HERE / "loader.c"]):
            extra = python if source.name == "loader.c" else redirected + (redirected_main if source.name == "pyi_main.c" else [])
            run([cc, *flags, *extra, "-c", source, "-o", place / f"{source.stem}.o"], log=place / "log", env=cpython_build.zig_environment())

    inputs = key(
        inspect.getsource(_bootloader), HERE / "loader.c", toolchain.pins()["pyinstaller"]["sha256"], library.name, *_DEFINES, *_REDIRECTED, *_REDIRECTED_MAIN
    )
    return made(f"bootloader-{machine}", inputs, compile_all)


def _symbols(header: pathlib.Path) -> str:
    """The functions that the bootloader resolves at run time and CPython 3.13 has, as SYMBOL(name) lines."""
    names = re.findall(r"^PYI_EXT_FUNC_PROTO\([^,]+,\s*(\w+)", header.read_text(), re.MULTILINE)
    if not names:
        raise BuildError(f"{header} lists no function: is this the pinned PyInstaller?")
    # PyInitConfig is API of CPython 3.14.
    return "".join(f"SYMBOL({name})\n" for name in sorted(set(names)) if "InitConfig" not in name)
