"""The parts of the build that need no compiler: pins, sources, the frozen table, the allow-list."""

import functools
import gzip
import hashlib
import http.server
import io
import lzma
import marshal
import pathlib
import tarfile
import threading

import pytest

from build import __main__ as main
from build import cache, frozen, link, sources, toolchain


@pytest.fixture
def pin(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A pinned source of the test's own, an empty cache, and no way out to the network."""
    monkeypatch.setenv("AZREADY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AZREADY_SOURCES", raising=False)
    url = "http://127.0.0.1:9/Python-3.13.99.tar.xz"
    pin: dict[str, object] = {
        "version": "3.13.99",
        "url": url,
        "sha256": hashlib.sha256(b"archive").hexdigest(),
        "debian": ["none", "none"],
    }
    monkeypatch.setattr(toolchain, "pins", lambda: {"cpython": [pin]})
    monkeypatch.setattr("shutil.which", lambda _: None)
    return pin


def test_every_pin_has_a_hash() -> None:
    pins = toolchain.pins()
    for entry in [*pins["cpython"], pins["pyinstaller"], pins["busybox"], pins["dinit"]]:
        assert len(entry["sha256"]) == 64
    for name in ("apk-tools", "skalibs", "execline", "s6", "s6-rc"):
        assert len(pins[name]["tree"]) == 64
    for group in ("tools", "freezer", "judges"):
        for _, *digests in pins[group].values():
            assert digests
            assert all(len(digest) == 64 for digest in digests)
    assert "ziglang==0.15.2 --hash=sha256:" in toolchain.requirements(pins["tools"])


def test_a_folder_of_sources_comes_first(
    pin: dict[str, object], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Python-3.13.99.tar.xz").write_bytes(b"archive")
    monkeypatch.setenv("AZREADY_SOURCES", str(tmp_path))
    assert sources.cpython().archive == tmp_path / "Python-3.13.99.tar.xz"


def packed(place: pathlib.Path, top: str, content: bytes, mode: int, mtime: int) -> None:
    """An archive of a release: a file, a link and their folder."""
    pack = gzip.compress if place.suffix == ".gz" else lzma.compress
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("", tarfile.DIRTYPE), ("/make", b"0"), ("/again", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(top + name)
            member.type, member.mode, member.mtime = kind, mode, mtime
            if kind == b"0":
                member.size = len(content)
            elif kind == tarfile.SYMTYPE:
                member.linkname = "make"
            archive.addfile(member, io.BytesIO(content) if kind == b"0" else None)
    place.write_bytes(pack(out.getvalue()))


def test_a_tag_is_known_by_its_tree_however_it_is_packed(
    pin: dict[str, object], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path / "a.tar.gz", "s6-1", b"all:", 0o755, 1)
    del pin["sha256"]
    pin.update(tree=sources.tree_of(tmp_path / "a.tar.gz"), url="http://127.0.0.1:9/s6-1.tar.gz")
    monkeypatch.setattr(toolchain, "pins", lambda: {"s6": pin})
    given = tmp_path / "given"
    given.mkdir()
    monkeypatch.setenv("AZREADY_SOURCES", str(given))
    packed(given / "s6-1.tar.xz", "s6-v1", b"all:", 0o775, 2)
    assert sources.archive("s6") == given / "s6-1.tar.xz"
    for content, mode in ((b"evil:", 0o755), (b"all:", 0o644)):
        packed(given / "s6-1.tar.xz", "s6-1", content, mode, 1)
        with pytest.raises(cache.BuildError, match="has tree"):
            sources.archive("s6")
    for top in ("..", "", "s6-1/.."):  # files that would land elsewhere
        packed(given / "s6-1.tar.xz", top, b"all:", 0o755, 1)
        with pytest.raises(cache.BuildError, match=r"has not one top folder|has tree"):
            sources.archive("s6")
    (given / "s6-1.tar.xz").write_bytes(b"<html>")
    with pytest.raises(cache.BuildError, match="cannot fetch the source of s6"):
        sources.archive("s6")


def test_upstream_is_fetched_checked_and_kept(
    pin: dict[str, object], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Python-3.13.99.tar.xz").write_bytes(b"archive")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pin["url"] = f"http://127.0.0.1:{server.server_port}/Python-3.13.99.tar.xz"
        kept = sources.cpython().archive
        server.shutdown()
    assert kept == tmp_path / "cache/downloads/Python-3.13.99.tar.xz"
    assert sources.cpython().archive == kept  # without the server


def test_wrong_bytes_are_never_used_and_every_way_is_named(
    pin: dict[str, object], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Python-3.13.99.tar.xz").write_bytes(b"something else")
    monkeypatch.setenv("AZREADY_SOURCES", str(tmp_path))
    with pytest.raises(cache.BuildError) as caught:
        sources.cpython()
    text = str(caught.value)
    for words in (
        "has sha256",
        "from an earlier download",
        "from the project's own page",
        "from the distribution's source package: this is not Debian",
        "AZREADY_SOURCES",
    ):
        assert words in text


def test_a_release_takes_no_older_cpython(
    pin: dict[str, object], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = {**pin, "version": "3.13.98", "url": "http://127.0.0.1:9/Python-3.13.98.tar.xz"}
    monkeypatch.setattr(toolchain, "pins", lambda: {"cpython": [pin, older]})
    (tmp_path / "Python-3.13.98.tar.xz").write_bytes(b"archive")
    monkeypatch.setenv("AZREADY_SOURCES", str(tmp_path))
    monkeypatch.delenv("AZREADY_RELEASE", raising=False)
    assert sources.cpython().version == "3.13.98"
    monkeypatch.setenv("AZREADY_RELEASE", "1")
    with pytest.raises(
        cache.BuildError, match=r"cannot fetch the source of CPython; put Python-3\.13\.99"
    ) as caught:
        sources.cpython()
    assert "3.13.98" not in str(caught.value)


def test_a_step_is_made_once_and_again_after_a_failure(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZREADY_CACHE", str(tmp_path))
    made: list[str] = []

    def fail(place: pathlib.Path) -> None:
        (place / "half").touch()
        raise cache.BuildError("no")

    with pytest.raises(cache.BuildError):
        cache.made("step", "1", fail)
    for _ in range(2):
        place = cache.made("step", "1", lambda place: made.append(place.name))
    assert made == ["step-1"]
    assert not (place / "half").exists()


def test_a_failing_command_shows_the_end_of_its_output(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        cache.BuildError, match=r"exited with status 3; the end of (.|\n)*the reason"
    ):
        cache.run(["/bin/sh", "-c", "echo the reason; exit 3"], log=tmp_path / "log")
    with pytest.raises(cache.BuildError, match="cannot run /does/not/exist: No such file"):
        cache.run(["/does/not/exist"], log=tmp_path / "log")


def test_the_table_holds_code_without_docstrings(tmp_path: pathlib.Path) -> None:
    (tmp_path / "__init__.py").write_text('"""text that is not needed"""\nassert False\nx = 1\n')
    table = frozen.write_table(
        {"package": tmp_path / "__init__.py", "importlib._bootstrap": tmp_path / "__init__.py"},
        tmp_path,
    ).read_text()
    assert '.name = "package"' in table
    assert ".is_package = true" in table
    assert '.name = "_frozen_importlib"' in table
    names: dict[str, object] = {}
    exec(marshal.loads((tmp_path / "frozen.bin").read_bytes()), names)
    assert names["x"] == 1
    assert names.get("__doc__") is None


def test_an_import_outside_the_lists_stops_the_build(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "new.py"
    source.write_text("if TYPE_CHECKING:\n    import typing\nimport posix\n")
    link.check_imports(tmp_path)
    source.write_text("def work():\n    import subprocess\n")
    with pytest.raises(
        SystemExit,
        match=r"new\.py line 2 imports subprocess, which is not in build/allowed-modules",
    ):
        link.check_imports(tmp_path)


def test_what_runs_inside_the_file_instead_of_the_standard_library_is_listed() -> None:
    assert sorted(frozen.REPLACED) == [
        "collections",
        "encodings",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        "io",
        "json",
        "reprlib",
        "string",
        "typing",
    ]
    assert all(path.is_file() for path in frozen.REPLACED.values())


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["--arch=x86_64"], [("x86_64", "pyinstaller")]),
        (["--arch=x86_64", "--no-snapshot"], [("x86_64", "plain")]),
        (
            ["--arch=aarch64", "--freezer=all"],
            [("aarch64", "pyinstaller"), ("aarch64", "plain"), ("aarch64", "nuitka")],
        ),
    ],
)
def test_options_say_which_files_are_built(
    words: list[str], files: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[str, str]] = []

    def build(machine: str, freezer: str, *, force: bool) -> pathlib.Path:
        built.append((machine, freezer))
        return toolchain.output(machine, freezer)

    monkeypatch.setattr(main, "build", build)
    assert main.main(words) == 0
    assert built == files


def test_only_the_default_freezer_makes_a_snapshot_and_only_for_azure() -> None:
    assert {
        (machine, freezer)
        for machine in toolchain.machines()
        for freezer in main.FREEZERS
        if toolchain.has_snapshot(machine, freezer)
    } == {("x86_64", "pyinstaller"), ("aarch64", "pyinstaller")}


def test_what_is_baked_is_apart_and_attached_while_the_file_is_built(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "module.py").write_text("x = 1\n")
    modules = dict.fromkeys(("baked", "kept", "importlib._bootstrap"), tmp_path / "module.py")
    table = frozen.write_table(modules, tmp_path, {"baked", "importlib._bootstrap"}).read_text()
    assert '.name = "baked", .code = 0,' in table
    assert '.name = "kept", .code = azready_code + 0,' in table
    assert "{ &modules[0], 0 }" in table
    assert "{ &bootstrap[0], " in table
    assert list(frozen.sizes(tmp_path)) == ["kept"]
    assert marshal.loads((tmp_path / frozen.BAKED_CODE).read_bytes()).co_names == ("x",)
