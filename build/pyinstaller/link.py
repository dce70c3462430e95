"""Called from azready.spec, under the pinned CPython: what PyInstaller found goes through the freezer's own compiler and into the runtime. Standard
library only."""

import ast
import os
import pathlib
import subprocess
import sys
from typing import Any

from build import frozen


def excluded() -> list[str]:
    """What Analysis need not look into: every module of the standard library that may not be in the file. Saves most of its time."""
    return sorted(set(sys.stdlib_module_names) - _allowed() - {"agent"})


def modules(analysis: Any, top: pathlib.Path) -> dict[str, pathlib.Path]:
    """The modules to freeze, name -> source: what PyInstaller's Analysis lists and what the interpreter itself needs.

    Raises SystemExit with one line if a module of ours imports what is not in the allow-lists, which Analysis would pass over in silence.
    """
    library = pathlib.Path(os.environ["AZREADY_LIBRARY"])
    allowed = _allowed()
    # PyInstaller adds every codec; text is UTF-8 here.
    wanted = {name for name, _, _ in analysis.pure if not name.startswith("encodings.")} | set(frozen.RUNTIME)
    found = {}
    for name in sorted(wanted):
        ours = name.partition(".")[0] == "agent"
        if not ours and name not in allowed:
            continue
        base = (top if ours else library) / name.replace(".", "/")
        found[name] = frozen.REPLACED.get(name) or (base / "__init__.py" if base.is_dir() else base.with_suffix(".py"))
        if ours:
            _check_imports(found[name], allowed)
    return found


def _allowed() -> set[str]:
    return frozen.allowed("allowed-modules") | frozen.allowed("allowed-builtins")


def _check_imports(source: pathlib.Path, allowed: set[str]) -> None:
    for node in ast.walk(_without_type_checking(ast.parse(source.read_bytes()))):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for name in [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]:
            if name.partition(".")[0] != "agent" and name not in allowed:
                where = f"{source.name} line {node.lineno}"
                raise SystemExit(f"{where} imports {name}, which is not in build/allowed-modules: avoid it, or add it and look at size and start")


def _without_type_checking(tree: ast.Module) -> ast.Module:
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")]
    return tree


def link(found: dict[str, pathlib.Path], work: pathlib.Path) -> pathlib.Path:
    """The static runtime with the modules of `found` inside. Raises CalledProcessError if the compiler refuses."""
    cc = os.environ["AZREADY_CC"]
    cpython, objects = pathlib.Path(os.environ["AZREADY_CPYTHON"]), pathlib.Path(os.environ["AZREADY_BOOTLOADER"])
    table = frozen.write_table(found, work)
    runtime = work / "runtime"
    include = [f"-I{os.environ['AZREADY_LIBRARY']}/../Include", f"-I{cpython}"]
    subprocess.run([cc, *os.environ["AZREADY_CFLAGS"].split(), *include, "-c", str(table), "-o", str(work / "frozen.o")], check=True)
    # The table stands before libpython, whose own tables are then not linked in at all.
    inputs = [work / "frozen.o", *sorted(objects.glob("*.o")), *(cpython / name for name in os.environ["AZREADY_ARCHIVES"].split())]
    subprocess.run([cc, *os.environ["AZREADY_LDFLAGS"].split(), "-o", str(runtime), *map(str, inputs), "-lm"], check=True)
    return runtime
