"""Writes what a file contains: a CycloneDX bill of materials, all licences, all checksums.

Versions, hashes and licences are read from the sources that were built, never typed in. CPython
lists what it bundles in Misc/sbom.spdx.json.
"""

import datetime
import json
import pathlib
import re
import uuid
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
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from agent import __version__
from build import sources, toolchain, zig

_ZIG = pathlib.Path(ziglang.__file__).parent


class Part:
    """A part of a file.

    `licence` is an SPDX expression, `text` the file with the licence's text, `url` where the part
    comes from.
    """

    def __init__(
        self,
        name: str,
        version: str,
        licence: str,
        text: pathlib.Path,
        *,
        purl: str = "",
        url: str = "",
        sha256: str = "",
        cpe: str = "",
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
        self.sha256 = sha256
        self.cpe = cpe

    def component(self) -> Component:
        """Return the part as a CycloneDX component."""
        return Component(
            name=self.name,
            version=self.version,
            type=ComponentType.LIBRARY,
            bom_ref=str(self.purl),
            purl=self.purl,
            cpe=self.cpe or None,
            licenses=[LicenseFactory().make_from_string(self.licence)],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=self.sha256)]
            if self.sha256
            else [],
            external_references=[
                ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(self.url))
            ]
            if self.url
            else [],
        )


def write(output: pathlib.Path, machine: str, freezer: str, cpython: sources.CPython) -> None:
    """Write FILE.cdx.json next to a built file, and rewrite LICENSES/ and SHA256SUMS."""
    inside = parts(freezer, cpython)
    digest = toolchain.sha256(output)
    itself = Component(
        name="azready",
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref="azready",
        licenses=[LicenseFactory().make_from_string("MIT")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        properties=[
            Property(name="azready:machine", value=machine),
            Property(name="azready:freezer", value=freezer),
            Property(name="azready:file", value=output.name),
        ],
    )
    # The serial number and the time follow from the file: the same file gets the same bill.
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{digest}"))
    bom.metadata.component = itself
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(
        int(zig.environment()["SOURCE_DATE_EPOCH"]), datetime.UTC
    )
    bom.metadata.tools.components.update(tools(freezer))
    components = [part.component() for part in inside]
    bom.components.update(components)
    bom.register_dependency(itself, components)
    bill(output).write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")
    licences = output.parent / "LICENSES"
    licences.mkdir(exist_ok=True)
    for name, text in [
        ("azready", toolchain.TOP / "LICENSE"),
        *((part.name, part.text) for part in inside),
    ]:
        (licences / f"{name}.txt").write_text(_licence(text))
    write_sums(output.parent)


def bill(output: pathlib.Path) -> pathlib.Path:
    """Return the path of a file's bill of materials."""
    return output.with_name(f"{output.name}.cdx.json")


# Texts that Debian's packages refer to instead of including them (Debian Policy 12.5): name in
# /usr/share/common-licenses -> the text, whatever surrounds it.
_COMMON = {
    "GPL-2": re.compile(
        r"^\s+GNU GENERAL PUBLIC LICENSE$.*?^\s+END OF TERMS AND CONDITIONS$",
        re.DOTALL | re.MULTILINE,
    ),
    "Apache-2.0": re.compile(
        r"^\s+Apache License$.*?^\s+END OF TERMS AND CONDITIONS$", re.DOTALL | re.MULTILINE
    ),
}


def copyright_of(output: pathlib.Path, common: str = "") -> str:
    """Return the licences of azready and of all parts of a built file as one text.

    If `common` names a folder, well-known licences become references into it.
    """
    sections = [
        f"azready {__version__}\n\n{(output.parent / 'LICENSES' / 'azready.txt').read_text()}"
    ]
    for component in json.loads(bill(output).read_text())["components"]:
        licence = component["licenses"][0]
        name = (
            licence.get("expression") or licence["license"].get("id") or licence["license"]["name"]
        )
        text = (output.parent / "LICENSES" / f"{component['name']}.txt").read_text()
        sections.append(
            f"The file contains {component['name']} {component['version']} ({name})\n\n{text}"
        )
    text = f"\n{'-' * 100}\n\n".join(sections)
    for name, pattern in _COMMON.items() if common else ():
        text = pattern.sub(f"The text is in {common}/{name}.", text)
    return text


def write_sums(folder: pathlib.Path) -> None:
    """Write SHA256SUMS for the files of `folder` and their bills, in the format of sha256sum(1)."""
    files = sorted(
        path for path in folder.glob("azready[-_]*") if path.is_file() and path.suffix != ".partial"
    )
    (folder / "SHA256SUMS").write_text(
        "".join(f"{toolchain.sha256(path)}  {path.name}\n" for path in files)
    )


def parts(freezer: str, cpython: sources.CPython) -> list[Part]:
    """Return the parts of a file that this freezer makes."""
    tree = cpython.unpacked()
    pin = next(pin for pin in toolchain.pins()["cpython"] if pin["version"] == cpython.version)
    bundled = {
        package["name"]: package
        for package in json.loads((tree / "Misc" / "sbom.spdx.json").read_text())["packages"]
    }
    cpe = f"cpe:2.3:a:python:python:{cpython.version}:*:*:*:*:*:*:*"
    found = [
        Part(
            "cpython",
            cpython.version,
            "PSF-2.0",
            tree / "LICENSE",
            url=pin["url"],
            sha256=pin["sha256"],
            cpe=cpe,
        ),
        _bundled(bundled["expat"], "MIT", tree / "Modules" / "expat" / "COPYING"),
        _bundled(bundled["hacl-star"], "MIT", tree / "Modules" / "_hacl" / "Hacl_Hash_SHA2.c"),
        Part(
            "musl",
            _defined(_ZIG / "lib/libc/musl/src/internal/version.h", "VERSION"),
            "MIT",
            _ZIG / "lib/libc/musl/COPYRIGHT",
        ),
        Part(
            "zig-compiler-rt",
            toolchain.pins()["tools"]["ziglang"][0],
            "MIT",
            _ZIG / "LICENSE",
            purl=f"pkg:pypi/ziglang@{toolchain.pins()['tools']['ziglang'][0]}",
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
            )
        )
        found.append(
            Part("zlib", version, "Zlib", zlib, cpe=f"cpe:2.3:a:zlib:zlib:{version}:*:*:*:*:*:*:*")
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
            )
        )
        # A single function; its copy does not tell the version.
        found.append(Part("zlib-crc32", f"of-nuitka-{release['version']}", "Zlib", zlib))
    return found


def tools(freezer: str) -> list[Component]:
    """Return what made the file without being part of it: zig, the freezer and its dependencies."""
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
        cpe=references.get("cpe23Type", ""),
    )


def _licence(file: pathlib.Path) -> str:
    """Return the text of a licence; of a C file, its opening comment."""
    text = file.read_text()
    return text[: text.index("*/") + 3] if file.suffix in (".c", ".h") else text


def _defined(header: pathlib.Path, name: str) -> str:
    match = re.search(rf'#define {name} "([^"]+)"', header.read_text())
    if match is None:
        raise ValueError(f"{header} does not define {name}")
    return match[1]
