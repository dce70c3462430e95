"""`scripts/build`: builds files and, if there are several, measures them."""

import sys

from build import __main__ as build
from scripts.tasks import figures

if __name__ == "__main__":
    sys.exit(build.main(show_figures=figures.show))
