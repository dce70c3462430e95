"""`scripts/boot`: boots real systems on a simulated Azure, and says what works.

See scripts/bootlab/. dist/boot/ gets the logs, and the results as JUnit XML: results.xml.
"""

import argparse
import concurrent.futures
import contextlib
import pathlib
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
from scripts.bootlab.guests import GUESTS, Guest
from scripts.tasks import guests

FOLDER = toolchain.TOP / "dist/boot"
AT_ONCE = 2  # machines: each has two processors, which are emulated
_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm qemu-efi-aarch64",
    "qemu-img": "qemu-utils",
    "genisoimage": "genisoimage",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
    "modprobe": "kmod",
    "ip": "iproute2",
    "ssh": "openssh-client",
}
_SHOWN = {"passed": "[green]yes[/green]", "failed": "[red]NO[/red]", "skipped": "[dim]-[/dim]"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the words ask for; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/boot", description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list the guests and exit")
    parser.add_argument("--all", action="store_true", help="boot all guests")
    parser.add_argument(
        "--guest", action="append", default=[], choices=GUESTS, metavar="NAME", help="boot this one"
    )
    parser.add_argument(
        "--root", metavar="DIR", help="boot an image of yours once: a root that has azready"
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
    chosen = [
        guest
        for guest in GUESTS.values()
        if (guest.name in options.guest or options.all or options.list)
        and options.arch in (None, guest.machine)
    ]
    if options.list:
        for guest in chosen:
            console.print(f"{guest.name:<20} {guest.machine:<8} {guest.what}")
        return 0
    if not chosen and not options.root:
        parser.error("name a guest with --guest, or all with --all; --list lists them")
    try:
        if options.root:
            chosen.append(own(options.root))
        prepare(chosen)
        proofs = prove(chosen, options.folder, show=options.console)
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


def prove(chosen: Sequence[Guest], folder: pathlib.Path, *, show: bool = False) -> list[Proof]:
    """Boot guests, at most AT_ONCE at a time; return what was proved, in the same order.

    An interruption switches all machines off. Raises BuildError.
    """
    for guest in chosen:
        shutil.rmtree(folder / guest.name, ignore_errors=True)
    proofs = [
        Proof(
            guest,
            folder / guest.name,
            boots=1 if guest.tree else 4,
            show=_shower(guest) if show else None,
        )
        for guest in chosen
    ]
    with _interruptible(), concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            futures = {pool.submit(_timed, proof): proof for proof in proofs}
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for proof in proofs:
                proof.cloud.kill()
            raise
    return proofs


def table(proofs: Sequence[Proof]) -> None:
    """Print guest x check, and why checks failed."""
    shown = Table(title="boots")
    for column in ("guest", *CHECKS):
        shown.add_column(column)
    for proof in proofs:
        shown.add_row(proof.guest.name, *(_cell(proof.results[name]) for name in CHECKS))
    console.print(shown, soft_wrap=False)
    for proof in proofs:
        for name, result in proof.results.items():
            if result.state == "failed":
                console.print(f"{proof.guest.name}: {name}: {result.text}", markup=False)


def write(proofs: Sequence[Proof], path: pathlib.Path) -> None:
    """Write the results as JUnit XML."""
    suites = ElementTree.Element("testsuites")
    for proof in proofs:
        states = [result.state for result in proof.results.values()]
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=proof.guest.name,
            tests=str(len(states)),
            failures=str(states.count("failed")),
            skipped=str(states.count("skipped")),
        )
        for name, result in proof.results.items():
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=proof.guest.name,
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


def _timed(proof: Proof) -> None:
    started = time.monotonic()
    proof.run()
    failed = [name for name, result in proof.results.items() if result.state == "failed"]
    said = f"[red]failed: {', '.join(failed)}[/red]" if failed else "[green]passed[/green]"
    console.print(f"  {proof.guest.name}: {said} in {time.monotonic() - started:.0f} s")


def _shower(guest: Guest) -> Callable[[str], object]:
    return lambda line: console.print(f"{guest.name} | {line}", markup=False)


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
