"""Where the agent starts: agent/__main__.py calls it, or what resumes a snapshot."""

import gc
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def start(arguments: list[str]) -> "NoReturn":
    """Carry out a command line, without the name of the program, and end the process."""
    # A start makes no garbage worth looking for; each look costs 3 % of it.
    gc.set_threshold(50_000)
    if arguments[:1] == ["provision"] and "--dry-run" not in arguments:
        from agent import signals

        signals.arm()  # before all other imports, which take most of the time of a plain start
    from agent.cli import main

    # All output is written by now; taking the interpreter apart would only cost time.
    posix._exit(main(arguments))
