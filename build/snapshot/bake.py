"""Runs while the static file is built, instead of the agent: what it leaves in memory is baked.

It imports the agent and the modules of baked-modules, and forgets how it was started. What runs
later is agent.start.start().
"""

import _imp
import posix
import sys

SNAPSHOT = 10  # the descriptor that it is written to, see dump.c


def fail(text: str) -> None:
    """End the build with a message."""
    posix.write(2, f"{text}\n".encode())
    posix._exit(1)


def check_others(names: set[str]) -> None:
    """Import all other modules of the file, in a child: one that is missing or broken is found."""
    child = posix.fork()
    if child:
        if posix.waitpid(child, 0)[1]:
            posix._exit(1)
        return
    for name in sorted(names):
        try:
            __import__(name)
        except BaseException as error:
            fail(f"{name} cannot be imported: {error}")
    posix._exit(0)


def rehearse() -> None:
    """Report Ready to the platform of rehearsal.c, as often as the interpreter needs to adapt."""
    from agent import cli

    errors, nothing = posix.dup(2), posix.open("/dev/null", posix.O_RDWR)
    posix.dup2(nothing, 2)
    codes = {cli.main(["report", "ready", "--wireserver", "http://127.0.0.1:1"]) for _ in range(24)}
    posix.dup2(errors, 2)
    posix.closerange(3, SNAPSHOT)  # these two, and what the logs have opened
    posix.closerange(SNAPSHOT + 1, 256)
    if codes != {0}:
        fail(f"the rehearsal ended with the exit statuses {codes}")


def is_open(descriptor: int) -> bool:
    """Tell whether a descriptor is open."""
    try:
        posix.fstat(descriptor)
    except OSError:
        return False
    return True


def is_constant(value: object) -> bool:
    """Tell whether a value is of a plain type that cannot change."""
    if type(value) in (tuple, frozenset):
        return all(map(is_constant, value))  # type: ignore[call-overload]
    return value is None or type(value) in (str, bytes, int, float, bool)


def variables() -> set[str]:
    """Return the variables of all modules here that are neither constants, code nor modules."""
    plain = (type, type(fail), type(len), type(sys), type(NotImplemented))
    seen: dict[int, str] = {}
    for module in sorted(frozen.intersection(sys.modules)):
        for name, value in vars(sys.modules[module]).items():
            if not (name.startswith("__") or is_constant(value) or isinstance(value, plain)):
                seen.setdefault(id(value), f"{module}.{name}")
    return set(seen.values())


wanted = set("@BAKED@")
apart = set("@APART@")  # commands that no boot runs: their code takes less room than their objects
frozen = set(_imp._frozen_module_names())  # type: ignore[attr-defined]
# What a report needs comes first, so that it lies close together: less is read from a cold disk.
__import__("agent.start")
rehearse()
for name in sorted(frozen - apart):
    if name.partition(".")[0] == "agent" or name in wanted:
        __import__(name)
if imported := apart.intersection(sys.modules):
    fail(f"imported, though in build/snapshot/apart-modules: {' '.join(sorted(imported))}")
others = frozen.intersection(sys.modules) - wanted
others = {name for name in others if not name.startswith(("agent", "_frozen_importlib"))}
if others:
    fail(f"not in build/snapshot/baked-modules: {' '.join(sorted(others))}")
if new := variables() - set("@OBJECTS@"):
    fail(f"look at them, then add them to build/snapshot/baked-objects: {' '.join(sorted(new))}")
check_others(frozen | set(sys.builtin_module_names))
opened = [fd for fd in range(64) if is_open(fd)]
if opened != [0, 1, 2, SNAPSHOT]:
    fail(f"open descriptors would be missing in the started file: {opened}")
# Where the bootloader believes its file to be.
for name in ("_MEIPASS", "_pyinstaller_pyz"):
    if hasattr(sys, name):
        delattr(sys, name)
sys.baked = True  # type: ignore[attr-defined]
globals().clear()
