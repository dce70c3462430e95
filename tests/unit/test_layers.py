"""Imports of the agent run one way, and its pure rooms import nothing but pure modules."""

import ast
import pathlib
from collections.abc import Iterator

TOP = pathlib.Path(__file__).parents[2]
# A module imports its own layer and those below it; types alone may be named upwards.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"commands"},
    {"settings"},
    {"steps"},
    {"sshd", "account_faults"},
    {"boot", "accounts", "init"},
    {"azure", "machine", "profile", "change", "account_lock", "account_tools"},
    {"programs", "root", "lock"},
    {"walk", "tree", "staging"},
    {"files"},
    {"protocol", "formats"},
    {"errors", "record", "log", "signals", "notify", "nearness"},
)
# No file has more lines than this, but for a reason.
LONGEST = 300
LONG = {
    "cli.py": "a third of it is the tables of commands and options",
    "root.py": "one class, a method for each thing that can be done to a path",
    "settings.py": "a third of it is the table of the settings",
    "commands/check.py": "one function per question, in the order of the answers",
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(file: pathlib.Path) -> Iterator[str]:
    """The rooms of the agent that a file imports when it runs."""
    tree = ast.parse(file.read_bytes())
    types = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    ]
    skipped = {id(inner) for node in types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.ImportFrom):
            continue
        if node.module == "agent":
            yield from (alias.name for alias in node.names if alias.name != "__version__")
        elif node.module and node.module.startswith("agent."):
            yield node.module.split(".")[1]


def test_imports_run_one_way() -> None:
    for file in (TOP / "agent").rglob("*.py"):
        room = file.relative_to(TOP / "agent").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imports(file):
            assert LEVEL[room] <= LEVEL[other], f"{file} imports agent.{other}"


def test_every_room_has_its_layer() -> None:
    rooms = {
        path.name.removesuffix(".py")
        for path in (TOP / "agent").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == set(LEVEL)


def test_a_long_file_has_its_reason() -> None:
    lines = {
        str(file.relative_to(TOP / "agent")): file.read_text().count("\n")
        for file in (TOP / "agent").rglob("*.py")
    }
    assert {name for name, count in lines.items() if count > LONGEST} == set(LONG)
