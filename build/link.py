"""Runs under the pinned CPython, without the tools of the build: compiles modules to frozen code with its compiler, and links the runtime that holds
them. azready.spec calls it for the main freezer; for the other one it is run as a program. Standard library only.

What to link is in `link.json` of the working folder (assemble.py); where the bytes of the result come from is written to `sizes.json` there.
"""

import ast
import collections
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterable

from build import frozen, toolchain

_RUNTIME = pathlib.Path(__file__).parent / "runtime"
# Address, load address, size and alignment, then: one blank and an output section, or nine and an input section of an object.
_MAP_LINE = re.compile(r" *[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]+) +\d+ ( {8})?(\S.*)")
_NOT_LOADED = (".bss", ".tbss", ".relro_padding", ".comment", ".symtab", ".strtab", ".shstrtab", ".debug")


def excluded() -> list[str]:
    """What PyInstaller's Analysis need not look into: every module of the standard library that may not be in the file. Saves most of its time."""
    return sorted(set(sys.stdlib_module_names) - _allowed() - {"agent"})


def modules(names: Iterable[str], library: pathlib.Path) -> dict[str, pathlib.Path]:
    """The modules to freeze, name -> source: those of `names` that are the agent's or may be in the file, and what the interpreter itself needs.

    Raises SystemExit with one line if a module of ours imports what is not in the allow-lists, which the freezers would pass over in silence.
    """
    allowed = _allowed()
    found = {}
    for name in sorted({name for name in names if not name.startswith("encodings.")} | set(frozen.RUNTIME)):
        ours = name.partition(".")[0] == "agent"
        if not ours and name not in allowed:
            continue
        base = (toolchain.TOP if ours else library) / name.replace(".", "/")
        source = frozen.REPLACED.get(name) or (base / "__init__.py" if base.is_dir() else base.with_suffix(".py"))
        if source.exists():  # collections.abc has none: collections makes it
            found[name] = source
    check_imports()
    return found


def _allowed() -> set[str]:
    return frozen.allowed("allowed-modules") | frozen.allowed("allowed-builtins")


def check_imports(folder: pathlib.Path = toolchain.TOP / "agent") -> None:
    """Raises SystemExit with one line if a module below `folder` imports what is not in the allow-lists."""
    allowed = _allowed()
    for source in sorted(folder.rglob("*.py")):
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


def link(names: Iterable[str], work: pathlib.Path) -> pathlib.Path:
    """The static runtime with the modules of `names` inside, in the working folder. Raises CalledProcessError, SystemExit if compiler or linker refuse."""
    job = json.loads((work / "link.json").read_text())
    found = modules(names, pathlib.Path(job["library"]))
    own = []
    for source in (frozen.write_table(found, work), _RUNTIME / "configuration.c"):
        own.append(str(work / f"{source.stem}.o"))
        subprocess.run([*job["compile"], "-c", str(source), "-o", own[-1]], check=True)
    runtime = work / "runtime"
    # What is ours stands before libpython, whose own tables and search for a library are then not linked in at all.
    command = [*job["link"], "-Wl,--print-map", "-o", str(runtime), *own, *job["inputs"], "-lm"]
    linked = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if linked.returncode:
        raise SystemExit(f"{command[0]} ended with {linked.returncode}: {linked.stdout[-3000:]}")
    sizes = {"objects": by_object(linked.stdout), "modules": frozen.sizes(work)}
    (work / "sizes.json").write_text(json.dumps(sizes))
    return runtime


def by_object(link_map: str) -> dict[str, int]:
    """The bytes that each object put into the file, largest first, from a map of LLVM's linker."""
    sizes: collections.Counter[str] = collections.Counter()
    section = ""
    for line in link_map.splitlines():
        match = _MAP_LINE.fullmatch(line)
        if match is None:
            continue
        size, nested, name = match.groups()
        if not nested:
            section = name
        elif not section.startswith(_NOT_LOADED) and ":(" in name:
            archive, _, member = name.partition(":(")[0].partition("(")
            sizes["/".join(pathlib.Path(part).name for part in (archive, member.removesuffix(")")) if part)] += int(size, 16)
    return dict(sizes.most_common())


if __name__ == "__main__":
    # The agent's own modules are compiled by then; what they may import is all that is frozen.
    link(frozen.allowed("allowed-modules"), pathlib.Path(sys.argv[1]))
