"""Compiles modules to frozen code and links the runtime that contains them.

Runs under the pinned CPython, with the standard library only. azready.spec calls it for
PyInstaller; for Nuitka it runs as a program. `link.json` in the working folder says what to link
(assemble.py); `sizes.json` there receives the sizes of the parts.
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
# Address, load address, size and alignment; then one space and an output section, or nine and an
# input section of an object.
_MAP_LINE = re.compile(r" *[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]+) +\d+ ( {8})?(\S.*)")
_NOT_LOADED = (
    ".bss",
    ".azarena",
    ".tbss",
    ".relro_padding",
    ".comment",
    ".symtab",
    ".strtab",
    ".shstrtab",
    ".debug",
)


def excluded() -> list[str]:
    """Return the modules that PyInstaller's Analysis can skip, which saves most of its time.

    They are those of the standard library that the file must not contain.
    """
    return sorted(set(sys.stdlib_module_names) - _allowed() - {"agent"})


def modules(names: Iterable[str], library: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return the modules to freeze, name -> source file.

    They are those of `names` that belong to the agent or are on the allow-lists, and what the
    interpreter needs. Raises SystemExit with one line if a module of the agent imports anything
    else: the freezers would skip it silently.
    """
    allowed = _allowed()
    found = {}
    for name in sorted(
        {name for name in names if not name.startswith("encodings.")} | set(frozen.RUNTIME)
    ):
        ours = name.partition(".")[0] == "agent"
        if not ours and name not in allowed:
            continue
        base = (toolchain.TOP if ours else library) / name.replace(".", "/")
        source = frozen.REPLACED.get(name) or (
            base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        )
        if source.exists():  # collections.abc has no source: collections creates it
            found[name] = source
    check_imports()
    return found


def _allowed() -> set[str]:
    return frozen.allowed("allowed-modules") | frozen.allowed("allowed-builtins")


def check_imports(folder: pathlib.Path = toolchain.TOP / "agent") -> None:
    """Raise SystemExit with one line if a module below `folder` imports a forbidden module.

    A module is forbidden if it is not on the allow-lists.
    """
    allowed = _allowed()
    for source in sorted(folder.rglob("*.py")):
        for node in ast.walk(_without_type_checking(ast.parse(source.read_bytes()))):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            imports = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
            for name in imports:
                if name.partition(".")[0] != "agent" and name not in allowed:
                    raise SystemExit(
                        f"{source.name} line {node.lineno} imports {name}, which is not in "
                        "build/allowed-modules: avoid it, or add it and check size and start-up"
                    )


def _without_type_checking(tree: ast.Module) -> ast.Module:
    tree.body = [
        node
        for node in tree.body
        if not (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        )
    ]
    return tree


def link(names: Iterable[str], work: pathlib.Path) -> pathlib.Path:
    """Link the static runtime with the modules of `names` in it; return its path.

    Raises CalledProcessError if the compiler fails, SystemExit if the linker does.
    """
    job = json.loads((work / "link.json").read_text())
    found = modules(names, pathlib.Path(job["library"]))
    own = []
    baked = {
        name
        for name in found
        if job["baked"]
        and name not in job["apart"]
        and (name in job["baked"] or name.partition(".")[0] == "agent")
    }
    table = frozen.write_table(found, work, baked)
    for source in (table, _RUNTIME / "configuration.c"):
        own.append(str(work / f"{source.stem}.o"))
        subprocess.run([*job["compile"], "-c", str(source), "-o", own[-1]], check=True)
    runtime = work / "runtime"
    # Our objects come before libpython, so that its own tables and its search for a library are not
    # linked in.
    command = [*job["link"], "-Wl,--print-map", "-o", str(runtime), *own, *job["inputs"], "-lm"]
    linked = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if linked.returncode:
        status = f"{command[0]} exited with status {linked.returncode}"
        raise SystemExit(f"{status}: {linked.stdout[-3000:]}")
    sizes = {"objects": by_object(linked.stdout), "modules": frozen.sizes(work)}
    (work / "sizes.json").write_text(json.dumps(sizes))
    (work / "map").write_text(linked.stdout)
    return runtime


def by_object(link_map: str) -> dict[str, int]:
    """Return the bytes that each object adds to the file, largest first.

    `link_map` is a map of LLVM's linker.
    """
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
            sizes[
                "/".join(
                    pathlib.Path(part).name for part in (archive, member.removesuffix(")")) if part
                )
            ] += int(size, 16)
    return dict(sizes.most_common())


if __name__ == "__main__":
    # Nuitka has compiled the agent's own modules by now; they may import all that is frozen.
    link(frozen.allowed("allowed-modules"), pathlib.Path(sys.argv[1]))
