"""`scripts/package`: makes packages for each machine that Azure offers.

nfpm makes .deb, .rpm, .apk and Arch packages from dist-config/nfpm.yaml; a plain .tar.gz is added.
"""

import argparse
import gzip
import json
import os
import pathlib
import shutil
import string
import subprocess
import sys
import tarfile
import tempfile
import textwrap

from agent import __version__, cli, init
from agent.root import Root
from build import __main__ as build
from build import bill, completions, manual, toolchain, zig
from build.cache import BuildError, console

EXECUTABLE = "/usr/bin/azready"
FORMATS = ("deb", "rpm", "apk", "archlinux")
_CONFIG = toolchain.TOP / "dist-config"
_GOARCH = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}


def main() -> int:
    """Build what is missing and package it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/package", description="Make packages of the static file."
    )
    parser.add_argument(
        "--arch",
        choices=[*toolchain.machines(), "all"],
        default="all",
        help="machine to package for; all: those that Azure offers (default: %(default)s)",
    )
    options = parser.parse_args()
    try:
        for machine in toolchain.chosen(options.arch):
            for package in make(machine, build.build(machine), toolchain.TOP / "dist" / "packages"):
                console.print(
                    f"[green]ready:[/green] {package.relative_to(toolchain.TOP)}, "
                    f"{package.stat().st_size / 1e6:.2f} MB"
                )
    except BuildError as error:
        return build.refuse(error)
    return 0


def make(
    machine: str, file: pathlib.Path, folder: pathlib.Path, version: str = __version__
) -> list[pathlib.Path]:
    """Make every package of a built file.

    Returns them in the order of FORMATS, and the archive last. Raises BuildError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        share = pathlib.Path(scratch, "share")
        share.mkdir()
        _lay_out(file, share)
        made = []
        for kind in FORMATS:
            place = pathlib.Path(scratch, kind)
            place.mkdir()
            made.append(_by_nfpm(kind, machine, version, file, share, place))
        packages = [pathlib.Path(shutil.move(package, folder / package.name)) for package in made]
        packages.append(_archive(machine, version, file, share, folder))
    bill.write_sums(folder)
    return packages


def _lay_out(file: pathlib.Path, share: pathlib.Path) -> None:
    """Write what is generated: units, manual pages, completions, licences, bill of materials."""
    _units(share / "units", EXECUTABLE)
    for page in manual.pages():
        packed = gzip.compress(manual.render(page.read_text()).encode(), 9, mtime=0)
        (share / f"{page.stem}.gz").write_bytes(packed)
    (share / "azready.bash").write_text(completions.bash())
    (share / "_azready").write_text(completions.zsh())
    (share / "azready.fish").write_text(completions.fish())
    shutil.copyfile(toolchain.bill(file), share / "azready.cdx.json")
    (share / "copyright").write_text(bill.copyright_of(file))
    (share / "copyright.debian").write_text(
        bill.copyright_of(file, common="/usr/share/common-licenses")
    )


def _units(place: pathlib.Path, executable: str) -> None:
    """Write a tree for each init system, with what `install` would add to an image."""
    for name, system in init.SYSTEMS.items():
        (place / name).mkdir(parents=True)
        for change in system.writing(Root(str(place / name)), executable):
            change.apply()


def _by_nfpm(
    kind: str,
    machine: str,
    version: str,
    file: pathlib.Path,
    share: pathlib.Path,
    folder: pathlib.Path,
) -> pathlib.Path:
    """Make a package in an empty folder.

    Raises BuildError.
    """
    summary, _, long = (_CONFIG / "description.txt").read_text().strip().partition("\n\n")
    paragraphs = [
        textwrap.fill(paragraph, 78, break_on_hyphens=False) for paragraph in long.split("\n\n")
    ]
    # The description of a .deb starts with the summary; formats with one line get only that.
    descriptions = {
        "deb": "\n".join((summary, "\n.\n".join(paragraphs))),
        "rpm": "\n\n".join(paragraphs),
    }
    values = {
        "GOARCH": _GOARCH[machine],
        "VERSION": version,
        "FILE": file,
        "SHARE": share,
        "SUMMARY": summary[0].upper() + summary[1:],
        "DESCRIPTION": json.dumps(
            descriptions.get(kind, summary)
        ),  # a JSON string is also a YAML string
        "COPYRIGHT": "copyright.debian" if kind == "deb" else "copyright",
        "LICENCES": "/usr/share/doc/azready" if kind == "deb" else "/usr/share/licenses/azready",
        "ZSH": "vendor-completions" if kind == "deb" else "site-functions",
        # Types that nfpm supports for .rpm only.
        "DOC": "doc" if kind == "rpm" else '""',
        "LICENCE": "license" if kind == "rpm" else '""',
    }
    description = folder.with_suffix(".yaml")
    description.write_text(string.Template((_CONFIG / "nfpm.yaml").read_text()).substitute(values))
    environment = zig.environment()
    epoch = int(environment["SOURCE_DATE_EPOCH"])
    for script in (_CONFIG / "maintainer").glob("*/*"):
        os.utime(script, (epoch, epoch))  # .apk files record their times
    command = [
        str(pathlib.Path(sys.prefix, "bin", "nfpm")),
        "package",
        "--config",
        str(description),
        "--packager",
        kind,
        "--target",
        str(folder),
    ]
    result = subprocess.run(
        command, cwd=toolchain.TOP, env=environment, capture_output=True, text=True
    )
    if result.returncode:
        raise BuildError(f"nfpm made no {kind}: {(result.stdout + result.stderr).strip()[-500:]}")
    return next(folder.iterdir())


def _archive(
    machine: str, version: str, file: pathlib.Path, share: pathlib.Path, folder: pathlib.Path
) -> pathlib.Path:
    """Make the plain .tar.gz.

    It contains what the packages contain, in one folder, owned by root, with one time; its units
    expect the file where `install` puts it.
    """
    name = f"azready-{version}-linux-{machine}"
    place = folder / f"{name}.tar.gz"
    shutil.rmtree(share / "units")
    _units(share / "units", cli.DEFAULT_EXECUTABLE)

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = int(zig.environment()["SOURCE_DATE_EPOCH"])
        member.mode = 0o755 if member.mode & 0o100 else 0o644
        return member

    with (
        open(place, "wb") as out,
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        archive.add(file, f"{name}/azready", filter=plain)
        archive.add(_CONFIG / "azready.toml", f"{name}/azready.toml", filter=plain)
        for path in sorted(share.iterdir()):
            if path.name != "copyright.debian":
                archive.add(path, f"{name}/{path.name}", filter=plain)
    return place


if __name__ == "__main__":
    sys.exit(main())
