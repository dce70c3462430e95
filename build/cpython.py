"""Builds CPython twice from one source: a host interpreter and the static library of the file.

The host interpreter analyses and compiles. Both are the very same version, so the frozen bytecode
comes from the compiler that belongs to the runtime, and is the same on every machine. The library
is cross-compiled with zig for musl, with exactly the extension modules that `builtin-modules`
lists.
"""

import inspect
import os
import pathlib
import platform
import shutil
import subprocess

from build import packages, toolchain, zig
from build.cache import BuildError, key, made, run
from build.sources import CPython

HERE = pathlib.Path(__file__).parent
BUILTIN_MODULES = HERE / "builtin-modules"
# What is linked into the file from the library's folder, in the order that the linker needs.
ARCHIVES = ("libpython3.13.a", "Modules/expat/libexpat.a", "Modules/_hacl/libHacl_Hash_SHA2.a")
_CONFIGURE = ("--without-ensurepip", "--disable-test-modules", "--without-doc-strings")
# Answers that configure could only get by running a program of the other machine. Without the first
# one, strings are hashed with the weak FNV instead of SipHash.
_CROSS_ANSWERS = {
    "ac_cv_aligned_required": "no",
    "ac_cv_buggy_getaddrinfo": "no",
    "ac_cv_file__dev_ptmx": "yes",
    "ac_cv_file__dev_ptc": "no",
}
_COMPILER = {
    "apt-get": "gcc libc6-dev make zlib1g-dev libffi-dev",
    "dnf": "gcc make zlib-devel libffi-devel",
    "apk": "gcc musl-dev linux-headers make zlib-dev libffi-dev",
    "zypper": "gcc make zlib-devel libffi-devel",
    "pacman": "gcc make zlib libffi",
}


def interpreter(cpython: CPython) -> pathlib.Path:
    """Return the host interpreter.

    It has a shared library, because PyInstaller asks for one.
    """

    def build(place: pathlib.Path) -> None:
        _need_host_compiler()
        environment = {
            **zig.environment(),
            "CC": "cc",
            "CFLAGS": "-O1 -g0",
            "LDFLAGS": f"-Wl,-rpath,{place}",
        }
        log = place / "log"
        run(
            [cpython.unpacked() / "configure", "--enable-shared", f"--prefix={place}", *_CONFIGURE],
            cwd=place,
            log=log,
            env=environment,
        )
        run(["make", f"-j{os.cpu_count()}"], cwd=place, log=log, env=environment)

    inputs = key(inspect.getsource(interpreter), cpython.archive, platform.machine(), *_CONFIGURE)
    return made("cpython-host", inputs, build, hint="about 2 minutes") / "python"


def library(
    cpython: CPython, machine: str, host_python: pathlib.Path, *, own_malloc: bool = False
) -> pathlib.Path:
    """Return the folder of the static library for `machine`: pyconfig.h and ARCHIVES.

    With `own_malloc`, it has no allocator, and takes all memory from malloc().
    """
    options = (*_CONFIGURE, "--without-pymalloc") if own_malloc else _CONFIGURE
    target = toolchain.machines()[machine]["zig"]
    tools = zig.tools(machine)

    def build(place: pathlib.Path) -> None:
        (place / "Modules").mkdir()
        shutil.copy(BUILTIN_MODULES, place / "Modules" / "Setup.local")
        environment = {
            **zig.environment(),
            **_CROSS_ANSWERS,
            "CC": str(tools / "cc"),
            "AR": str(tools / "ar"),
            "RANLIB": str(tools / "ranlib"),
            # An absolute path; otherwise configure looks for a name with a prefix.
            "READELF": shutil.which("readelf") or "readelf",
            "CFLAGS": " ".join(zig.CFLAGS),
            "LDFLAGS": "-static",
            "LINKFORSHARED": " ",
            "PKG_CONFIG": "/bin/false",
        }
        # A relative path: the path of the sources ends up in the library, and must not tell where
        # that was built.
        configure = os.path.relpath(cpython.unpacked() / "configure", place)
        cross = [
            f"--host={target}",
            f"--build={platform.machine()}-linux-gnu",
            f"--with-build-python={host_python}",
        ]
        log = place / "log"
        run(
            [
                configure,
                *cross,
                "--disable-shared",
                "--prefix=/usr",
                "--without-mimalloc",
                *options,
            ],
            cwd=place,
            log=log,
            env=environment,
        )
        run(["make", f"-j{os.cpu_count()}", *ARCHIVES], cwd=place, log=log, env=environment)

    recipe = [
        inspect.getsource(library),
        target,
        *ARCHIVES,
        toolchain.pins()["tools"]["ziglang"][0],
        *zig.CFLAGS,
        *options,
        *_CROSS_ANSWERS,
    ]
    inputs = key(*recipe, cpython.archive, BUILTIN_MODULES)
    return made(f"cpython-{machine}", inputs, build, hint="about 2 minutes")


def _need_host_compiler() -> None:
    """Install a C compiler, make and headers if they are missing.

    Raises BuildError if that is not possible.
    """
    probe = "#include <zlib.h>\n#include <ffi.h>\nint main(void) { return 0; }\n"

    def complete() -> bool:
        if not (shutil.which("cc") and shutil.which("make") and shutil.which("readelf")):
            return False
        return (
            subprocess.run(
                ["cc", "-x", "c", "-fsyntax-only", "-"], input=probe, text=True, capture_output=True
            ).returncode
            == 0
        )

    if complete():
        return
    packages.install(_COMPILER)
    if not complete():
        raise BuildError(
            "a C compiler (cc), make, readelf or the headers of zlib or libffi are still missing"
        )
