"""Proves what the static file is, or fails the build: static, only allow-listed modules inside, writes nothing, needs no /proc, no /tmp, no /dev."""

import pathlib
import subprocess

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from build import emptyroot, frozen
from build.cache import BuildError, console


def verify(file: pathlib.Path) -> None:
    """Check `file`; raises BuildError with the first thing that is wrong."""
    _static(file)
    _modules(subprocess.run([file, "--version", "--verbose"], env={}, capture_output=True, text=True).stdout)
    if not emptyroot.possible():
        console.print("  [yellow]warning:[/yellow] this user and kernel cannot make an empty root; only the file's format and its modules were verified")
        return
    with emptyroot.holding(file) as root:
        _answers(root)
        left = sorted(path.name for path in root.iterdir())
        if left != ["azready"]:
            raise BuildError(f"the file left something behind in its root: {left}")
    console.print("  verified: static, allow-listed modules only, ran in an empty read-only root")


def _static(file: pathlib.Path) -> None:
    with open(file, "rb") as stream:
        try:
            for segment in ELFFile(stream).iter_segments():
                kind = segment["p_type"]
                if kind == "PT_INTERP":
                    raise BuildError(f"{file} is not static: it asks for an interpreter (PT_INTERP)")
                if isinstance(segment, DynamicSegment) and any(tag.entry.d_tag == "DT_NEEDED" for tag in segment.iter_tags()):
                    raise BuildError(f"{file} is not static: it needs shared libraries (DT_NEEDED)")
        except ELFError as error:
            raise BuildError(f"{file} is not an ELF file: {error}") from None


def _answers(root: pathlib.Path) -> None:
    """In the empty root: a word to standard output, and a whole network exchange that is refused by the loopback."""
    for arguments, code, where, words in (
        (["--version"], 0, "stdout", "azready "),
        (["unit"], 0, "stdout", "ExecStart="),
        (["report", "ready", "--wireserver", "http://127.0.0.1:9", "--deadline", "1"], 3, "stderr", "gave up"),
    ):
        result = emptyroot.run(root, arguments)
        if result.returncode != code or words not in getattr(result, where):
            raise BuildError(
                f"in an empty root, {' '.join(arguments)} ended with {result.returncode}, not {code}, and said: {(result.stdout + result.stderr)[-600:]!r}"
            )


def _modules(listing: str) -> None:
    """`azready --version --verbose` lists what the runtime itself says is built in and frozen."""
    listed = {line.partition(": ")[0]: set(line.partition(": ")[2].split()) for line in listing.splitlines() if ": " in line}
    for kind, allow_list in (
        ("builtin", frozen.allowed("allowed-builtins")),
        ("frozen", frozen.allowed("allowed-modules") | {"_frozen_importlib", "_frozen_importlib_external"}),
    ):
        inside = {name for name in listed.get(kind, set()) if name.partition(".")[0] != "agent"}
        if not inside:
            raise BuildError(f"the file does not list its {kind} modules")
        if inside - allow_list:
            raise BuildError(f"the file holds {kind} modules that are not in the allow-list: {' '.join(sorted(inside - allow_list))}")
