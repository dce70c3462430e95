"""`scripts/boot`: boots real systems on a simulated Azure, and says what works.

See scripts/bootlab/. dist/boot/ gets the logs, and the results as JUnit XML: results.xml.
"""

import argparse
import concurrent.futures
import contextlib
import pathlib
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from xml.etree import ElementTree

from rich.table import Table

from agent import init, programs
from agent.root import Root
from build import __main__ as build
from build import packages, toolchain
from build.cache import BuildError, console
from scripts.bootlab import LabError, shapes
from scripts.bootlab.checks import CHECKS, Proof, Result
from scripts.bootlab.faults import FAULTS
from scripts.bootlab.guests import GUESTS, Guest
from scripts.bootlab.trial import Trial
from scripts.tasks import guests

FOLDER = toolchain.TOP / "dist/boot"
AT_ONCE = 2  # machines: each has two processors, which are emulated
_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm qemu-efi-aarch64",
    "qemu-img": "qemu-utils",
    "genisoimage": "genisoimage",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "cpio": "cpio",
    "modprobe": "kmod",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
_SHOWN = {"passed": "[green]yes[/green]", "failed": "[red]NO[/red]", "skipped": "[dim]-[/dim]"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the words ask for; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/boot", description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list guests and faults, and exit")
    parser.add_argument("--all", action="store_true", help="boot all guests, and with all faults")
    parser.add_argument(
        "--guest", action="append", default=[], choices=GUESTS, metavar="NAME", help="boot this one"
    )
    parser.add_argument(
        "--root", metavar="DIR", help="boot an image of yours once: a root that has azready"
    )
    parser.add_argument("--faults", action="store_true", help="boot with each of the faults")
    parser.add_argument(
        "--fault", action="append", default=[], choices=FAULTS, metavar="NAME", help="with this one"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the moments of power cuts (default: a new one)"
    )
    parser.add_argument("--arch", choices=("x86_64", "aarch64"), help="only guests of this machine")
    parser.add_argument("--console", action="store_true", help="show the consoles")
    parser.add_argument(
        "--folder",
        type=pathlib.Path,
        default=FOLDER,
        help="where logs and results.xml go (default: dist/boot)",
    )
    options = parser.parse_args(arguments)
    everything = options.all or options.list
    chosen = [
        guest
        for guest in GUESTS.values()
        if (guest.name in options.guest or everything) and options.arch in (None, guest.machine)
    ]
    trials = [
        (fault, guest)
        for fault in FAULTS.values()
        for guest in fault.guests
        if (fault.name in options.fault or options.faults or everything)
        and options.arch in (None, guest.machine)
    ]
    if options.list:
        for guest in chosen:
            console.print(f"{guest.name:<20} {guest.machine:<8} {guest.what}")
        for fault in dict.fromkeys(fault for fault, _ in trials):
            console.print(f"{fault.name:<20} {'fault':<8} {fault.what}")
        return 0
    if not chosen and not trials and not options.root:
        parser.error("name a guest with --guest, a fault with --fault, or --all; see --list")
    seed = options.seed or secrets.randbelow(1 << 32)
    proofs: list[Proof | Trial] = []
    try:
        if options.root:
            chosen.append(own(options.root))
        prepare([*chosen, *(guest for _, guest in trials)])
        for guest in chosen:
            folder, shower = options.folder / guest.name, _shower(guest.name, options.console)
            boots = 1 if guest.tree else 4
            proofs.append(Proof(guest, _fresh(folder), boots=boots, show=shower))
        prove(proofs)
        if trials:
            console.print(f"  seed of the faults: {seed}")
        disturbed: list[Proof | Trial] = []
        for fault, guest in trials:
            folder = options.folder / fault.name / guest.name
            shower = _shower(f"{guest.name} {fault.name}", options.console)
            disturbed.append(Trial(fault, guest, _fresh(folder), seed=seed, show=shower))
        prove(disturbed, at_once=1)  # some are about time
        proofs += disturbed
    except (BuildError, LabError) as error:
        return build.refuse(BuildError(str(error)))
    table(proofs)
    write(proofs, options.folder / "results.xml")
    return int(any(result.state == "failed" for p in proofs for result in p.results.values()))


def own(tree: str) -> Guest:
    """Return the guest that boots a root of the caller's. Raises LabError."""
    with Root(str(pathlib.Path(tree).absolute())) as root:
        links = init.enabled(root)
        name, _ = init.detect(root)
        if not links:
            raise LabError(f"no boot of {tree} runs azready: run azready install --root {tree}")
        sshd = bool(programs.find(root, "sshd"))
    return Guest(
        name="image",
        what=tree,
        init=name,
        link=links[0],
        shape=shapes.nothing,
        sshd=sshd,
        holder=False,
        tree=tree,
    )


def prepare(chosen: Sequence[Guest]) -> None:
    """Build the files that the guests get, and do what need() does. Raises BuildError."""
    for machine in dict.fromkeys([toolchain.native(), *(guest.machine for guest in chosen)]):
        build.build(machine)
    need()


def need() -> None:
    """Install the programs that booting takes. Raises BuildError, also without root or Debian."""
    guests.suite()
    missing = [name for program, name in _PROGRAMS.items() if not shutil.which(program)]
    if missing:
        packages.install({"apt-get": " ".join(missing)})


def prove(proofs: "Sequence[Proof | Trial]", *, at_once: int = AT_ONCE) -> None:
    """Run proofs, a few at a time.

    An interruption switches all machines off. Raises BuildError.
    """
    with _interruptible(), concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        try:
            futures = {pool.submit(_timed, proof): proof for proof in proofs}
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for proof in proofs:
                proof.cloud.kill()
            raise


def table(proofs: "Sequence[Proof | Trial]") -> None:
    """Print guest x check, why checks failed, and what was measured of faults."""
    shown = Table(title="boots")
    results = [name for proof in proofs for name in proof.results]
    names = dict.fromkeys([*(name for name in CHECKS if name in results), *results])
    for column in ("guest", *names):
        shown.add_column(column)
    for proof in proofs:
        cells = (_cell(proof.results[name]) if name in proof.results else "" for name in names)
        shown.add_row(proof.name, *cells)
    console.print(shown, soft_wrap=False)
    for proof in proofs:
        for name, result in proof.results.items():
            if result.text and result.state != "skipped":
                console.print(f"{proof.name}: {name}: {result.text}", markup=False)


def write(proofs: "Sequence[Proof | Trial]", path: pathlib.Path) -> None:
    """Write the results as JUnit XML."""
    suites = ElementTree.Element("testsuites")
    for proof in proofs:
        states = [result.state for result in proof.results.values()]
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=proof.name,
            tests=str(len(states)),
            failures=str(states.count("failed")),
            skipped=str(states.count("skipped")),
        )
        for name, result in proof.results.items():
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=proof.name,
                name=name,
                time=f"{result.seconds:.3f}",
            )
            if result.state != "passed":
                kind = "failure" if result.state == "failed" else "skipped"
                message = result.text.partition("\n")[0]
                ElementTree.SubElement(case, kind, message=message).text = result.text
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _cell(result: Result) -> str:
    if result.state == "passed" and result.seconds:
        return f"[green]{result.seconds:.1f} s[/green]"
    return _SHOWN[result.state]


def _timed(proof: "Proof | Trial") -> None:
    started = time.monotonic()
    proof.run()
    failed = [name for name, result in proof.results.items() if result.state == "failed"]
    said = f"[red]failed: {', '.join(failed)}[/red]" if failed else "[green]passed[/green]"
    console.print(f"  {proof.name}: {said} in {time.monotonic() - started:.0f} s")


def _shower(name: str, wanted: bool) -> Callable[[str], object] | None:
    return (lambda line: console.print(f"{name} | {line}", markup=False)) if wanted else None


def _fresh(folder: pathlib.Path) -> pathlib.Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM end this process as Ctrl-C does, with everything cleaned up."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
