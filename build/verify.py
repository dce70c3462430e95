"""Verifies the static file, or fails the build.

The file must be static, contain allow-listed modules only, write nothing, and work without /proc,
/tmp and /dev.
"""

import os
import pathlib
import subprocess
import sys

from elftools.common.exceptions import ELFError
from elftools.elf.constants import P_FLAGS
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from build import emptyroot, frozen, toolchain
from build import machine as emulation
from build.cache import BuildError, console


def verify(file: pathlib.Path, machine: str) -> None:
    """Check `file`, which was built for `machine`; raise BuildError for the first fault."""
    _format(file)
    _tells_nothing(file)
    emulator = emulation.emulator(machine)
    _modules(
        subprocess.run(
            [*emulation.command(machine, file), "--version", "--verbose"],
            env={},
            capture_output=True,
            text=True,
        ).stdout
    )
    if not emptyroot.possible():
        console.print(
            "  [yellow]warning:[/yellow] this user or kernel cannot make an empty root: "
            "only the file's format and modules were verified"
        )
        return
    with emptyroot.holding(file, emulator) as root:
        _answers(root, machine)
        if left := emptyroot.contents(root):
            raise BuildError(f"the file wrote into its root: {left}")
    how = " under qemu" if emulator else ""
    console.print(
        "  verified: static, hardened, allow-listed modules only; "
        f"runs in an empty read-only root{how}"
    )


def _format(file: pathlib.Path) -> None:
    """Check the program headers.

    The file is static, no memory is both writable and executable, and what only the start-up code
    writes to is read-only afterwards.
    """
    with open(file, "rb") as stream:
        try:
            segments = list(ELFFile(stream).iter_segments())
        except ELFError as error:
            raise BuildError(f"{file} is not an ELF file: {error}") from None
    for segment in segments:
        kind, flags = segment["p_type"], segment["p_flags"]
        if kind == "PT_INTERP":
            raise BuildError(f"{file} is not static: it requests an interpreter (PT_INTERP)")
        if isinstance(segment, DynamicSegment) and any(
            tag.entry.d_tag == "DT_NEEDED" for tag in segment.iter_tags()
        ):
            raise BuildError(f"{file} is not static: it needs shared libraries (DT_NEEDED)")
        if flags & P_FLAGS.PF_W and flags & P_FLAGS.PF_X:
            raise BuildError(f"{file} has memory that is both writable and executable ({kind})")
    for needed in ("PT_GNU_STACK", "PT_GNU_RELRO"):
        if needed not in {segment["p_type"] for segment in segments}:
            raise BuildError(f"{file} has no {needed}")


def _tells_nothing(file: pathlib.Path) -> None:
    """Check that the file does not contain the paths of the machine that built it."""
    content = file.read_bytes()
    for path in (toolchain.TOP, toolchain.cache_folder(), pathlib.Path(sys.prefix)):
        if os.fsencode(path) in content:
            raise BuildError(f"{file} contains a path of this machine: {path}")


def _answers(root: pathlib.Path, machine: str) -> None:
    """Check that it works in the empty root: standard output, and a connection that is refused."""
    for arguments, code, where, words in (
        (["--version"], 0, "stdout", f", {machine}, "),
        (["unit"], 0, "stdout", "ExecStart="),
        (
            ["report", "ready", "--wireserver", "http://127.0.0.1:9", "--deadline", "1"],
            3,
            "stderr",
            "gave up",
        ),
    ):
        result = emptyroot.run(root, arguments)
        if result.returncode != code or words not in getattr(result, where):
            said = (result.stdout + result.stderr)[-600:]
            raise BuildError(
                f"in an empty root, {' '.join(arguments)} exited with status "
                f"{result.returncode} instead of {code}, and said: {said!r}"
            )


def _modules(listing: str) -> None:
    """Check what the runtime itself lists as built in and frozen: `azready --version --verbose`."""
    listed = {
        line.partition(": ")[0]: set(line.partition(": ")[2].split())
        for line in listing.splitlines()
        if ": " in line
    }
    for kind, allow_list in (
        ("builtin", frozen.allowed("allowed-builtins")),
        (
            "frozen",
            frozen.allowed("allowed-modules") | {"_frozen_importlib", "_frozen_importlib_external"},
        ),
    ):
        inside = {name for name in listed.get(kind, set()) if name.partition(".")[0] != "agent"}
        if not inside:
            raise BuildError(f"the file does not list its {kind} modules")
        if inside - allow_list:
            names = " ".join(sorted(inside - allow_list))
            raise BuildError(
                f"the file contains {kind} modules that are not on the allow-list: {names}"
            )
