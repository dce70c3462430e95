"""Entry point of `python -m agent` and of the frozen file."""

import posix
import sys

from agent.cli import main

# Everything is written by then; taking the interpreter apart would only cost time.
posix._exit(main(sys.argv[1:]))
