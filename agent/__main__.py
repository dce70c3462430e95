"""Entry point of `python -m agent` and of the frozen file."""

import sys

from agent.cli import main

sys.exit(main(sys.argv[1:]))
