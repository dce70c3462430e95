"""What a release publishes, and what a scan of its bills leaves open.

It publishes exactly what SHA256SUMS lists, from the newest CPython, the same from two builds.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable

import pytest

from agent import __version__
from build import toolchain
from scripts.tasks import release, scan
from tests.conftest import TOP

FILES = [
    f"azready-linux-{machine}{freezer}"
    for machine in ("x86_64", "aarch64")
    for freezer in ("", "-nuitka")
]
PACKAGES = [
    name.format(__version__)
    for name in (
        *("azready_{}-1_amd64.deb", "azready-{}-1.x86_64.rpm", "azready_{}-r1_x86_64.apk"),
        *("azready-{}-1-x86_64.pkg.tar.zst", "azready-{}-linux-x86_64.tar.gz"),
        *("azready_{}-1_arm64.deb", "azready-{}-1.aarch64.rpm", "azready_{}-r1_aarch64.apk"),
        *("azready-{}-1-aarch64.pkg.tar.zst", "azready-{}-linux-aarch64.tar.gz"),
    )
]


def bill(version: str = "") -> str:
    newest = toolchain.pins()["cpython"][0]["version"]
    return json.dumps({"components": [{"name": "cpython", "version": version or newest}]})


@pytest.fixture
def dist(tmp_path: pathlib.Path) -> pathlib.Path:
    """What a build leaves, with files that are not released."""
    place = tmp_path / "dist"
    for folder in ("LICENSES", "packages"):
        (place / folder).mkdir(parents=True)
    for name in (*FILES, "azready-linux-riscv64"):
        (place / name).write_text(f"the file {name}")
        (place / f"{name}.cdx.json").write_text(bill())
        (place / f"{name}.vex.cdx.json").write_text("{}")
        (place / f".{name}.inputs").write_text("x")
    for name in PACKAGES:
        (place / "packages" / name).write_text(f"the package {name}")
    for name in ("azready", "cpython", "of-an-earlier-build"):
        (place / "LICENSES" / f"{name}.txt").write_text(f"licence of {name}")
    return place


@pytest.fixture
def folder(dist: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A good release."""
    release.gather(dist, tmp_path / "release")
    return tmp_path / "release"


def test_a_release_has_files_bills_packages_and_licences(folder: pathlib.Path) -> None:
    wanted = {*FILES, *PACKAGES, "LICENSES.tar.gz"}
    wanted |= {f"{name}.{kind}.json" for name in FILES for kind in ("cdx", "vex.cdx")}
    assert set(release.check(folder)) == wanted
    assert {path.name for path in folder.iterdir()} == {*wanted, "SHA256SUMS"}
    with tarfile.open(folder / "LICENSES.tar.gz") as archive:
        texts = {member.name: archive.extractfile(member) for member in archive}
        assert {name: text and text.read() for name, text in texts.items()} == {
            "LICENSES/azready.txt": b"licence of azready",
            "LICENSES/cpython.txt": b"licence of cpython",
        }
    result = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder
    )
    assert result.returncode == 0


def test_without_words_it_gathers_and_checks(
    dist: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchain, "TOP", dist.parent)
    assert release.main([]) == 0
    assert capsys.readouterr().out.startswith(f"good: {dist}/release has the 23 files")
    (dist / "packages" / PACKAGES[0]).unlink()
    assert release.main([]) == 1
    assert "9 packages" in capsys.readouterr().err


def test_the_same_build_gives_the_same_release(
    folder: pathlib.Path, dist: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    before = (folder / "SHA256SUMS").read_bytes()
    (folder / "azready-old").write_text("left over")
    shutil.copytree(dist, tmp_path / "elsewhere")
    release.gather(tmp_path / "elsewhere", folder)
    assert (folder / "SHA256SUMS").read_bytes() == before
    assert not (folder / "azready-old").exists()


def _append(path: pathlib.Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _unlist(folder: pathlib.Path, name: str) -> None:
    sums = folder / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if line[66:-1] != name))


def _link(path: pathlib.Path) -> None:
    path.rename(path.parent.with_name("moved"))
    path.symlink_to(path.parent.with_name("moved"))


def _both(folder: pathlib.Path, name: str) -> None:
    (folder / name).unlink()
    _unlist(folder, name)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: (p / "more").write_text("x"), "more is not listed in SHA256SUMS"),
        (lambda p: (p / ".hidden").write_text("x"), ".hidden is not listed in SHA256SUMS"),
        (lambda p: (p / "more").mkdir(), "more is not listed in SHA256SUMS"),
        (lambda p: (p / PACKAGES[0]).unlink(), f"{PACKAGES[0]} is missing"),
        (lambda p: _append(p / FILES[0], "x"), f"{FILES[0]} is not what SHA256SUMS says"),
        (lambda p: _link(p / FILES[0]), f"{FILES[0]} is not a file"),
        (lambda p: _unlist(p, FILES[1]), f"{FILES[1]} is not listed in SHA256SUMS"),
        (lambda p: _append(p / "SHA256SUMS", "x\n"), "SHA256SUMS has the line 'x'"),
        (lambda p: _append(p / "SHA256SUMS", f"{'0' * 64}  ../x\n"), "has the line '000"),
        (lambda p: _append(p / "SHA256SUMS", f"{'0' * 64}  {FILES[0]}\n"), "has the line '000"),
        (lambda p: _both(p, f"{FILES[0]}.cdx.json"), f"{FILES[0]}.cdx.json belongs to a release"),
        (lambda p: _both(p, f"{FILES[2]}.vex.cdx.json"), "vex.cdx.json belongs to a release"),
        (lambda p: _both(p, "LICENSES.tar.gz"), "LICENSES.tar.gz belongs to a release"),
        (lambda p: _both(p, PACKAGES[3]), "9 packages: "),
    ],
)
def test_anything_else_is_an_error(
    folder: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[pathlib.Path], object],
    says: str,
) -> None:
    assert release.main(["--check", str(folder)]) == 0
    assert "has the 23 files that SHA256SUMS lists, and no other" in capsys.readouterr().out
    spoil(folder)
    assert release.main(["--check", str(folder)]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["azready-linux-riscv64", "azready_0.0.1-1_amd64.deb", f"notes-{__version__}"]
)
def test_a_listed_file_that_no_release_has_is_an_error(folder: pathlib.Path, name: str) -> None:
    (folder / name).write_text("x")
    _append(folder / "SHA256SUMS", f"{toolchain.sha256(folder / name)}  {name}\n")
    with pytest.raises(release.ReleaseError, match=f"{name} does not belong to a release"):
        release.check(folder)


def test_without_sums_nothing_is_released(
    folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "SHA256SUMS").unlink()
    assert release.main(["--check", str(folder)]) == 1
    assert "SHA256SUMS" in capsys.readouterr().err


def test_a_file_of_an_older_cpython_is_not_released(
    dist: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (dist / f"{FILES[2]}.cdx.json").write_text(bill("3.13.5"))
    with pytest.raises(
        release.ReleaseError, match=f"{FILES[2]} is built from CPython 3.13.5; a release needs"
    ):
        release.gather(dist, tmp_path / "release")


def test_a_package_of_another_version_is_not_released(
    dist: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (dist / "packages/azready_0.0.1-1_amd64.deb").write_text("x")
    with pytest.raises(release.ReleaseError, match="is not of version"):
        release.gather(dist, tmp_path / "release")


def test_two_builds_that_differ_are_an_error(
    folder: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "OTHER"
    words = ["--check", str(folder), "--same-as", str(other)]
    other.write_text((folder / "SHA256SUMS").read_text())
    assert release.main(words) == 0
    other.write_text(other.read_text().replace("  azready-linux-x86_64\n", "0  x\n"))
    assert release.main(words) == 1
    assert "two builds differ in " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["release", "--check", "{folder}"], 0),
        (["release", "--check", "{folder}/.."], 1),
        (["scan"], 2),
        (["scan", "{folder}/../found.json"], 1),
    ],
)
def test_the_workflows_need_nothing_but_python(
    folder: pathlib.Path, words: list[str], code: int
) -> None:
    """-S: without the pinned tools, as in a job that installs nothing."""
    found = json.dumps({"matches": [finding("CVE-2199-1", "cpython")]})
    (folder.parent / "found.json").write_text(found)
    module, *arguments = (word.format(folder=folder) for word in words)
    result = subprocess.run(
        [sys.executable, "-S", "-m", f"scripts.tasks.{module}", *arguments],
        cwd=TOP,
        env={},
        capture_output=True,
        text=True,
    )
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr


def finding(name: str, part: str, *related: str) -> dict[str, object]:
    return {
        "vulnerability": {"id": name, "severity": "High", "fix": {"versions": ["9.9"]}},
        "relatedVulnerabilities": [{"id": other} for other in related],
        "artifact": {"name": part, "version": "1.0"},
    }


@pytest.mark.parametrize(
    ("findings", "code", "says"),
    [
        ([], 0, "good: nothing open in "),
        ([finding("CVE-2026-4360", "cpython")], 0, "good"),
        ([finding("GHSA-x", "cpython", "CVE-2026-4360")], 0, "good"),
        (
            [finding("CVE-2026-4360", "zlib")],
            1,
            "open: CVE-2026-4360 (High) in zlib 1.0, fixed by 9.9\n",
        ),
        (
            [
                {
                    "vulnerability": {"id": "X-1", "severity": "Low", "fix": {"versions": None}},
                    "relatedVulnerabilities": None,
                    "artifact": {"name": "musl", "version": "1.2.5"},
                }
            ],
            1,
            "open: X-1 (Low) in musl 1.2.5, fixed by no release\n",
        ),
        (
            [
                *(finding("CVE-2199-2", "musl"), finding("CVE-2026-4360", "cpython")),
                *(finding("CVE-2199-1", "cpython"), finding("CVE-2199-2", "musl")),
            ],
            1,
            "open: CVE-2199-1 (High) in cpython 1.0, fixed by 9.9\n"
            "open: CVE-2199-2 (High) in musl 1.0, fixed by 9.9\nupdate the part, or say in ",
        ),
    ],
)
def test_a_scan_leaves_open_what_no_statement_answers(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    findings: list[dict[str, object]],
    code: int,
    says: str,
) -> None:
    found = tmp_path / "found.json"
    found.write_text(json.dumps({"matches": findings}))
    assert scan.main([str(found)]) == code
    assert capsys.readouterr().out.startswith(says)


def test_what_is_no_scan_is_not_a_clean_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "found.json").write_text("{}")
    with pytest.raises(KeyError):
        scan.main([str(tmp_path / "found.json")])
