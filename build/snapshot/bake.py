"""Runs while the static file is built, instead of the agent: what it leaves in memory is baked.

It imports the agent and the modules of baked-modules, and forgets how it was started. What runs
later is agent.start.start().
"""

import _imp
import posix
import sys


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


wanted = set("@BAKED@")
frozen = set(_imp._frozen_module_names())  # type: ignore[attr-defined]
for name in sorted(frozen):
    if name.partition(".")[0] == "agent" or name in wanted:
        __import__(name)
others = frozen.intersection(sys.modules) - wanted
others = {name for name in others if not name.startswith(("agent", "_frozen_importlib"))}
if others:
    fail(f"not in build/snapshot/baked-modules: {' '.join(sorted(others))}")
check_others(frozen | set(sys.builtin_module_names))
# Where the bootloader believes its file to be.
for name in ("_MEIPASS", "_pyinstaller_pyz"):
    if hasattr(sys, name):
        delattr(sys, name)
sys.baked = True  # type: ignore[attr-defined]
globals().clear()
