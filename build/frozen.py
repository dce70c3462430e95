"""Turns Python modules into one table of frozen code that replaces CPython's own.

Runs under an interpreter of the same version, whose compiler it uses. All code is compiled without
docstrings and assertions. The table is C for the linker; the code is one binary that the assembler
includes, because compiling megabytes of initialisers would take minutes.
"""

import hashlib
import marshal
import pathlib
import re
from collections.abc import Mapping

# What the interpreter imports before the agent's first line runs (Python/pylifecycle.c,
# Python/codecs.c).
RUNTIME = ("encodings", "importlib._bootstrap", "importlib._bootstrap_external", "io")
_HERE = pathlib.Path(__file__).parent
REPLACED = {
    "encodings": _HERE / "runtime" / "encodings.py",
    "importlib._bootstrap": _HERE / "runtime" / "importlib_bootstrap.py",
    "importlib._bootstrap_external": _HERE / "runtime" / "importlib_bootstrap_external.py",
    "io": _HERE / "runtime" / "io.py",
    "typing": _HERE / "runtime" / "typing.py",
}
_BOOTSTRAP = {
    "importlib._bootstrap": "_frozen_importlib",
    "importlib._bootstrap_external": "_frozen_importlib_external",
}

# The digest is for zig: it caches objects by the text of their source, and does not look into what
# the assembler includes.
_HEAD = """\
/* {digest} */
#include <stdbool.h>
#include <Python.h>
/* Include/internal/pycore_import.h */
struct _module_alias {{ const char *name; const char *orig; }};
__asm__(
  ".section .rodata\\n.balign 16\\n.global azready_code\\nazready_code:\\n"
  ".incbin \\"{code}\\"\\n.previous\\n"
);
extern const unsigned char azready_code[];
"""
_TAIL = """\
static const struct _module_alias aliases[] = {
  { "_frozen_importlib", "importlib._bootstrap" },
  { "_frozen_importlib_external", "importlib._bootstrap_external" },
  { 0 }
};
static const struct _frozen none[] = { { 0 } };
const struct _frozen *_PyImport_FrozenBootstrap = bootstrap;
const struct _frozen *_PyImport_FrozenStdlib = modules;
const struct _frozen *_PyImport_FrozenTest = none;
const struct _module_alias *_PyImport_FrozenAliases = aliases;
const struct _frozen *PyImport_FrozenModules = 0;
"""


def allowed(name: str) -> set[str]:
    """Return the module names of an allow-list: "allowed-modules" or "allowed-builtins"."""
    return set((_HERE / name).read_text().split())


def sizes(folder: pathlib.Path) -> dict[str, int]:
    """Return the bytes of frozen code by module, largest first, from the table in `folder`."""
    rows = re.findall(r'\.name = "([^"]+)".*?\.size = (\d+)', (folder / "frozen.c").read_text())
    return dict(sorted(((name, int(size)) for name, size in rows), key=lambda row: -row[1]))


def write_table(modules: Mapping[str, pathlib.Path], folder: pathlib.Path) -> pathlib.Path:
    """Compile `modules` (name -> source file) and write the table into `folder`.

    `modules` includes those of RUNTIME. Returns the C file.
    """
    code = bytearray()
    rows: dict[str, list[str]] = {"bootstrap": [], "modules": []}
    for name, source in sorted(modules.items()):
        # The file name ends up in the code; the module's name is the same on every machine.
        compiled = marshal.dumps(
            compile(source.read_bytes(), f"{name}.py", "exec", dont_inherit=True, optimize=2)
        )
        code += bytes(-len(code) % 16)
        place = f".code = azready_code + {len(code)}, .size = {len(compiled)}"
        package = "true" if source.name == "__init__.py" else "false"
        table = "bootstrap" if name in _BOOTSTRAP else "modules"
        rows[table].append(
            f'  {{ .name = "{_BOOTSTRAP.get(name, name)}", {place}, .is_package = {package} }},\n'
        )
        code += compiled
    (folder / "frozen.bin").write_bytes(code)
    text = _HEAD.format(code=folder / "frozen.bin", digest=hashlib.sha256(code).hexdigest())
    for table, lines in rows.items():
        text += f"static const struct _frozen {table}[] = {{\n{''.join(lines)}  {{ 0 }}\n}};\n"
    (folder / "frozen.c").write_text(text + _TAIL)
    return folder / "frozen.c"
