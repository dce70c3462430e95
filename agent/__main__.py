"""The entry point of `python -m agent` and of the frozen file."""

import posix
import sys

from agent.cli import main

# All output is written by now; taking the interpreter apart would only cost time.
posix._exit(main(sys.argv[1:]))
