"""The VEX: each statement is proved on the file, and one that does not hold stops the build."""

import json
import pathlib
import sys
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component

from build import parts, toolchain, vex
from build.assemble import sizes_file
from build.cache import BuildError

GOOD = {"id": "CVE-2199-1", "part": "cpython", "modules": ["tarfile"]}


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """A built file, as far as a VEX looks at it."""
    place = tmp_path / "azready-linux-x86_64"
    place.write_bytes(pathlib.Path(sys.executable).read_bytes()[:4096])
    sizes = {"modules": {"json": 1, "json.decoder": 1}, "objects": {"libc.a/qsort.o": 1}}
    sizes_file(place).write_text(json.dumps(sizes))
    return place


def write(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, statement: dict[str, Any]
) -> None:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in statement.items())
    (tmp_path / "vex.toml").write_text(f"[[not_affected]]\n{lines}")
    monkeypatch.setattr(vex, "_FILE", tmp_path / "vex.toml")


def made(file: pathlib.Path) -> dict[str, Any]:
    document = vex.of(file, Bom(), [Component(name="cpython", bom_ref="pkg:a/b@1?c=d")])
    (flaw,) = document.vulnerabilities
    assert flaw.analysis
    (target,) = flaw.affects
    return {"detail": flaw.analysis.detail, "ref": target.ref, "why": flaw.analysis.justification}


@pytest.mark.parametrize(
    ("statement", "detail", "why"),
    [
        (GOOD, "The file does not contain tarfile.", "code_not_present"),
        (
            {"id": "CVE-2199-1", "part": "cpython", "objects": ["libc.a/iconv.o"]},
            "The file does not contain libc.a/iconv.o.",
            "code_not_present",
        ),
        (
            {"id": "CVE-2199-1", "part": "cpython", "bits": 64, "detail": "Too much."},
            "Too much.",
            "requires_environment",
        ),
    ],
)
def test_a_statement_that_holds_is_made(
    file: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    statement: dict[str, Any],
    detail: str,
    why: str,
) -> None:
    write(tmp_path, monkeypatch, statement)
    found = made(file)
    assert (found["detail"], found["why"].value) == (detail, why)
    assert found["ref"].startswith("urn:cdx:")
    assert found["ref"].endswith("/1#pkg%3Aa%2Fb%401%3Fc%3Dd")


def test_other_statements_are_another_document(
    file: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bill = Bom()
    serials = []
    for statement in (GOOD, GOOD, {**GOOD, "id": "CVE-2199-2"}):
        write(tmp_path, monkeypatch, statement)
        serials.append(vex.of(file, bill, [Component(name="cpython", bom_ref="x")]).serial_number)
    assert serials[0] == serials[1] != serials[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modules": ["tarfile", "json"]}, "CVE-2199-1 may apply: azready-linux-x86_64 has json"),
        ({"modules": ["_socket"]}, "CVE-2199-1 may apply: azready-linux-x86_64 has _socket"),
        ({"objects": ["libc.a/qsort.o"]}, "may apply: azready-linux-x86_64 has libc.a/qsort.o"),
        ({"bits": 32}, "CVE-2199-1 may apply: azready-linux-x86_64 has 64 bits"),
        ({"part": "perl"}, "CVE-2199-1: there is no part 'perl'"),
        ({"module": ["x"]}, "unknown or missing keys in "),
        ({"id": None}, "unknown or missing keys in "),
        ({"modules": None, "detail": "believe me"}, "nothing proves CVE-2199-1: name modules"),
    ],
)
def test_one_that_does_not_stops_the_build(
    file: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    says: str,
) -> None:
    statement = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    write(tmp_path, monkeypatch, statement)
    with pytest.raises(BuildError) as caught:
        made(file)
    assert says in str(caught.value)


def test_the_hash_of_sources_is_that_of_sha256sum(tmp_path: pathlib.Path) -> None:
    """That of a folder; order, times and modes make no difference, names and contents do."""
    sources = tmp_path / "sources"
    (sources / "b").mkdir(parents=True)
    (sources / "b/x.c").write_text("x")
    (sources / "b.c").write_text("y")
    lines = "".join(f"{toolchain.sha256(sources / name)}  {name}\n" for name in ("b.c", "b/x.c"))
    (tmp_path / "lines").write_text(lines)
    before = parts.tree_hash(sources)
    assert before == toolchain.sha256(tmp_path / "lines")
    (sources / "b.c").rename(sources / "c.c")
    assert parts.tree_hash(sources) != before
