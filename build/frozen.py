"""Turns Python modules into one table of frozen code that replaces CPython's own.

Runs under an interpreter of the same version, whose compiler it uses. All code is compiled without
docstrings, assertions and line numbers, because nothing prints a traceback. The agent's has no
annotations either, but for the fields of its records. The table is C for the linker; the code is
one binary that the assembler includes, because compiling megabytes of initialisers would take
minutes.
"""

import ast
import hashlib
import marshal
import pathlib
import re
from collections.abc import Collection, Mapping
from types import CodeType

# What the interpreter imports before the agent's first line runs (Python/pylifecycle.c,
# Python/codecs.c).
RUNTIME = ("encodings", "importlib._bootstrap", "importlib._bootstrap_external", "io")
_HERE = pathlib.Path(__file__).parent
REPLACED = {
    "collections": _HERE / "runtime" / "collections.py",
    "encodings": _HERE / "runtime" / "encodings.py",
    "importlib._bootstrap": _HERE / "runtime" / "importlib_bootstrap.py",
    "importlib._bootstrap_external": _HERE / "runtime" / "importlib_bootstrap_external.py",
    "io": _HERE / "runtime" / "io.py",
    "json": _HERE / "runtime" / "json.py",
    "reprlib": _HERE / "runtime" / "reprlib.py",
    "string": _HERE / "runtime" / "string.py",
    "typing": _HERE / "runtime" / "typing.py",
}
_BOOTSTRAP = {
    "importlib._bootstrap": "_frozen_importlib",
    "importlib._bootstrap_external": "_frozen_importlib_external",
}
# The code of what is in the snapshot is read from here while that is made, and not in the file.
BAKED_CODE = "baked.bin"

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
# Tells the table where the code of BAKED_CODE is (build/snapshot/dump.c).
_ATTACH = """
static const struct {{ struct _frozen *row; unsigned long at; }} attached[] = {{
{rows}  {{ 0 }}
}};
void frozen_attach(const unsigned char *code)
{{
    unsigned long at;
    for (at = 0; attached[at].row; at++)
        attached[at].row->code = code + attached[at].at;
}}
"""


def allowed(name: str) -> set[str]:
    """Return the module names of an allow-list: "allowed-modules" or "allowed-builtins"."""
    return set((_HERE / name).read_text().split())


def sizes(folder: pathlib.Path) -> dict[str, int]:
    """Return the bytes of frozen code by module, largest first, from the table in `folder`.

    What is in the snapshot has none.
    """
    row = r'\.name = "([^"]+)", \.code = azready_code \+ \d+, \.size = (\d+)'
    rows = re.findall(row, (folder / "frozen.c").read_text())
    return dict(sorted(((name, int(size)) for name, size in rows), key=lambda row: -row[1]))


def write_table(
    modules: Mapping[str, pathlib.Path], folder: pathlib.Path, baked: Collection[str] = ()
) -> pathlib.Path:
    """Compile `modules` (name -> source file) and write the table into `folder`.

    `modules` includes those of RUNTIME. The code of those in `baked` goes to the file BAKED_CODE of
    `folder`. Returns the C file.
    """
    code = bytearray()
    apart = bytearray()
    attached = ""
    rows: dict[str, list[str]] = {"bootstrap": [], "modules": []}
    for name, source in sorted(modules.items()):
        # The file name ends up in the code; the module's name is the same on every machine.
        tree = ast.parse(source.read_bytes())
        if name.partition(".")[0] == "agent":
            tree = unannotated(tree)
        compiled = marshal.dumps(
            _bare(compile(tree, f"{name}.py", "exec", dont_inherit=True, optimize=2))
        )
        package = "true" if source.name == "__init__.py" else "false"
        table = "bootstrap" if name in _BOOTSTRAP else "modules"
        into = apart if name in baked else code
        into += bytes(-len(into) % 16)
        place = f"azready_code + {len(into)}"
        if name in baked:
            attached += f"  {{ &{table}[{len(rows[table])}], {len(into)} }},\n"
            place = "0"
        into += compiled
        rows[table].append(
            f'  {{ .name = "{_BOOTSTRAP.get(name, name)}", .code = {place}, '
            f".size = {len(compiled)}, .is_package = {package} }},\n"
        )
    (folder / "frozen.bin").write_bytes(code)
    text = _HEAD.format(code=folder / "frozen.bin", digest=hashlib.sha256(code).hexdigest())
    constant = "" if baked else "const "
    for table, lines in rows.items():
        text += f"static {constant}struct _frozen {table}[] = {{\n{''.join(lines)}  {{ 0 }}\n}};\n"
    text += _TAIL
    if baked:
        (folder / BAKED_CODE).write_bytes(apart)
        text += _ATTACH.format(rows=attached)
    (folder / "frozen.c").write_text(text)
    return folder / "frozen.c"


def unannotated(tree: ast.Module) -> ast.Module:
    """Return a module without annotations, but for those of classes."""
    changed: ast.Module = _Unannotated().visit(tree)
    return ast.fix_missing_locations(changed)


def _bare(code: CodeType) -> CodeType:
    """Return code without line numbers, inner functions and classes included."""
    constants = (_bare(item) if isinstance(item, CodeType) else item for item in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=tuple(constants))


class _Unannotated(ast.NodeTransformer):
    """Removes the annotations of functions and variables, which cost every import time."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Keep the annotations of a class: agent.record reads them."""
        fields = {id(item): item for item in node.body if isinstance(item, ast.AnnAssign)}
        node.body = [item if id(item) in fields else self.visit(item) for item in node.body]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Remove those of parameters and result."""
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Remove that of a parameter."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        """Turn it into a plain assignment, or into nothing."""
        if node.value is None:
            return ast.Pass()
        return ast.Assign(targets=[node.target], value=node.value)
