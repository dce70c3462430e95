"""Fetches the pinned sources: CPython's release archive and those of the freezers.

$AZREADY_SOURCES comes first, then the cache, then upstream, then the distribution's source package.
In every case, the bytes are checked against toolchain.toml before anything is unpacked. A release
that is only a tag is packed anew by whoever serves it, so what is pinned is the tree within.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from typing import Any

from build import toolchain
from build.cache import BuildError, console, key, made, run


class CPython:
    """A pinned CPython: its `version`, and the path of its checked .tar.xz, `archive`."""

    def __init__(self, version: str, archive: pathlib.Path) -> None:
        self.version = version
        self.archive = archive
        self._tree: pathlib.Path | None = None

    def unpacked(self) -> pathlib.Path:
        """Return the source tree; found only once, because that hashes the archive."""
        if self._tree is None:
            place = made(
                f"cpython-{self.version}-source",
                key(self.archive),
                lambda place: unpack(self.archive, place),
            )
            self._tree = place / f"Python-{self.version}"
        return self._tree


def cpython() -> CPython:
    """Return the first pinned CPython that can be fetched; a release takes no other than the first.

    Raises BuildError, naming every place that was tried.
    """
    failures: list[str] = []
    pins = toolchain.pins()["cpython"]
    for pin in pins[:1] if toolchain.releasing() else pins:
        archive = _fetched(pin, failures)
        if archive:
            if "warning" in pin:
                console.print(f"  [yellow]warning:[/yellow] {pin['warning']}")
            return CPython(pin["version"], archive)
    raise BuildError(
        f"cannot fetch {'the source' if toolchain.releasing() else 'any source'} of CPython; "
        f"put {_kept(pins[0]).name} into a folder and set AZREADY_SOURCES to its path\n"
        + "\n".join(failures)
    )


def archive(project: str) -> pathlib.Path:
    """Return the pinned archive of a project: "busybox", "dinit", "apk-tools" ...

    Raises BuildError, naming every place that was tried.
    """
    failures: list[str] = []
    found = _fetched(toolchain.pins()[project], failures)
    if found is None:
        raise BuildError(f"cannot fetch the source of {project}\n" + "\n".join(failures))
    return found


def _fetched(pin: dict[str, Any], failures: list[str]) -> pathlib.Path | None:
    """Return the checked archive of a pin, or None and the reasons in `failures`."""
    for way in (_from_folder, _from_cache, _from_upstream, _from_distribution):
        try:
            return _checked(way(pin), pin)
        except (OSError, BuildError, subprocess.SubprocessError, tarfile.TarError) as error:
            failures.append(f"  {pin['version']} {way.__doc__}: {error}")
    return None


def released(project: str) -> pathlib.Path:
    """Return the released source tree of a freezer, "pyinstaller" or "nuitka"."""
    pin = toolchain.pins()[project]

    def fetch(place: pathlib.Path) -> None:
        requirements = place / "requirements.txt"
        requirements.write_text(toolchain.requirements({project: [pin["version"], pin["sha256"]]}))
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-binary=:all:",
            "--no-build-isolation",
            "--disable-pip-version-check",
        ]
        run(
            [*command, "--require-hashes", f"--dest={place}", "-r", requirements],
            log=place / "log",
            # pip asks the package for its metadata, for which PyInstaller would compile its
            # bootloader. Naming a platform whose bootloader is included avoids that.
            env={**os.environ, "PYI_PLATFORM": "Darwin-64bit"},
        )
        unpack(_checked(place / f"{project}-{pin['version']}.tar.gz", pin), place)

    return made(f"{project}-source", pin["sha256"][:16], fetch) / f"{project}-{pin['version']}"


def _checked(path: pathlib.Path, pin: dict[str, Any]) -> pathlib.Path:
    what = "tree" if "tree" in pin else "sha256"
    found = tree_of(path) if what == "tree" else toolchain.sha256(path)
    if found != pin[what]:
        raise BuildError(
            f"{path} has {what} {found}, expected {pin[what]}; remove it and try again"
        )
    return path


def tree_of(path: pathlib.Path) -> str:
    """Return the SHA-256 digest, in hex, of the tree in an archive, which is not unpacked for it.

    It covers the kind, the path below the top folder, the executable bit and the content or target
    of everything but folders, in the order of the paths. Raises OSError, tarfile.TarError, and
    BuildError if there is not one top folder.
    """
    lines, tops = [], set()
    with tarfile.open(path) as archive:
        for member in archive:
            top, _, name = member.name.partition("/")
            tops.add(top)
            if member.isdir():
                continue
            content = archive.extractfile(member) if member.isfile() else None
            what = hashlib.sha256(content.read()).hexdigest() if content else member.linkname
            kind = "file" if content else member.type.decode("latin-1")
            lines.append(repr((name, kind, bool(content and member.mode & 0o100), what)))
    if len(tops) != 1 or tops & {"", ".", ".."}:
        raise BuildError(f"{path} has not one top folder, but {sorted(tops)}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def unpack(path: pathlib.Path, place: pathlib.Path) -> None:
    """Unpack a checked archive into a folder."""
    with tarfile.open(path) as archive:
        # Python 3.11.0 to 3.11.3 have no filters; the hash of the archive was checked.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(place)


def _kept(pin: dict[str, Any]) -> pathlib.Path:
    place = toolchain.cache_folder() / "downloads"
    place.mkdir(parents=True, exist_ok=True)
    return place / str(pin["url"]).rpartition("/")[2]


def _from_folder(pin: dict[str, Any]) -> pathlib.Path:
    """from the folder in AZREADY_SOURCES"""
    given = os.environ.get("AZREADY_SOURCES")
    if not given:
        raise BuildError("the variable is not set")
    name = _kept(pin).name
    if "tree" in pin:  # however it is compressed
        found = sorted(pathlib.Path(given).glob(f"{name.rpartition('.tar.')[0]}.tar.*"))
        return found[0] if found else pathlib.Path(given, name)
    return pathlib.Path(given, name)


def _from_cache(pin: dict[str, Any]) -> pathlib.Path:
    """from an earlier download"""
    return _kept(pin)


def _from_upstream(pin: dict[str, Any]) -> pathlib.Path:
    """from the project's own page"""
    console.print(f"  fetching {pin['url']}")
    with (
        tempfile.NamedTemporaryFile(dir=_kept(pin).parent) as file,
        urllib.request.urlopen(pin["url"], timeout=20) as answer,
    ):
        shutil.copyfileobj(answer, file)
        file.flush()
        return _keep(pathlib.Path(file.name), pin)


def _from_distribution(pin: dict[str, Any]) -> pathlib.Path:
    """from the distribution's source package"""
    if "debian" not in pin:
        raise BuildError("Debian has no package of it")
    suite, package = pin["debian"]
    if not shutil.which("apt-get"):
        raise BuildError("this is not Debian")
    console.print(f"  fetching the source package {package} {pin['version']} of Debian {suite}")
    targets = _output(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(CODENAME) $(ORIGIN)",
            "Created-By: Packages",
        ]
    ).splitlines()
    repositories = [
        uri
        for uri, codename, origin in (line.split(" ", 2) for line in targets)
        if origin == "Debian" and "-" not in codename
    ]
    if not repositories:
        raise BuildError("no Debian repository is configured, or apt-get update has not run")
    with tempfile.TemporaryDirectory() as scratch:
        # A temporary sources list with the configured repository; the system's own stays untouched.
        sources = pathlib.Path(scratch, "sources.list")
        sources.write_text(
            "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
            f"{repositories[0]} {suite} main\n"
        )
        for name in ("lists/partial", "cache/archives/partial"):
            pathlib.Path(scratch, name).mkdir(parents=True)
        settings = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": f"{scratch}/lists",
            "Dir::Cache": f"{scratch}/cache",
            "Acquire::Languages": "none",
            # The pinned version may be in a suite that has moved on.
            "Acquire::Check-Valid-Until": "false",
            "APT::Sandbox::User": "root",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        _output(["apt-get", *options, "update"])
        known = [
            line.split("|")[1].strip()
            for line in _output(["apt-cache", *options, "madison", package]).splitlines()
        ]
        version = next(
            (
                version
                for version in known
                if version.rpartition(":")[2].partition("-")[0] == pin["version"]
            ),
            None,
        )
        if version is None:
            raise BuildError(f"{suite} has {', '.join(known) or 'no version'} of it")
        _output(
            [
                "apt-get",
                *options,
                "source",
                "--download-only",
                "--only-source",
                f"{package}={version}",
            ],
            cwd=scratch,
        )
        return _keep(
            pathlib.Path(
                scratch,
                f"{package}_{pin['version']}.orig{_kept(pin).name.rpartition(pin['version'])[2]}",
            ),
            pin,
        )


def _keep(fetched: pathlib.Path, pin: dict[str, Any]) -> pathlib.Path:
    _checked(fetched, pin)
    partial = _kept(pin).with_suffix(".partial")
    shutil.copyfile(fetched, partial)
    return partial.rename(_kept(pin))


def _output(command: list[str], cwd: str | None = None) -> str:
    try:
        return subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, text=True, timeout=300
        ).stdout
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        status = f"{command[0]} exited with status {error.returncode}"
        raise BuildError(f"{status}: {last}") from None
