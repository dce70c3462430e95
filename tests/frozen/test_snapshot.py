"""The snapshot in the static file: the same everywhere, and nothing of the process that made it."""

import dataclasses
import functools
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import pytest
from elftools.elf.elffile import ELFFile

from build import machine as emulation
from build import toolchain
from build.cache import BuildError
from build.frozen import BAKED_CODE
from build.snapshot import audit, image, make
from scripts.simulator import scenario
from scripts.simulator.scenario import VM
from scripts.simulator.server import Exchange, Simulator
from scripts.tasks import guests
from tests.conftest import BUILT, FROZEN, Built

SNAPSHOTS = [
    how for how, built in BUILT.items() if toolchain.has_snapshot(built.architecture, built.freezer)
]


@pytest.fixture(params=SNAPSHOTS)
def snapshot(request: pytest.FixtureRequest) -> Built:
    """Each file with a snapshot that can be run here."""
    chosen = BUILT[request.param]
    chosen.command()
    return chosen


def parts(built: Built) -> pathlib.Path:
    return make.parts(built.file)


# The same everywhere.


def test_in_an_emulator_comes_out_what_comes_out_without(snapshot: Built) -> None:
    """So a file for another machine can be built here."""
    name = str(toolchain.machines()[snapshot.architecture].get("qemu", ""))
    emulator = shutil.which(name or f"qemu-{snapshot.architecture}-static")
    if emulator is None:
        pytest.skip("qemu-user-static is not installed (scripts/test installs it where it can)")
    folder = parts(snapshot)
    baked = make.bake(folder / "base", folder / BAKED_CODE, emulator)
    assert baked == (folder / "memory").read_bytes()


@pytest.fixture
def open_to_all() -> Iterator[pathlib.Path]:
    """A folder that any user can enter; pytest's own are private."""
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        place.chmod(0o755)
        yield place


def test_surroundings_leave_no_trace(snapshot: Built, open_to_all: pathlib.Path) -> None:
    """Another path, host name, user, umask, limits, priority, signals and standard input."""
    folder = parts(snapshot)
    program = f"""
import os, pathlib, resource, signal, socket, sys
from build.snapshot import make
if os.geteuid() == 0:
    from build.unshare import CLONE_NEWUTS, unshare
    unshare(CLONE_NEWUTS)
    socket.sethostname("another-name-of-this-machine")
    os.setgroups([12345])
    os.setgid(54321)
    os.setuid(54321)
os.umask(0o177)
os.nice(3)
os.environ.update(TZ="Pacific/Kiritimati", LC_ALL="tr_TR.UTF-8", PYTHONHASHSEED="7", HOME="/nowhere")
signal.signal(signal.SIGHUP, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))
resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
place = pathlib.Path(sys.argv[1])
sys.stdout.buffer.write(make.bake(place / "other", place / {BAKED_CODE!r}, sys.argv[2]))
"""
    shutil.copy(folder / "base", open_to_all / "other")
    shutil.copy(folder / BAKED_CODE, open_to_all)
    for path in open_to_all.iterdir():
        path.chmod(0o755)
    baked = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            open_to_all,
            emulation.emulator(snapshot.architecture),
        ],
        env={**os.environ, "PYTHONPATH": str(toolchain.TOP), "TMPDIR": "/tmp"},
        capture_output=True,
    )
    assert baked.returncode == 0, baked.stderr.decode()
    assert baked.stdout == (folder / "memory").read_bytes()


def test_the_file_is_what_its_parts_make(snapshot: Built) -> None:
    assert make.checked(parts(snapshot)) == snapshot.file.read_bytes()


# What is baked is known.


def test_the_lists_name_what_is_there_and_nothing_else(snapshot: Built) -> None:
    folder = parts(snapshot)
    known = audit.variables((folder / "map").read_text())
    runtime, memory = ((folder / name).read_bytes() for name in ("runtime", "memory"))
    assert audit.changed(known, runtime, memory) == audit.listed()


def test_a_variable_that_is_not_on_the_list_stops_the_build(
    snapshot: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = audit.listed() - {"tupleobject.o:PyTuple_Type"}
    monkeypatch.setattr(audit, "listed", lambda: names)
    with pytest.raises(BuildError, match=r"look at them.*: tupleobject\.o:PyTuple_Type$"):
        make.checked(parts(snapshot))


def test_a_variable_of_the_c_library_in_the_snapshot_stops_the_build() -> None:
    lines = [
        "         1000                 1000       10    16         /x/begin.o:(.data.azready_data_begin)",
        "         1000                 1000       10     1                 azready_data_begin",
        "         1010                 1010        8     8         /x/libpython3.13.a(a.o):(.data.one)",
        "         1010                 1010        8     1                 one",
        "         1020                 1020       10    16         /x/end.o:(.data.azready_data_end)",
        "         1020                 1020       10     1                 azready_data_end",
        "         1030                 1030       10    16         /x/begin.o:(.bss.azready_bss_begin)",
        "         1030                 1030       10     1                 azready_bss_begin",
        "         1040                 1040       10    16         /x/end.o:(.bss.azready_bss_end)",
        "         1040                 1040       10     1                 azready_bss_end",
        "         1050                 1050        8     8         /z/libc.a(/z/b.o):(.bss.two)",
        "         1050                 1050        8     1                 two",
    ]
    assert audit.misplaced(audit.variables("\n".join(lines))) == []
    inside = [*lines[:4], *lines[10:], *lines[4:10]]
    inside[4:6] = [line.replace("1050", "1018") for line in inside[4:6]]
    assert audit.misplaced(audit.variables("\n".join(inside))) == ["b.o:two"]
    outside = [line.replace("1010", "1060", 2) for line in lines]
    assert audit.misplaced(audit.variables("\n".join(outside))) == ["a.o:one"]


def test_no_code_in_the_file_makes_a_thread(snapshot: Built) -> None:
    """So the heap needs no lock: pthread_create() is nothreads.c's, the C library's is not there."""
    link_map = (parts(snapshot) / "map").read_text()
    makers = re.findall(r"/([^/]+):\(\.text\.(?:__)?pthread_create\)", link_map)
    assert makers == ["nothreads.o"]
    assert "pthread_create.o):(.text.__tl_lock)" in link_map  # the C library's other functions are


# What the file is.


def test_memory_that_does_not_fit_is_refused(snapshot: Built) -> None:
    runtime = (parts(snapshot) / "runtime").read_bytes()
    end = struct.pack("<QQ", 0x2000000, 0)
    for memory, why in (
        (b"", "cut off"),
        (struct.pack("<QQ", 0x1000, 4) + b"code" + end, "0x1000 is outside"),
        (struct.pack("<QQ", 1 << 40, 4) + b"code" + end, "0x10000000000 is outside"),
    ):
        with pytest.raises(image.UnsuitableError, match=why):
            image.put(memory, runtime)
    with pytest.raises(image.UnsuitableError, match="not an executable"):
        image.put(end, pathlib.Path("/bin/sh").resolve().read_bytes())


def test_the_segments_suit_the_pages_of_the_machine(snapshot: Built) -> None:
    """4 KiB; on aarch64, up to 64 KiB: no page of that size has two kinds of protection."""
    page = 0x10000 if snapshot.architecture == "aarch64" else 0x1000
    with open(snapshot.file, "rb") as file:
        loaded = [s.header for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]
    seen: dict[int, int] = {}
    for header in loaded:
        assert header["p_align"] == page
        assert (header["p_offset"] - header["p_vaddr"]) % page == 0
        first, last = header["p_vaddr"], header["p_vaddr"] + header["p_memsz"] - 1
        for number in range(first // page, last // page + 1):
            assert seen.setdefault(number, header["p_flags"]) == header["p_flags"]


def test_needs_little_memory_that_may_be_written(snapshot: Built) -> None:
    """With vm.overcommit_memory=2, all of it must be there, used or not."""
    with open(snapshot.file, "rb") as file:
        needed = sum(
            segment["p_memsz"]
            for segment in ELFFile(file).iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & 2
        )
    assert needed < 5_000_000


def test_runs_where_hardly_any_memory_may_be_written(snapshot: Built) -> None:
    if not snapshot.native:
        pytest.skip("the limit would be qemu's")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (5_500_000, 5_500_000))

    with Simulator(scenario.load("healthy")) as simulator:
        command = [
            str(snapshot.file),
            "report",
            "ready",
            "--wireserver",
            simulator.url("wireserver"),
        ]
        subprocess.run(command, preexec_fn=limit, check=True, capture_output=True)
        assert simulator.reports == ["Ready"]


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_starts_with_the_page_sizes_of_aarch64(page: int) -> None:
    built = BUILT.get("aarch64-pyinstaller") or BUILT["frozen"]
    if built.native or built.architecture != "aarch64":
        pytest.skip("the kernel of this machine decides about its page size")
    emulator, *file = built.command()
    done = subprocess.run([emulator, "-p", str(page), *file, "--version"], capture_output=True)
    assert done.stdout.startswith(b"azready ")


# All are older than Linux 4.19, and the file asks for nothing else to report.
SYSTEM_CALLS = {
    *("arch_prctl", "close", "connect", "execve", "exit_group", "fstat", "getsockopt", "gettid"),
    *("ioctl", "poll", "recvfrom", "rt_sigaction", "rt_sigprocmask", "sendto", "set_tid_address"),
    *("setsockopt", "socket", "umask", "write"),
}


def test_a_report_takes_few_system_calls_all_of_them_old(tmp_path: pathlib.Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (scripts/test installs it where it can)")
    with Simulator(scenario.load("healthy")) as simulator:
        command = [str(FROZEN), "report", "ready", "--wireserver", simulator.url("wireserver")]
        subprocess.run(
            ["strace", "-o", str(tmp_path / "trace"), *command], check=True, capture_output=True
        )
    calls = re.findall(r"^(\w+)\(", (tmp_path / "trace").read_text(), re.MULTILINE)
    assert set(calls) <= SYSTEM_CALLS
    assert len(calls) < 60


# What belongs to the process.


@pytest.fixture
def waiting() -> Iterator[tuple[Simulator, threading.Event]]:
    """A platform that accepts a report only when the event is set."""
    go = threading.Event()

    def hold(exchange: Exchange) -> None:
        if exchange.report:
            go.wait(20)

    with Simulator(scenario.load("healthy"), on_exchange=hold) as simulator:
        yield simulator, go
        go.set()


def test_expat_gets_a_key_of_this_process(waiting: tuple[Simulator, threading.Event]) -> None:
    """What the kernel gave to the process (AT_RANDOM) is in its heap after a document was read."""
    simulator, go = waiting
    command = [str(FROZEN), "report", "ready", "--wireserver", simulator.url("wireserver")]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        place = pathlib.Path(f"/proc/{process.pid}")
        for _ in range(200):
            if simulator.exchanges[1:]:
                break
            time.sleep(0.02)
        words = struct.iter_unpack("<QQ", (place / "auxv").read_bytes())
        at = dict(words)[25]  # AT_RANDOM
        with open(place / "mem", "rb", buffering=0) as memory:
            memory.seek(at)
            key = memory.read(16)[8:]
            found = 0
            for line in (place / "maps").read_text().splitlines():
                ends, flags, _, _, _, *name = line.split()
                if "w" in flags and not (name and name[0].startswith("[stack")):
                    first, last = (int(end, 16) for end in ends.split("-"))
                    memory.seek(first)
                    found += memory.read(last - first).count(key)
        go.set()
        assert process.wait(20) == 0
    assert found
    assert key not in FROZEN.read_bytes()


@pytest.mark.parametrize("ignored", [(), (signal.SIGHUP,), (signal.SIGHUP, signal.SIGINT)])
def test_a_signal_that_the_caller_ignores_stays_ignored(
    waiting: tuple[Simulator, threading.Event], ignored: tuple[int, ...], tmp_path: pathlib.Path
) -> None:
    simulator, go = waiting
    urls = [f"--{name}={simulator.url(name)}" for name in ("wireserver", "imds")]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/azready.toml").write_text("media.wait = 0\nsteps.user = false\n")
    command = [str(FROZEN), "provision", "--force", "--root", str(tmp_path), *urls]

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=ignore) as process:
        for _ in range(200):
            if any(exchange.report for exchange in simulator.exchanges):
                break
            time.sleep(0.02)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        go.set()
        process.wait(20)
    caught = int(status.partition("SigCgt:\t")[2][:16], 16)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        assert bool(caught >> (number - 1) & 1) == (number not in ignored)


def test_environment_and_arguments_are_those_of_the_process(
    snapshot: Built, tmp_path: pathlib.Path
) -> None:
    """$JOURNAL_STREAM names standard error, so lines start with their priority."""
    with open(tmp_path / "log", "w+") as log:
        status = os.fstat(log.fileno())
        variables = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", "EMPTY": ""}
        subprocess.run([*snapshot.command(), "report", "g\xf6ne"], env=variables, stderr=log)
        log.seek(0)
        assert log.read().startswith("<3>unknown report 'g\xf6ne'")


# Little memory.


def test_with_too_little_memory_it_ends_with_one_line(
    snapshot: Built, tmp_path: pathlib.Path
) -> None:
    if not snapshot.native:
        pytest.skip("the limit would be qemu's")
    with Simulator(scenario.load("healthy")) as simulator:
        ends = set()
        for kilobytes in range(5_000, 20_000, 250):
            size = kilobytes * 1000

            def limit(size: int = size) -> None:
                resource.setrlimit(resource.RLIMIT_AS, (size, size))

            done = subprocess.run(
                [snapshot.file, "report", "ready", "--wireserver", simulator.url("wireserver")],
                preexec_fn=limit,
                capture_output=True,
                text=True,
            )
            if done.returncode >= 0:  # otherwise, the kernel could not even map the file
                assert done.stderr.count("\n") == 1, (size, done.stderr)
            ends.add(done.returncode)
    assert ends <= {-signal.SIGKILL, -signal.SIGSEGV, 0, 1}
    assert 0 in ends


def provision_within(file: pathlib.Path, size: int, vm: VM) -> tuple[int, list[str], str]:
    """What a first boot with `ulimit -v` makes of it: exit status, reports, log."""
    with (
        Simulator(dataclasses.replace(scenario.load("healthy"), vm=vm)) as simulator,
        tempfile.TemporaryDirectory() as root,
    ):
        guests.sketch(pathlib.Path(root), vm)
        urls = [f"--{name}={simulator.url(name)}" for name in ("wireserver", "imds")]
        done = subprocess.run(
            [file, "provision", "--root", root, *urls],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
            capture_output=True,
            text=True,
        )
        return done.returncode, simulator.reports, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the new user's files are given to the user")
def test_a_first_boot_needs_hardly_more_memory_than_its_start(snapshot: Built) -> None:
    """And says so where that is not enough for what the platform sends."""
    if not snapshot.native:
        pytest.skip("the limit would be qemu's")

    def starts(size: int) -> bool:
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (size, size))
        words = [str(snapshot.file), "--version"]
        return subprocess.run(words, preexec_fn=limit, capture_output=True).returncode == 0

    least = next(size for size in range(4_000_000, 9_000_000, 65536) if starts(size))
    assert least < 7_100_000
    code, reports, said = provision_within(snapshot.file, least, guests.EVERYTHING)
    assert (code, reports) == (0, ["Ready"]), said
    much = dataclasses.replace(guests.EVERYTHING, custom_data="#!/bin/sh\n" + "#" * 600_000)
    code, reports, said = provision_within(snapshot.file, least, much)
    assert (code, reports) == (1, ["ProvisioningFailed"]), said
    last = said.splitlines()[-1]
    assert "error: provisioning failed: out of memory: raise the limit of this process" in last
    assert "Traceback" not in said
