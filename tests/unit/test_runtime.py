"""The modules that replace standard ones in the static file (build/runtime), run alone."""

import json
import pathlib
import runpy
import string
import subprocess
import sys
import tomllib
import types
from typing import Any

import pytest

from build import frozen
from tests.conftest import TOP

RUNTIME = pathlib.Path(frozen.__file__).parent / "runtime"


class Interpreter:
    """What the import system asks of _imp and sys.

    Modules are `built_in`, or frozen: name -> (source, whether it is a package).
    """

    def __init__(self, built_in: list[str], frozen_modules: dict[str, tuple[str, bool]]) -> None:
        self.meta_path: list[Any] = []
        self.modules: dict[str, Any] = {"_frozen_importlib_external": None}
        self._built_in = built_in
        self._frozen = frozen_modules
        self.system: dict[str, Any] = runpy.run_path(str(RUNTIME / "importlib_bootstrap.py"))
        self.system["_install"].__globals__.update(self.system)
        self.system["_install"](self, self)

    def __call__(self, name: str) -> Any:
        """Import `name`, its packages first, as Python/import.c does."""
        if name not in self.modules:
            self.system["_find_and_load"](name, self)
        return self.modules[name.partition(".")[0]]

    def is_builtin(self, name: str) -> int:
        return int(name in self._built_in)

    def create_builtin(self, spec: Any) -> types.ModuleType:
        return types.ModuleType(spec.name)

    def exec_builtin(self, module: types.ModuleType) -> None:
        module.executed = True  # type: ignore[attr-defined]

    def find_frozen(self, name: str) -> tuple[None, bool, str] | None:
        return (None, self._frozen[name][1], name) if name in self._frozen else None

    def get_frozen_object(self, name: str) -> types.CodeType:
        return compile(self._frozen[name][0], name, "exec")


MODULES = {
    "package": ("where = 1", True),
    "package.inner": ("where = 2", True),
    "package.inner.leaf": ("where = 3", False),
    "broken": ("raise ValueError('no')", False),
}


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    interpreter = Interpreter(["time_"], MODULES)
    # The replacement makes modules of the type that sys is of.
    monkeypatch.setitem(
        interpreter.system["_find_and_load"].__globals__, "type", lambda _: types.ModuleType
    )
    return interpreter


def test_a_frozen_module_is_imported_behind_its_packages(importing: Interpreter) -> None:
    package = importing("package.inner.leaf")
    assert (package.where, package.inner.where, package.inner.leaf.where) == (1, 2, 3)
    leaf = importing.modules["package.inner.leaf"]
    assert (leaf.__spec__.parent, leaf.__package__, leaf.__spec__.origin) == (
        "package.inner",
        "package.inner",
        "frozen",
    )
    assert (package.__path__, package.__spec__.parent) == ([], "package")
    assert not hasattr(leaf, "__path__")


def test_a_module_that_is_built_in_is_created_and_executed(importing: Interpreter) -> None:
    module = importing("time_")
    assert module.executed
    assert (module.__spec__.origin, module.__package__) == ("built-in", "")


def test_a_missing_module_is_named(importing: Interpreter) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'package\.none'") as caught:
        importing("package.none")
    assert caught.value.name == "package.none"
    assert "package" in importing.modules


def test_a_module_that_fails_leaves_nothing_behind(importing: Interpreter) -> None:
    with pytest.raises(ValueError, match="no"):
        importing("broken")
    assert "broken" not in importing.modules


def test_names_behind_from_are_looked_for_in_the_package(importing: Interpreter) -> None:
    package = importing("package")
    asked: list[str] = []

    def import_(name: str) -> Any:
        asked.append(name)
        return importing(name)

    assert (
        importing.system["_handle_fromlist"](package, ("where", "inner", "none", "*"), import_)
        is package
    )
    assert asked == ["package.inner", "package.none"]
    assert package.inner.where == 2


def test_another_finder_is_asked_for_what_is_neither(importing: Interpreter) -> None:
    """As the one of Nuitka, which knows the compiled modules."""

    class Finder:
        def find_spec(self, name: str, path: Any) -> Any:
            return (
                importing.system["ModuleSpec"](name, self, is_package=True)
                if name == "compiled"
                else None
            )

        def create_module(self, spec: Any) -> types.ModuleType:
            return types.ModuleType(spec.name)

        def exec_module(self, module: Any) -> None:
            module.by = self

    finder = Finder()
    importing.meta_path.append(finder)
    assert importing("compiled").by is finder


TOML = 'a = [1, 2.5, "three"]\nwhen = 2026-11-23T04:00:00Z\n[b.c]\nd = { e = true }\nf = """\ntext"""\n'


# Puts replacements into sys.modules, in the order of their names in `replaced`.
REPLACING = """
import importlib.util, sys
for name, path in replaced:
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
"""


def replacing(*names: str) -> str:
    """The start of a program that runs with these replacements."""
    return f"replaced = {[(name, str(RUNTIME / f'{name}.py')) for name in names]}\n{REPLACING}"


def run(program: str) -> list[str]:
    """The lines that a program prints, in an interpreter of its own."""
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, cwd=TOP
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_tomllib_reads_the_same_with_the_replacements() -> None:
    program = f"""
{replacing("collections", "reprlib", "string", "typing")}
import tomllib
print(repr(tomllib.loads({TOML!r})))
try:
    tomllib.loads("a = ")
except tomllib.TOMLDecodeError as error:
    print(error)
"""
    document, error = run(program)
    assert document == repr(tomllib.loads(TOML))
    assert "Invalid value" in error


def test_a_named_tuple_needs_no_compiler() -> None:
    program = f"""
{replacing("collections")}
import builtins
builtins.eval = builtins.exec = builtins.compile = None
from collections import namedtuple
Pair = namedtuple("Pair", ["left", "right"])
pair = Pair(1, "b")
print(pair, pair.left, pair.right, pair == (1, "b"), Pair._fields, hasattr(pair, "__dict__"))
try:
    Pair(1)
except TypeError as error:
    print(error)
"""
    assert run(program) == [
        "Pair(left=1, right='b') 1 b True ('left', 'right') False",
        "Pair takes 2 values, not 1",
    ]


VALUES: list[Any] = [
    {
        "schema": 1,
        "ok": False,
        "findings": [],
        "would": ['a\u2028"\n\x00', "\U0001f600"],
        "n": None,
    },
    [True, -12345678901234567890, {}, [[]], {"a": {"b": ["c"]}}, ("d",)],
    "text",
]


@pytest.mark.parametrize("value", VALUES)
def test_json_writes_what_the_standard_one_writes(value: Any) -> None:
    program = f"{replacing('json')}\nimport json\nprint(json.dumps({value!r}, indent=2))"
    assert "\n".join(run(program)) == json.dumps(value, indent=2)


def test_json_refuses_what_the_agent_never_writes() -> None:
    program = f"""
{replacing("json")}
import json
try:
    json.dumps([1.5], indent=2)
except TypeError as error:
    print(error)
"""
    assert run(program) == ["float is not JSON"]


def test_an_error_in_json_reads_as_the_standard_one() -> None:
    document = '{"a": 1,\n "b": nul}'
    program = f"""
{replacing("json")}
from json.decoder import JSONDecodeError
error = JSONDecodeError("no value", {document!r}, 15)
print(error, error.lineno, error.colno)
"""
    theirs = json.JSONDecodeError("no value", document, 15)
    assert run(program) == [f"{theirs} {theirs.lineno} {theirs.colno}"]


def test_the_constants_of_string_are_the_standard_ones() -> None:
    ours = runpy.run_path(str(RUNTIME / "string.py"))
    names = {name for name in ours if not name.startswith("__")}
    assert {"ascii_letters", "digits", "hexdigits"} < names
    assert {name: ours[name] for name in names} == {name: getattr(string, name) for name in names}
