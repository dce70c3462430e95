"""`scripts/simulate`: runs the simulated platform until it is interrupted, a report came, or a command that was started with it has ended."""

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
  scripts/simulate                                       listen on two loopback ports and show what comes
  scripts/simulate --netns -- ./azready report ready     run a program where Azure's own addresses answer
  scripts/simulate --netns -- bash                       look around in there
  scripts/simulate --scenario stale -- ./azready report ready --wireserver {wireserver}
  scripts/simulate --until Ready --timeout 300           end with 0 once Ready came, with 3 if it did not

exit codes: that of COMMAND; without one 0, 3 if what --until waits for did not come in time; 4 if --strict and a request was wrong; 2 for a wrong command line
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="A simulated Azure: wireserver and Instance Metadata Service.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", default="healthy", metavar="NAME|FILE", help="what the platform answers (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list the scenarios that are here and end")
    parser.add_argument("--netns", action="store_true", help="listen on Azure's own addresses in a network namespace made for it")
    parser.add_argument("--wireserver-port", type=int, default=0, metavar="N", help="loopback port of the wireserver (default: any free one)")
    parser.add_argument("--imds-port", type=int, default=0, metavar="N", help="loopback port of IMDS (default: any free one)")
    parser.add_argument("--media", metavar="FILE", help="write the provisioning CD of the scenario's machine into FILE (for a drive, or media.devices)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of text")
    parser.add_argument("--until", choices=["Ready", "Provisioning", "ProvisioningFailed"], help="end once this report was accepted")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="end after this time")
    parser.add_argument("--strict", action="store_true", help="end with 4 if any request was not as Azure wants it")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="a program to run; {wireserver} and {imds} in its words become the addresses")
    options = parser.parse_args(arguments)
    if options.list:
        for name in scenario.names():
            print(f"{name:<28} {scenario.load(name).description}")
        return 0
    try:
        return _run(options)
    except (scenario.ScenarioError, OSError, OverflowError) as error:  # OverflowError: a port beyond 65535
        print(f"error: {error.strerror if isinstance(error, OSError) and error.strerror else error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 0


def _run(options: argparse.Namespace) -> int:
    chosen = scenario.load(options.scenario)
    transcript = Transcript(as_json=options.json)
    arrived = threading.Event()
    if options.media:
        pathlib.Path(options.media).write_bytes(media.image(dataclasses.replace(chosen.vm, media="cd")))

    def on_exchange(exchange: Exchange) -> None:
        transcript.exchange(exchange)
        if exchange.report and exchange.report == options.until:
            arrived.set()

    wireserver, imds = ("127.0.0.1", options.wireserver_port), ("127.0.0.1", options.imds_port)
    inside: list[str] = []
    if options.netns:
        inside = namespace.enter((platform.WIRESERVER, platform.IMDS))
        wireserver, imds = (platform.WIRESERVER, 80), (platform.IMDS, 80)
    with Simulator(chosen, wireserver=wireserver, imds=imds, on_exchange=on_exchange) as simulator:
        urls = {"wireserver": simulator.url("wireserver"), "imds": simulator.url("imds")}
        transcript.note(f"simulated Azure, scenario {chosen.name}: {chosen.description}", **urls)
        command = options.command or ([os.environ.get("SHELL", "/bin/sh")] if options.netns and sys.stdin.isatty() and not options.until else [])
        if command:
            code = _command([word.replace("{wireserver}", urls["wireserver"]).replace("{imds}", urls["imds"]) for word in command], options.timeout)
        else:
            if inside:
                transcript.note("a program gets in with", command=" ".join(inside))
            code = _wait(options, arrived)
        if options.strict and simulator.problems:
            return EXIT_PROBLEMS
        return code


def _command(words: list[str], timeout: float | None) -> int:
    try:
        code = subprocess.run(words, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        print(f"error: {words[0]} did not end within {timeout:g} s", file=sys.stderr)
        return EXIT_NO_REPORT
    except OSError as error:
        print(f"error: cannot run {words[0]}: {(error.strerror or '').lower()}", file=sys.stderr)
        return EXIT_USAGE
    time.sleep(0.05)  # let the last lines of the transcript come
    return code if code >= 0 else 128 - code


def _wait(options: argparse.Namespace, arrived: threading.Event) -> int:
    if not options.until:
        arrived.wait(options.timeout)
        return 0
    if arrived.wait(options.timeout):
        return 0
    print(f"error: no {options.until} report came within {options.timeout:g} s", file=sys.stderr)
    return EXIT_NO_REPORT


if __name__ == "__main__":
    sys.exit(main())
