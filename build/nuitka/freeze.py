"""The alternative freezer: Nuitka compiles the agent to C.

That C is compiled and linked with the very same static CPython and frozen modules. Nuitka generates
it (--generate-c-only) as an extension module of the package `agent`; its constants become one
binary that the assembler includes. Its own scons build supports only the machine that it runs on,
so zig compiles instead, for any machine. main.c is the program around it.
"""

import ast
import pathlib

from build import assemble, frozen, link, sources, toolchain, zig
from build import cpython as cpython_build
from build.cache import BuildError, run

HERE = pathlib.Path(__file__).parent

# What nuitka/build/SconsUtils.py and SconsCompilerSettings.py define for these options.
_DEFINES = (
    "_NUITKA_MODULE_MODE",
    "_NUITKA_FLAG_ISOLATED",
    "_NUITKA_CONSTANTS_FROM_INCBIN",
    "_NUITKA_NO_ASSERTS=1",
    "_NUITKA_NO_DOCSTRINGS=1",
    "__NUITKA_NO_ASSERT__",
)
# The annotations of classes stay: agent/record.py makes fields of them.
_OPTIONS = (
    "--mode=module",
    "--generate-c-only",
    "--include-package=agent",
    "--nofollow-imports",
    "--python-flag=isolated,no_docstrings,no_asserts,no_site",
    "--no-progressbar",
    "--disable-cache=all",
    "--assume-yes-for-downloads",
)
# The digest: see build/frozen.py.
_CONSTANTS = """\
/* {digest} */
#define INCBIN_PREFIX
#define INCBIN_STYLE INCBIN_STYLE_SNAKE
#define INCBIN_LOCAL
#define CONST_CONSTANT const
#include "nuitka/incbin.h"
INCBIN(constant_bin, "blobs/__constant.bin");
const unsigned char *getconstant_binData(void) {{ return constant_bin_data; }}
"""


def freeze(cpython: sources.CPython, machine: str, output: pathlib.Path) -> None:
    """Build the static file for `machine` at `output`.

    Raises BuildError.
    """
    python = cpython_build.interpreter(cpython)
    library = cpython_build.library(cpython, machine, python)
    nuitka = sources.released("nuitka")
    try:
        link.check_imports()
    except SystemExit as error:
        raise BuildError(str(error)) from None
    with assemble.working_folder("nuitka", machine) as work:
        generated = _generate(nuitka, python, work)
        objects = _compile(
            nuitka / "nuitka" / "build",
            generated,
            assemble.compiler(cpython, machine, library),
            work,
        )
        assemble.write_job(work, cpython, machine, library, objects)
        run(
            [python, "-m", "build.link", work],
            log=work / "log",
            env={**zig.environment(), "PYTHONPATH": str(toolchain.TOP)},
        )
        assemble.publish(work, work / "runtime", output)


def _unannotated(package: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    """Copy a package to `place` without the annotations of its functions and variables."""
    for source in package.rglob("*.py"):
        copy = place / source.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(ast.unparse(frozen.unannotated(ast.parse(source.read_bytes()))))
    return place


def _generate(nuitka: pathlib.Path, python: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """Return the folder with the C of the agent, and its constants in blobs/."""
    environment = {
        **zig.environment(),
        "PYTHONPATH": str(nuitka),
        "NUITKA_PACKAGE_HOME": str(nuitka),
        "NUITKA_CACHE_DIR": str(work / "cache"),
    }
    log = work / "log"
    agent = _unannotated(toolchain.TOP / "agent", work / "source" / "agent")
    run(
        [python, "-m", "nuitka", *_OPTIONS, f"--output-dir={work}", agent],
        log=log,
        cwd=work,
        env=environment,
    )
    generated = work / "agent.build"
    blobs = generated / "blobs"
    blobs.mkdir()
    composer = nuitka / "nuitka" / "tools" / "data_composer"
    run(
        [python, composer, generated, blobs / "__constant.bin", blobs / "__constant.txt"],
        log=log,
        cwd=work,
        env=environment,
    )
    return generated


def _compile(
    nuitka: pathlib.Path, generated: pathlib.Path, compiler: list[str], work: pathlib.Path
) -> list[pathlib.Path]:
    """Return the object files of the agent, of Nuitka's runtime and of main.c."""
    (generated / "build_definitions.h").write_text("")
    (generated / "constants.c").write_text(
        _CONSTANTS.format(digest=toolchain.sha256(generated / "blobs" / "__constant.bin"))
    )
    version = toolchain.pins()["nuitka"]["version"]
    command = [
        *compiler,
        "-w",
        *(
            f"-I{folder}"
            for folder in (
                generated,
                nuitka / "include",
                nuitka / "static_src",
                nuitka / "inline_copy" / "zlib",
            )
        ),
        f"-I{compiler[-2].removeprefix('-I')}/internal",
        *(f"-D{define}" for define in _DEFINES),
        f'-DAZREADY_NUITKA="{version}"',
        f"-ffile-prefix-map={nuitka}=nuitka",
        f"-ffile-prefix-map={generated}=generated",
        f"-ffile-prefix-map={HERE}=azready",
    ]
    files = [
        *generated.glob("*.c"),
        nuitka / "static_src" / "CompiledFunctionType.c",
        HERE / "main.c",
    ]
    extra = {"module.agent": ["-DpatchInspectModule=azready_leave_inspect_alone"]}
    objects = work / "objects"
    objects.mkdir()
    zig.compile_all(
        {
            f"{file.stem}.o": [*command, *extra.get(file.stem, []), "-c", file]
            for file in sorted(files)
        },
        objects,
    )
    return sorted(objects.glob("*.o"))
