"""`scripts/simulate`: runs the simulated platform.

It runs until it is interrupted, until a report arrives, or until a command that it started exits.
"""

import argparse
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading
import time

from scripts.simulator import media, namespace, platform, scenario
from scripts.simulator.server import Exchange, Simulator
from scripts.simulator.transcript import Transcript

EXIT_USAGE = 2
EXIT_NO_REPORT = 3
EXIT_PROBLEMS = 4

_EPILOG = """\
examples:
  scripts/simulate
      listen on two loopback ports and print a transcript
  scripts/simulate --netns -- ./azready report ready
      run a program where Azure's own addresses answer
  scripts/simulate --netns -- bash
      open a shell in there
  scripts/simulate --scenario stale -- ./azready report ready --wireserver {wireserver}
      run a program against a fault
  scripts/simulate --until Ready --timeout 300
      exit with status 0 once Ready arrives, or with 3 if it does not

exit status: that of COMMAND; without a command, 0, or 3 if the report of --until did not arrive
in time; 4 if --strict is given and Azure would have refused a request; 2 for a usage error
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="A simulated Azure: wireserver and Instance Metadata Service.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenario",
        default="healthy",
        metavar="NAME|FILE",
        help="what the platform answers (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="list the included scenarios and exit")
    parser.add_argument(
        "--netns",
        action="store_true",
        help="listen on Azure's own addresses, in a new network namespace",
    )
    parser.add_argument(
        "--wireserver-port",
        type=int,
        default=0,
        metavar="N",
        help="loopback port of the wireserver (default: any free one)",
    )
    parser.add_argument(
        "--imds-port",
        type=int,
        default=0,
        metavar="N",
        help="loopback port of IMDS (default: any free one)",
    )
    parser.add_argument(
        "--media",
        metavar="FILE",
        help="write the machine's provisioning CD to FILE (for a drive, or media.devices)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument(
        "--until",
        choices=["Ready", "Provisioning", "ProvisioningFailed"],
        help="exit once this report has been accepted",
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="exit after this time")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with status 4 if Azure would have refused a request",
    )
    parser.add_argument(
        "command",
        nargs="*",
        metavar="COMMAND",
        help="program to run; {wireserver} and {imds} in its words become the addresses",
    )
    options = parser.parse_args(arguments)
    if options.list:
        for name in scenario.names():
            print(f"{name:<28} {scenario.load(name).description}")
        return 0
    try:
        return _run(options)
    # OverflowError: a port above 65535.
    except (scenario.ScenarioError, OSError, OverflowError) as error:
        print(
            f"error: {error.strerror if isinstance(error, OSError) and error.strerror else error}",
            file=sys.stderr,
        )
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 0


def _run(options: argparse.Namespace) -> int:
    chosen = scenario.load(options.scenario)
    transcript = Transcript(as_json=options.json)
    arrived = threading.Event()
    if options.media:
        pathlib.Path(options.media).write_bytes(
            media.image(dataclasses.replace(chosen.vm, media="cd"))
        )

    def on_exchange(exchange: Exchange) -> None:
        transcript.exchange(exchange)
        if exchange.report and exchange.report == options.until:
            arrived.set()

    local = "127.0.0.1"
    addresses = {"wireserver": (local, options.wireserver_port), "imds": (local, options.imds_port)}
    inside: list[str] = []
    if options.netns:
        inside = namespace.enter((platform.WIRESERVER, platform.IMDS))
        addresses = platform.ADDRESSES
    with Simulator(chosen, on_exchange=on_exchange, **addresses) as simulator:
        urls = {"wireserver": simulator.url("wireserver"), "imds": simulator.url("imds")}
        transcript.note(f"simulated Azure, scenario {chosen.name}: {chosen.description}", **urls)
        command = options.command or (
            [os.environ.get("SHELL", "/bin/sh")]
            if options.netns and sys.stdin.isatty() and not options.until
            else []
        )
        if command:
            code = _command(
                [
                    word.replace("{wireserver}", urls["wireserver"]).replace("{imds}", urls["imds"])
                    for word in command
                ],
                options.timeout,
            )
        else:
            if inside:
                transcript.note("to enter the namespace", command=" ".join(inside))
            code = _wait(options, arrived)
        if options.strict and simulator.problems:
            return EXIT_PROBLEMS
        return code


def _command(words: list[str], timeout: float | None) -> int:
    try:
        code = subprocess.run(words, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        print(f"error: {words[0]} did not exit within {timeout:g} s", file=sys.stderr)
        return EXIT_NO_REPORT
    except OSError as error:
        print(f"error: cannot run {words[0]}: {(error.strerror or '').lower()}", file=sys.stderr)
        return EXIT_USAGE
    time.sleep(0.05)  # let the transcript print its last lines
    return code if code >= 0 else 128 - code


def _wait(options: argparse.Namespace, arrived: threading.Event) -> int:
    if not options.until:
        arrived.wait(options.timeout)
        return 0
    if arrived.wait(options.timeout):
        return 0
    print(f"error: no {options.until} report within {options.timeout:g} s", file=sys.stderr)
    return EXIT_NO_REPORT


if __name__ == "__main__":
    sys.exit(main())
