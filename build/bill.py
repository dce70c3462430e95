"""Writes what describes a file: a CycloneDX bill of materials, a VEX, licences, checksums."""

import datetime
import json
import pathlib
import re
import uuid

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output.json import JsonV1Dot6

from agent import __version__
from build import sources, toolchain, vex, zig
from build.parts import parts, tools


def write(output: pathlib.Path, machine: str, freezer: str, cpython: sources.CPython) -> None:
    """Write FILE.cdx.json and FILE.vex.cdx.json next to a built file, LICENSES/ and SHA256SUMS."""
    inside = parts(freezer, cpython)
    digest = toolchain.sha256(output)
    itself = Component(
        name="azready",
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref="azready",
        supplier=OrganizationalEntity(name="azready"),
        licenses=[LicenseFactory().make_from_string("MIT")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        properties=[
            Property(name="azready:machine", value=machine),
            Property(name="azready:freezer", value=freezer),
            Property(name="azready:file", value=output.name),
            Property(
                name="azready:snapshot",
                value=str(toolchain.has_snapshot(machine, freezer)).lower(),
            ),
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
    toolchain.bill(output).write_text(_json(bom))
    toolchain.vex(output).write_text(_json(vex.of(output, bom, components)))
    licences = output.parent / "LICENSES"
    licences.mkdir(exist_ok=True)
    for name, text in [
        ("azready", toolchain.TOP / "LICENSE"),
        *((part.name, part.text) for part in inside),
    ]:
        (licences / f"{name}.txt").write_text(_licence(text))
    write_sums(output.parent)


def _json(bom: Bom) -> str:
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


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
    for component in json.loads(toolchain.bill(output).read_text())["components"]:
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
    """Write SHA256SUMS for the files of `folder` and what describes them, as of sha256sum(1)."""
    files = sorted(
        path for path in folder.glob("azready[-_]*") if path.is_file() and path.suffix != ".partial"
    )
    (folder / "SHA256SUMS").write_text(
        "".join(f"{toolchain.sha256(path)}  {path.name}\n" for path in files)
    )


def _licence(file: pathlib.Path) -> str:
    """Return the text of a licence; of a C file, its opening comment."""
    text = file.read_text()
    return text[: text.index("*/") + 3] if file.suffix in (".c", ".h") else text
