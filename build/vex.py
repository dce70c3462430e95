"""Writes a VEX: known vulnerabilities of parts that the file does not have, and why.

build/vex.toml has the statements. They are proved on each built file; a proof that fails stops the
build, so that a module that is added to the agent cannot turn a statement into a lie.
"""

import json
import pathlib
import tomllib
import urllib.parse
import uuid
from collections.abc import Sequence
from typing import Any

from cyclonedx.model import XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.model.impact_analysis import ImpactAnalysisJustification, ImpactAnalysisState
from cyclonedx.model.vulnerability import (
    BomTarget,
    Vulnerability,
    VulnerabilityAnalysis,
    VulnerabilitySource,
)
from elftools.elf.elffile import ELFFile

from build import frozen
from build.assemble import sizes_file
from build.cache import BuildError

_FILE = pathlib.Path(__file__).with_suffix(".toml")
_KEYS = {"id", "part", "modules", "objects", "bits", "detail"}


def statements() -> list[dict[str, Any]]:
    """Return the statements of vex.toml. Raises BuildError for one that proves nothing."""
    found: list[dict[str, Any]] = tomllib.loads(_FILE.read_text())["not_affected"]
    for one in found:
        if one.keys() - _KEYS or not {"id", "part"} <= one.keys():
            raise BuildError(f"{_FILE}: unknown or missing keys in {one}")
        if not one.keys() & {"modules", "objects", "bits"}:
            raise BuildError(f"{_FILE}: nothing proves {one['id']}: name modules, objects or bits")
    return found


def of(output: pathlib.Path, bill: Bom, components: Sequence[Component]) -> Bom:
    """Return the VEX of a built file, whose bill has these components.

    Raises BuildError for a statement that does not hold for the file.
    """
    parts = {component.name: component for component in components}
    # Other statements about the same file are another document.
    vex = Bom(serial_number=uuid.uuid5(bill.serial_number, _FILE.read_text()))
    vex.metadata.component = bill.metadata.component
    vex.metadata.timestamp = bill.metadata.timestamp
    for one in statements():
        part = parts.get(one["part"])
        if part is None:
            raise BuildError(f"{_FILE}: {one['id']}: there is no part {one['part']!r}")
        vex.vulnerabilities.add(
            Vulnerability(
                bom_ref=f"{one['id']}:{part.name}",
                id=one["id"],
                source=VulnerabilitySource(
                    name="CVE", url=XsUri(f"https://www.cve.org/CVERecord?id={one['id']}")
                ),
                affects=[BomTarget(ref=_link(bill, part))],
                analysis=VulnerabilityAnalysis(
                    state=ImpactAnalysisState.NOT_AFFECTED,
                    justification=ImpactAnalysisJustification.REQUIRES_ENVIRONMENT
                    if "bits" in one
                    else ImpactAnalysisJustification.CODE_NOT_PRESENT,
                    detail=_proved(output, one),
                ),
            )
        )
    return vex


def _link(bill: Bom, part: Component) -> str:
    """Return the BOM-Link (CycloneDX 1.6) of a part in a bill."""
    reference = urllib.parse.quote(str(part.bom_ref), safe="")
    return f"urn:cdx:{bill.serial_number}/{bill.version}#{reference}"


def _proved(output: pathlib.Path, one: dict[str, Any]) -> str:
    """Return why a statement holds for the file. Raises BuildError if it does not."""
    sizes = json.loads(sizes_file(output).read_text())
    # verify() has found no built-in module that is not on the list.
    modules = sizes["modules"].keys() | frozen.allowed("allowed-builtins")
    why = []
    for kind, there in (("modules", modules), ("objects", sizes["objects"].keys())):
        for name in one.get(kind, ()):
            if name in there:
                raise BuildError(f"{_FILE}: {one['id']} may apply: {output.name} has {name}")
            why.append(f"The file does not contain {name}.")
    if "bits" in one:
        with open(output, "rb") as stream:
            bits = ELFFile(stream).elfclass
        if bits != one["bits"]:
            raise BuildError(f"{_FILE}: {one['id']} may apply: {output.name} has {bits} bits")
    return " ".join([*why, *([one["detail"]] if "detail" in one else [])])
