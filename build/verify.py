"""Proves what the static file is, or fails the build: static, only allow-listed modules inside, writes nothing, needs no /proc, no /tmp, no /dev."""

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
    """Check `file`, made for `machine`; raises BuildError with the first thing that is wrong."""
    _format(file)
    _tells_nothing(file)
    emulator = emulation.emulator(machine)
    _modules(subprocess.run([*emulation.command(machine, file), "--version", "--verbose"], env={}, capture_output=True, text=True).stdout)
    if not emptyroot.possible():
        console.print("  [yellow]warning:[/yellow] this user and kernel cannot make an empty root; only the file's format and its modules were verified")
        return
    with emptyroot.holding(file, emulator) as root:
        _answers(root, machine)
        if left := emptyroot.contents(root):
            raise BuildError(f"the file left something behind in its root: {left}")
    console.print(f"  verified: static, hardened, allow-listed modules only, ran in an empty read-only root{' under qemu' * bool(emulator)}")


def _format(file: pathlib.Path) -> None:
    """The program headers: static, no memory that can be written and executed, what only the start writes to read-only afterwards."""
    with open(file, "rb") as stream:
        try:
            segments = list(ELFFile(stream).iter_segments())
        except ELFError as error:
            raise BuildError(f"{file} is not an ELF file: {error}") from None
    for segment in segments:
        kind, flags = segment["p_type"], segment["p_flags"]
        if kind == "PT_INTERP":
            raise BuildError(f"{file} is not static: it asks for an interpreter (PT_INTERP)")
        if isinstance(segment, DynamicSegment) and any(tag.entry.d_tag == "DT_NEEDED" for tag in segment.iter_tags()):
            raise BuildError(f"{file} is not static: it needs shared libraries (DT_NEEDED)")
        if flags & P_FLAGS.PF_W and flags & P_FLAGS.PF_X:
            raise BuildError(f"{file} has memory that can be written and executed ({kind})")
    for needed in ("PT_GNU_STACK", "PT_GNU_RELRO"):
        if needed not in {segment["p_type"] for segment in segments}:
            raise BuildError(f"{file} has no {needed}")


def _tells_nothing(file: pathlib.Path) -> None:
    """Nobody can read in the file where it was built."""
    content = file.read_bytes()
    for path in (toolchain.TOP, toolchain.cache_folder(), pathlib.Path(sys.prefix)):
        if os.fsencode(path) in content:
            raise BuildError(f"{file} tells where it was built: {path} is in it")


def _answers(root: pathlib.Path, machine: str) -> None:
    """In the empty root: a word to standard output, and a whole network exchange that is refused by the loopback."""
    for arguments, code, where, words in (
        (["--version"], 0, "stdout", f", {machine}, "),
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
