"""Runs while the static file is built, instead of the agent: what it leaves in memory is baked.

It imports the agent and the modules of baked-modules, and forgets how it was started. What runs
later is agent.start.start().
"""

import _imp
import sys

wanted = set("@BAKED@")
frozen = set(_imp._frozen_module_names())  # type: ignore[attr-defined]
for name in sorted(frozen):
    if name.partition(".")[0] == "agent" or name in wanted:
        __import__(name)
others = frozen.intersection(sys.modules) - wanted
others = {name for name in others if not name.startswith(("agent", "_frozen_importlib"))}
if others:
    raise SystemExit(f"not in build/snapshot/baked-modules: {' '.join(sorted(others))}")
# Where the bootloader believes its file to be.
for name in ("_MEIPASS", "_pyinstaller_pyz"):
    if hasattr(sys, name):
        delattr(sys, name)
sys.baked = True  # type: ignore[attr-defined]
del name, wanted, frozen, others
