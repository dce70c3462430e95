"""The parts of a file, for its bill of materials.

Versions, hashes and licences are read from the sources that were built, never typed in. CPython
lists what it bundles in Misc/sbom.spdx.json; musl, compiler-rt and the freezers' zlib come without
a release archive of their own: their hash is one over their source files, see `tree_hash`.
"""

import hashlib
import json
import pathlib
import re
from typing import Any

import ziglang
from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from packageurl import PackageURL

from build import sources, toolchain

_ZIG = pathlib.Path(ziglang.__file__).parent
_HASH_OF = "what sha256sum prints for its source files, sorted by path"


class Part:
    """A part of a file.

    `licence` is an SPDX expression, `text` the file with the licence's text, `supplier` who makes
    the part. `url` is where its release comes from, with that archive's `sha256`; `sources` are the
    files that were compiled instead, where there is no such archive.
    """

    def __init__(
        self,
        name: str,
        version: str,
        licence: str,
        text: pathlib.Path,
        *,
        supplier: str,
        cpe: str,
        purl: str = "",
        url: str = "",
        sha256: str = "",
        sources: pathlib.Path | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.licence = licence
        self.text = text
        self.purl = (
            PackageURL.from_string(purl)
            if purl
            else PackageURL("generic", None, name, version, {"download_url": url} if url else None)
        )
        self.url = url
        self.sha256 = tree_hash(sources) if sources else sha256
        self.of_sources = sources is not None
        self.supplier = supplier
        self.cpe = cpe if cpe.startswith("cpe:") else f"cpe:2.3:a:{cpe}:{version}:*:*:*:*:*:*:*"

    def component(self) -> Component:
        """Return the part as a CycloneDX component."""
        return Component(
            name=self.name,
            version=self.version,
            type=ComponentType.LIBRARY,
            bom_ref=str(self.purl),
            purl=self.purl,
            cpe=self.cpe,
            supplier=OrganizationalEntity(name=self.supplier),
            licenses=[LicenseFactory().make_from_string(self.licence)],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=self.sha256)],
            properties=[Property(name="azready:hash-of", value=_HASH_OF)]
            if self.of_sources
            else [],
            external_references=[
                ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(self.url))
            ]
            if self.url
            else [],
        )


def tree_hash(folder: pathlib.Path) -> str:
    """Return a SHA-256 over the files of a folder, the same on every machine.

    In the folder, in bash:
    `find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`.
    """
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    lines = [f"{toolchain.sha256(folder / name)}  {name}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def parts(freezer: str, cpython: sources.CPython) -> list[Part]:
    """Return the parts of a file that this freezer makes."""
    freezer = toolchain.tool(freezer)
    tree = cpython.unpacked()
    pin = next(pin for pin in toolchain.pins()["cpython"] if pin["version"] == cpython.version)
    bundled = {
        package["name"]: package
        for package in json.loads((tree / "Misc" / "sbom.spdx.json").read_text())["packages"]
    }
    found = [
        Part(
            "cpython",
            cpython.version,
            "PSF-2.0",
            tree / "LICENSE",
            url=pin["url"],
            sha256=pin["sha256"],
            supplier="Python Software Foundation",
            cpe="python:python",
        ),
        _bundled(bundled["expat"], "MIT", tree / "Modules" / "expat" / "COPYING"),
        _bundled(bundled["hacl-star"], "MIT", tree / "Modules" / "_hacl" / "Hacl_Hash_SHA2.c"),
        Part(
            "musl",
            _defined(_ZIG / "lib/libc/musl/src/internal/version.h", "VERSION"),
            "MIT",
            _ZIG / "lib/libc/musl/COPYRIGHT",
            supplier="musl project",
            cpe="musl-libc:musl",
            sources=_ZIG / "lib/libc/musl",
        ),
        Part(
            "zig-compiler-rt",
            toolchain.pins()["tools"]["ziglang"][0],
            "MIT",
            _ZIG / "LICENSE",
            purl=f"pkg:pypi/ziglang@{toolchain.pins()['tools']['ziglang'][0]}",
            supplier="Zig Software Foundation",
            cpe="ziglang:zig",
            sources=_ZIG / "lib/compiler_rt",
        ),
    ]
    release = toolchain.pins()[freezer]
    source = sources.released(freezer)
    purl = f"pkg:pypi/{freezer}@{release['version']}"
    if freezer == "pyinstaller":
        licence, zlib = (
            "GPL-2.0-or-later WITH Bootloader-exception",
            source / "bootloader" / "zlib" / "zlib.h",
        )
        version = _defined(zlib, "ZLIB_VERSION")
        found.append(
            Part(
                "pyinstaller-bootloader",
                release["version"],
                licence,
                source / "COPYING.txt",
                purl=purl,
                sha256=release["sha256"],
                supplier="PyInstaller Development Team",
                cpe="pyinstaller:pyinstaller",
            )
        )
        found.append(
            Part(
                "zlib",
                version,
                "Zlib",
                zlib,
                supplier="Jean-loup Gailly and Mark Adler",
                cpe="zlib:zlib",
                sources=zlib.parent,
            )
        )
    else:
        licence, zlib = (
            "AGPL-3.0-or-later, with the Nuitka Runtime Library Exception 1.0",
            source / "nuitka" / "build" / "inline_copy" / "zlib" / "LICENSE",
        )
        found.append(
            Part(
                "nuitka-runtime",
                release["version"],
                licence,
                source / "LICENSE-RUNTIME.txt",
                purl=purl,
                sha256=release["sha256"],
                supplier="Kay Hayen",
                cpe="nuitka:nuitka",
            )
        )
        found.append(
            Part(
                "zlib-crc32",
                f"of-nuitka-{release['version']}",
                "Zlib",
                zlib,
                supplier="Jean-loup Gailly and Mark Adler",
                # A single function; its copy does not tell the version.
                cpe="cpe:2.3:a:zlib:zlib:*:*:*:*:*:*:*:*",
                sources=zlib.parent,
            )
        )
    return found


def tools(freezer: str) -> list[Component]:
    """Return what made the file without being part of it: zig, the freezer and its dependencies."""
    freezer = toolchain.tool(freezer)
    pins = toolchain.pins()
    used = {"ziglang": pins["tools"]["ziglang"]}
    used.update(
        pins["freezer"]
        if freezer == "pyinstaller"
        else {freezer: [pins[freezer]["version"], pins[freezer]["sha256"]]}
    )
    return [
        Component(
            name=name,
            version=version,
            type=ComponentType.APPLICATION,
            bom_ref=f"tool:{name}",
            purl=PackageURL("pypi", None, name, version),
            # One for each platform that it runs on.
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests],
        )
        for name, (version, *digests) in used.items()
    ]


def _bundled(facts: dict[str, Any], licence: str, text: pathlib.Path) -> Part:
    """Return a part that CPython's own bill of materials describes."""
    references = {
        reference["referenceType"]: reference["referenceLocator"]
        for reference in facts["externalRefs"]
    }
    sha256 = next(
        checksum["checksumValue"]
        for checksum in facts["checksums"]
        if checksum["algorithm"] == "SHA256"
    )
    return Part(
        facts["name"],
        facts["versionInfo"],
        licence,
        text,
        url=facts["downloadLocation"],
        sha256=sha256,
        supplier=facts["originator"].partition(": ")[2],
        cpe=references["cpe23Type"],
    )


def _defined(header: pathlib.Path, name: str) -> str:
    match = re.search(rf'#define {name} "([^"]+)"', header.read_text())
    if match is None:
        raise ValueError(f"{header} does not define {name}")
    return match[1]
