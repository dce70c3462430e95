"""The entry point of `python -m agent` and of the frozen file."""

import gc
import posix
import sys

# A start makes no garbage worth looking for; each look costs 3 % of it.
gc.set_threshold(50_000)

if sys.argv[1:2] == ["provision"] and "--dry-run" not in sys.argv:
    from agent import signals

    signals.arm()  # before all other imports, which take most of the time of a start

from agent.cli import main  # noqa: E402

# All output is written by now; taking the interpreter apart would only cost time.
posix._exit(main(sys.argv[1:]))
