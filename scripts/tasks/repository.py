"""`scripts/repository`: makes repositories for apt and dnf from dist/packages.

Any web server can serve them. The distributions' own tools write the metadata. They are not signed:
sign deb/Release and rpm/repodata/repomd.xml before publishing them.
"""

import argparse
import gzip
import pathlib
import shutil
import subprocess
import sys

from build import __main__ as build
from build import packages, toolchain, zig
from build.cache import BuildError, console

_TOOLS = ("dpkg-scanpackages", "apt-ftparchive", "createrepo_c")


def main() -> int:
    """Make both repositories; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/repository",
        description="Make repositories for apt and dnf of the packages in dist/packages.",
    )
    parser.parse_args()
    dist = toolchain.TOP / "dist"
    try:
        make(sorted((dist / "packages").glob("azready*")), dist / "repository")
    except BuildError as error:
        return build.refuse(error)
    console.print(
        "[green]ready:[/green] dist/repository/deb and dist/repository/rpm; "
        "sign deb/Release and rpm/repodata/repomd.xml before publishing"
    )
    return 0


def make(made: list[pathlib.Path], folder: pathlib.Path) -> None:
    """Recreate `folder`/deb and `folder`/rpm from the packages of these kinds in `made`.

    Raises BuildError.
    """
    by_kind = {
        kind: [package for package in made if package.suffix == f".{kind}"]
        for kind in ("deb", "rpm")
    }
    if not all(by_kind.values()):
        raise BuildError("dist/packages lacks a .deb or .rpm: run scripts/package first")
    if not all(map(shutil.which, _TOOLS)):
        packages.install(
            {"apt-get": "dpkg-dev apt-utils createrepo-c", "dnf": "dpkg-dev apt createrepo_c"}
        )
    shutil.rmtree(folder, ignore_errors=True)
    for kind, chosen in by_kind.items():
        (folder / kind).mkdir(parents=True)
        for package in chosen:
            shutil.copyfile(package, folder / kind / package.name)
    _apt(folder / "deb")
    epoch = zig.environment()["SOURCE_DATE_EPOCH"]
    _run(
        [
            "createrepo_c",
            "--quiet",
            "--no-database",
            f"--revision={epoch}",
            "--set-timestamp-to-revision",
            ".",
        ],
        folder / "rpm",
    )


def _apt(folder: pathlib.Path) -> None:
    """Make a flat repository: Packages and Release lie next to the packages."""
    listed = _run(["dpkg-scanpackages", "--multiversion", "."], folder)
    (folder / "Packages").write_bytes(listed)
    (folder / "Packages.gz").write_bytes(gzip.compress(listed, 9, mtime=0))
    fields = {
        "Origin": "azready",
        "Label": "azready",
        "Architectures": " ".join(sorted(_architectures(listed))),
    }
    words = [
        word
        for name, value in fields.items()
        for word in ("-o", f"APT::FTPArchive::Release::{name}={value}")
    ]
    (folder / "Release").write_bytes(_run(["apt-ftparchive", *words, "release", "."], folder))


def _architectures(listed: bytes) -> set[str]:
    return {
        line.split()[1] for line in listed.decode().splitlines() if line.startswith("Architecture:")
    }


def _run(command: list[str], folder: pathlib.Path) -> bytes:
    result = subprocess.run(command, cwd=folder, capture_output=True)
    if result.returncode:
        raise BuildError(
            f"{command[0]} exited with status {result.returncode}: "
            f"{result.stderr.decode().strip()[-500:]}"
        )
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
