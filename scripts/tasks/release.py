"""`scripts/release`: gathers what a release publishes, and checks that it is that and nothing else.

dist/release has the files that Azure offers a machine for, their bills and VEX, the packages, and
the licences, in one folder, listed by one SHA256SUMS. `--check` needs nothing but Python's standard
library: the job that publishes runs it on what it has downloaded.
"""

import argparse
import gzip
import io
import json
import pathlib
import re
import shutil
import sys
import tarfile

from agent import __version__
from build import toolchain
from build.toolchain import bill, vex

SUMS = "SHA256SUMS"
LICENCES = "LICENSES.tar.gz"
_FREEZERS = ("pyinstaller", "nuitka")
_PACKAGES = 5  # of each machine: four formats of packages and an archive
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][-A-Za-z0-9._+~]*)")


class ReleaseError(Exception):
    """What is there is not what a release publishes."""


def main(arguments: list[str] | None = None) -> int:
    """Gather and check, or only check; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/release",
        description="Gather what a release publishes in dist/release, and check it.",
    )
    parser.add_argument(
        "--check", metavar="FOLDER", type=pathlib.Path, help="only check such a folder"
    )
    parser.add_argument(
        "--same-as", metavar="SUMS", type=pathlib.Path, help="SHA256SUMS of another build"
    )
    options = parser.parse_args(arguments)
    folder = options.check or toolchain.TOP / "dist" / "release"
    try:
        if options.check is None:
            gather(toolchain.TOP / "dist", folder)
        names = check(folder)
        if options.same_as:
            compare(folder / SUMS, options.same_as)
    except (ReleaseError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"good: {folder} has the {len(names)} files that {SUMS} lists, and no other")
    return 0


def gather(dist: pathlib.Path, folder: pathlib.Path) -> None:
    """Recreate `folder` from the built files and packages in `dist`. Raises ReleaseError, OSError.

    The bills must name the newest pinned CPython: an older one is for those who cannot fetch it.
    """
    wanted = toolchain.pins()["cpython"][0]["version"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    licences = {"azready"}
    for name in _files():
        parts = json.loads(bill(dist / name).read_text())["components"]
        licences |= {part["name"] for part in parts}
        built_with = next(part["version"] for part in parts if part["name"] == "cpython")
        if built_with != wanted:
            raise ReleaseError(
                f"{name} is built from CPython {built_with}; a release needs {wanted}: "
                "make it available, see README.md, and run scripts/build --force"
            )
        for path in (dist / name, bill(dist / name), vex(dist / name)):
            shutil.copy(path, folder / path.name)
    for path in sorted((dist / "packages").glob("azready*")):
        if __version__ not in path.name:
            raise ReleaseError(f"{path} is not of version {__version__}: remove it")
        shutil.copy(path, folder / path.name)
    texts = [dist / "LICENSES" / f"{name}.txt" for name in sorted(licences)]
    _pack_licences(texts, folder / LICENCES)
    (folder / SUMS).write_text(
        "".join(f"{toolchain.sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    )


def check(folder: pathlib.Path) -> list[str]:
    """Return the names that SHA256SUMS lists, if they are what the folder has and a release needs.

    Raises ReleaseError with everything that is wrong, and OSError.
    """
    wrong: list[str] = []
    digests: dict[str, str] = {}
    for line in (folder / SUMS).read_text().splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in (*digests, SUMS):
            wrong.append(f"{SUMS} has the line {line!r}")
        else:
            digests[match[2]] = match[1]
    there = {path.name: path for path in folder.iterdir() if path.name != SUMS}
    for name in sorted(digests.keys() | there.keys()):
        if name not in there:
            wrong.append(f"{name} is missing")
        elif name not in digests:
            wrong.append(f"{name} is not listed in {SUMS}")
        elif there[name].is_symlink() or not there[name].is_file():
            wrong.append(f"{name} is not a file")
        elif toolchain.sha256(there[name]) != digests[name]:
            wrong.append(f"{name} is not what {SUMS} says")
    needed = {LICENCES}
    for name in _files():
        needed |= {name, bill(folder / name).name, vex(folder / name).name}
    packages = digests.keys() - needed
    wrong += [
        f"{name} belongs to a release, and {SUMS} lacks it" for name in needed - digests.keys()
    ]
    wrong += [f"{name} does not belong to a release" for name in packages if not _is_package(name)]
    if len(packages) != _PACKAGES * len(toolchain.chosen("all")):
        wrong.append(f"{len(packages)} packages: {', '.join(sorted(packages))}")
    if wrong:
        raise ReleaseError(f"{folder} cannot be released: {'; '.join(wrong)}")
    return list(digests)


def compare(sums: pathlib.Path, others: pathlib.Path) -> None:
    """Check that two builds have the same names and bytes. Raises ReleaseError, OSError."""
    ours, theirs = (set(path.read_text().splitlines()) for path in (sums, others))
    if different := sorted({line[66:] for line in ours ^ theirs}):
        raise ReleaseError(f"two builds differ in {', '.join(different)}")


def _files() -> list[str]:
    return [
        toolchain.output(machine, freezer).name
        for machine in toolchain.chosen("all")
        for freezer in _FREEZERS
    ]


def _is_package(name: str) -> bool:
    return name.startswith("azready") and __version__ in name


def _pack_licences(texts: list[pathlib.Path], place: pathlib.Path) -> None:
    """Pack the licences; the same texts give the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in texts:
            member = tarfile.TarInfo(f"LICENSES/{path.name}")
            member.size, member.mode = path.stat().st_size, 0o644
            with open(path, "rb") as text:
                archive.addfile(member, text)
    place.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))


if __name__ == "__main__":
    sys.exit(main())
