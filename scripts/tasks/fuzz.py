"""`scripts/fuzz --minutes N`: repeats the property tests with thousands of examples.

Examples that fail are kept in the cache, and the next run starts with them. Exits with 1 at the
first failure, after printing the smallest example that shows it.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

from build import toolchain
from build.cache import console

TOP = pathlib.Path(__file__).parents[2]


def main() -> int:
    """Fuzz; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Run the property tests with thousands of examples.",
    )
    parser.add_argument(
        "--minutes", type=float, default=5, metavar="N", help="how long (default: %(default)s)"
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=2000,
        metavar="N",
        help="examples per property and round (default: %(default)s)",
    )
    options = parser.parse_args()
    database = toolchain.cache_folder() / "examples"
    environment = {
        **os.environ,
        "PYTHONPATH": str(TOP),
        "HYPOTHESIS_PROFILE": "deep",
        "AZREADY_EXAMPLES": str(options.examples),
        "AZREADY_EXAMPLE_DATABASE": str(database),
    }
    end = time.monotonic() + options.minutes * 60
    rounds = 0
    while time.monotonic() < end or rounds == 0:
        started = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/property"],
            cwd=TOP,
            env=environment,
            capture_output=True,
            text=True,
        )
        rounds += 1
        now = time.monotonic()
        if result.returncode:
            console.print(result.stdout[-8000:], markup=False)
            console.print(
                f"[red]error:[/red] a property failed in round {rounds}; "
                f"the example is kept in {database}"
            )
            return 1
        console.print(
            f"round {rounds}: {options.examples} examples per property "
            f"in {now - started:.0f} s, {max(0.0, end - now):.0f} s left"
        )
    console.print(f"[green]nothing found[/green] in {rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
