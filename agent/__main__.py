"""The entry point of `python -m agent` and of the frozen file."""

import sys

from agent.start import start

start(sys.argv[1:])
