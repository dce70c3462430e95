"""The modules that replace standard ones in the static file (build/runtime), run alone."""

import pathlib
import runpy
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


def test_tomllib_reads_the_same_with_the_typing_of_the_file(tmp_path: pathlib.Path) -> None:
    program = f"""
import importlib.util, sys, types
spec = importlib.util.spec_from_file_location("typing", {str(RUNTIME / "typing.py")!r})
sys.modules["typing"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["typing"])
import tomllib
print(repr(tomllib.loads({TOML!r})))
try:
    tomllib.loads("a = ")
except tomllib.TOMLDecodeError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, cwd=TOP
    )
    assert result.returncode == 0, result.stderr
    document, error = result.stdout.splitlines()
    assert document == repr(tomllib.loads(TOML))
    assert "Invalid value" in error
