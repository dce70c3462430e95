"""Measures how soon a first boot reports Ready once the network is there: `scripts/bench --late`.

In a namespace without link and addresses, time runs from their coming, long after the start of
`provision`. It is compared with a whole `provision` whose network is up from the start.
"""

import pathlib
import statistics
import subprocess
import tempfile
import threading
import time

from rich.progress import track

from build.cache import console
from scripts.simulator import namespace, platform, scenario
from scripts.simulator.server import Exchange, Simulator
from scripts.tasks import guests

_ADDRESSES = (platform.WIRESERVER, platform.IMDS)
_WAIT = 1.3  # seconds before the network comes up: all that needs none is done by then


def measure(file: pathlib.Path, runs: int) -> int:
    """Enter a namespace, measure and print; return the exit status.

    Raises OSError, RuntimeError.
    """
    namespace.enter(_ADDRESSES)
    early: list[float] = []
    late: list[float] = []
    # On any address: these come and go. The namespace has no other.
    addresses = {"wireserver": ("", 80), "imds": ("", 8080)}
    arrived = threading.Event()
    received = [0.0]

    def note(exchange: Exchange) -> None:
        if exchange.report == "Ready":
            received[0] = exchange.received
            arrived.set()

    with Simulator(scenario.load("healthy"), on_exchange=note, **addresses):
        for _ in track(range(runs), "measuring", console=console, transient=True):
            for figures, wait in ((early, 0.0), (late, _WAIT)):
                arrived.clear()
                started = _run(file, wait)
                if not arrived.wait(1):
                    raise RuntimeError(f"{file} reported nothing")
                figures.append((received[0] - started) * 1000)
    whole, after = statistics.median(early), statistics.median(late)
    console.print(
        f"network up: {whole:.1f} ms from exec to Ready; network late: {after:.1f} ms from the "
        f"address to Ready: {after / whole:.2f}x ({runs} interleaved runs each, medians)"
    )
    return 0


def _run(file: pathlib.Path, wait: float) -> float:
    """Provision a fresh root; return when that began, or the network came `wait` seconds later."""
    with tempfile.TemporaryDirectory() as root:
        guests.sketch(pathlib.Path(root), scenario.VM())
        pathlib.Path(root, "etc/azready.toml").write_text("media.wait = 0\n")
        if wait:
            namespace.take_down(_ADDRESSES)
        started = time.monotonic()
        process = subprocess.Popen(
            [
                file,
                "provision",
                "--force",
                "--root",
                root,
                "--imds",
                f"http://{platform.IMDS}:8080",
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if wait:
            time.sleep(wait)
            started = time.monotonic()
            namespace.bring_up(_ADDRESSES)
        process.wait()
    return started
