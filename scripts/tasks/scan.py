"""`python3 -m scripts.tasks.scan FOUND.json...`: says what a scan of the bills found and is open.

Reads what grype wrote (`-o json`), and build/vex.toml of this checkout, whose statements answer for
findings that do not apply. Standard library only.
"""

import json
import pathlib
import sys
import tomllib
from typing import Any

from build import toolchain

_VEX = toolchain.TOP / "build" / "vex.toml"


def main(arguments: list[str]) -> int:
    """Print each open finding; return the exit status: 1 if there is one."""
    answered = {(one["id"], one["part"]) for one in tomllib.loads(_VEX.read_text())["not_affected"]}
    found = sorted(
        {
            one
            for path in arguments
            for one in _open(json.loads(pathlib.Path(path).read_text()), answered)
        }
    )
    for line in found:
        print(f"open: {line}")
    if found:
        print("update the part, or say in build/vex.toml why the file is not affected")
    elif arguments:
        print(f"good: nothing open in {', '.join(arguments)}")
    else:
        print("usage: python3 -m scripts.tasks.scan FOUND.json...", file=sys.stderr)
        return 2
    return int(bool(found))


def _open(document: dict[str, Any], answered: set[tuple[str, str]]) -> list[str]:
    """Return the findings that no statement answers; one with several names needs one answer.

    Raises KeyError for a document that grype did not write.
    """
    lines = []
    for match in document["matches"]:
        part, flaw = match["artifact"], match["vulnerability"]
        # Go writes an empty list as null.
        names = [flaw["id"], *(other["id"] for other in match.get("relatedVulnerabilities") or ())]
        if not any((name, part["name"]) in answered for name in names):
            fixed = ", ".join(flaw["fix"]["versions"] or ()) or "no release"
            lines.append(
                f"{' '.join(dict.fromkeys(names))} ({flaw['severity']}) in {part['name']} "
                f"{part['version']}, fixed by {fixed}"
            )
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
