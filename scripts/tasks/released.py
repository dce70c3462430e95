"""Builds what the tests run of other projects and no package of Debian brings, from their releases.

apk(): Alpine's package manager. s6_rc(): s6-rc with the s6 and execline that it needs. judges(),
which is installed, not built: what checks the recipes of dist-config/examples. The cache keeps all.
"""

import os
import pathlib
import shutil
import sys

from build import packages, sources, toolchain
from build.cache import key, made, run

_MESON = ("docs", "help", "lua", "python", "tests", "zstd")
_SKARNET = ("skalibs", "execline", "s6", "s6-rc")


def apk() -> pathlib.Path:
    """Build apk-tools; return the path of `apk`, which works on other roots with --root.

    Raises BuildError.
    """
    archive = sources.archive("apk-tools")

    def make(place: pathlib.Path) -> None:
        if not shutil.which("meson"):
            packages.install(
                {"apt-get": "gcc libc6-dev meson ninja-build pkg-config libssl-dev zlib1g-dev"}
            )
        sources.unpack(archive, place)
        tree = next(place.glob("apk-tools-*"))
        off = [f"-D{name}=disabled" for name in _MESON]
        setup = ["meson", "setup", "out", "-Ddefault_library=static", *off]
        run(setup, cwd=tree, log=place / "log")
        run(["ninja", "-C", "out", "src/apk"], cwd=tree, log=place / "log")
        shutil.copy(tree / "out/src/apk", place / "apk")
        shutil.rmtree(tree)

    inputs = key(toolchain.pins()["apk-tools"]["tree"], *_MESON)
    return made("guest-apk", inputs, make, hint="about 10 seconds") / "apk"


def s6_rc() -> pathlib.Path:
    """Build execline, s6 and s6-rc, static; return a folder to copy into the /usr of a root.

    Raises BuildError.
    """
    archives = {name: sources.archive(name) for name in _SKARNET}

    def make(place: pathlib.Path) -> None:
        # Its headers and libraries, which only the builds of the others need.
        stage = place / "stage"
        given = [
            f"--with-sysdeps={stage}/usr/lib/skalibs/sysdeps",
            f"--with-include={stage}/usr/include",
        ]
        given += [f"--with-lib={stage}/usr/lib{of}" for of in ("/skalibs", "/execline", "/s6", "")]
        for name, archive in archives.items():
            sources.unpack(archive, place)
            tree = next(place.glob(f"{name}-*"))
            options = ["--prefix=/usr", "--disable-shared"]
            options += [] if name == "skalibs" else ["--enable-static-libc", *given]
            run(["./configure", *options], cwd=tree, log=place / "log")
            run(["make", f"-j{os.cpu_count()}"], cwd=tree, log=place / "log")
            run(["make", "install", f"DESTDIR={stage}"], cwd=tree, log=place / "log")
            shutil.rmtree(tree)
        for folder in ("bin", "libexec"):
            if (stage / "usr" / folder).exists():
                shutil.move(stage / "usr" / folder, place / "usr" / folder)
        shutil.rmtree(stage)

    inputs = key(*(toolchain.pins()[name]["tree"] for name in _SKARNET))
    return made("guest-s6-rc", inputs, make, hint="about 1 minute") / "usr"


def judges() -> pathlib.Path:
    """Return the folder with the programs of an environment that judges recipes.

    It has kconfiglib, oelint-adv, python-hcl2 and pycep-parser.

    Raises BuildError.
    """
    requirements = toolchain.requirements(toolchain.pins()["judges"])

    def make(place: pathlib.Path) -> None:
        (place / "requirements.txt").write_text(requirements)
        run([sys.executable, "-m", "venv", place / "environment"], log=place / "log")
        words = ["install", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        pip = [str(place / "environment/bin/python"), "-m", "pip", *words]
        run([*pip, "-r", str(place / "requirements.txt")], log=place / "log")

    inputs = key(requirements, sys.executable, sys.version)
    return made("judges", inputs, make, hint="about 10 seconds") / "environment/bin"
