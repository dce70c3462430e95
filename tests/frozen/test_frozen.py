"""What the static file is and where it runs: in real roots, against the simulator."""

import ctypes
import io
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile

from build import emptyroot, toolchain, verify
from build.unshare import CLONE_NEWNET, unshare
from scripts.simulator import scenario
from scripts.simulator.server import Simulator
from tests.conftest import FROZEN, TOP, Built

needs_root_of_its_own = pytest.mark.skipif(
    not emptyroot.possible(), reason="this user and kernel cannot make an empty root"
)


@pytest.fixture
def platform() -> Iterator[Simulator]:
    with Simulator(scenario.load("healthy")) as simulator:
        yield simulator


@pytest.fixture
def root(built: Built) -> Iterator[pathlib.Path]:
    with built.holding() as folder:
        yield folder


def ready(simulator: Simulator) -> list[str]:
    return ["report", "ready", "--wireserver", simulator.url("wireserver"), "--deadline", "5"]


def test_is_static_and_holds_only_what_is_allowed(built: Built) -> None:
    verify.verify(built.file, built.architecture)


def test_tells_machine_and_freezer(built: Built) -> None:
    said = subprocess.run(
        [*built.command(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    tool = toolchain.tool(built.freezer)
    version = toolchain.pins()[tool]["version"]
    assert said.rstrip().lower().endswith(f", {built.architecture}, {tool} {version})")


def test_a_dynamic_file_would_not_pass() -> None:
    with pytest.raises(Exception, match="PT_INTERP"):
        verify._format(pathlib.Path("/bin/sh").resolve())


def test_a_file_that_tells_where_it_was_built_would_not_pass(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"..." + os.fsencode(toolchain.cache_folder()) + b"/zig...")
    with pytest.raises(Exception, match="contains a path of this machine"):
        verify._tells_nothing(tmp_path / "file")


@pytest.mark.parametrize(
    ("kind", "field", "value", "why"),
    [
        (
            "PT_LOAD",
            4,
            P_FLAGS.PF_R | P_FLAGS.PF_W | P_FLAGS.PF_X,
            "memory that is both writable and executable \\(PT_LOAD\\)",
        ),
        (
            "PT_GNU_STACK",
            4,
            P_FLAGS.PF_R | P_FLAGS.PF_W | P_FLAGS.PF_X,
            "memory that is both writable and executable \\(PT_GNU_STACK\\)",
        ),
        ("PT_GNU_RELRO", 0, 0, "no PT_GNU_RELRO"),
        ("PT_GNU_STACK", 0, 0, "no PT_GNU_STACK"),
    ],
)
def test_a_file_that_is_not_hardened_would_not_pass(
    tmp_path: pathlib.Path, kind: str, field: int, value: int, why: str
) -> None:
    """One field of a program header is changed.

    Offsets are those of struct Elf64_Phdr: type at 0, flags at 4.
    """
    content = bytearray(FROZEN.read_bytes())
    elf = ELFFile(io.BytesIO(content))
    at = next(
        index for index, segment in enumerate(elf.iter_segments()) if segment["p_type"] == kind
    )
    struct.pack_into("<I", content, elf["e_phoff"] + at * elf["e_phentsize"] + field, value)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Exception, match=why):
        verify._format(tmp_path / "file")


def test_a_module_outside_the_list_would_not_pass(built: Built) -> None:
    listing = subprocess.run(
        [*built.command(), "--version", "--verbose"], capture_output=True, text=True, check=True
    ).stdout
    verify._modules(listing)
    with pytest.raises(Exception, match="not on the allow-list: subprocess"):
        verify._modules(listing.replace("frozen: ", "frozen: subprocess "))


@needs_root_of_its_own
def test_reports_ready_from_an_empty_read_only_root(
    root: pathlib.Path, platform: Simulator
) -> None:
    result = emptyroot.run(root, ready(platform))
    assert (result.returncode, platform.reports, platform.problems) == (0, ["Ready"], [])
    assert emptyroot.contents(root) == []


@needs_root_of_its_own
def test_installs_itself_without_proc(built: Built, root: pathlib.Path) -> None:
    manager = root / "image/usr/lib/systemd/systemd"
    manager.parent.mkdir(parents=True)
    manager.write_bytes(built.file.read_bytes()[:64])
    result = emptyroot.run(root, ["install", "--root", "/image"], writable=True)
    assert result.returncode == 0, result.stderr
    assert (root / "image/usr/local/bin/azready").read_bytes() == built.file.read_bytes()


@needs_root_of_its_own
@pytest.mark.parametrize(("user", "report"), [("true", "ProvisioningFailed"), ("false", "Ready")])
def test_a_first_boot_on_a_read_only_root_fails_only_for_the_user(
    root: pathlib.Path, platform: Simulator, user: str, report: str
) -> None:
    (root / "etc").mkdir()
    (root / "etc/azready.toml").write_text(f"media.wait = 0\nsteps.user = {user}\n")
    command = [
        "provision",
        "--force",
        "--imds",
        platform.url("imds"),
        "--wireserver",
        platform.url("wireserver"),
        "--deadline",
        "5",
    ]
    result = emptyroot.run(root, command)
    assert (result.returncode, platform.reports) == (report != "Ready", [report]), result.stderr
    assert "warning: cannot replace /etc/hostname: read-only file system" in result.stderr
    if report == "Ready":
        assert ".provisioned: read-only file system" in result.stderr
    assert emptyroot.contents(root) == ["etc"]


@needs_root_of_its_own
def test_needs_no_tmp_that_allows_programs(root: pathlib.Path, platform: Simulator) -> None:
    (root / "tmp").mkdir()
    enter = emptyroot.entering(root)
    libc = ctypes.CDLL(None, use_errno=True)
    noexec = 8

    def enter_with_tmp() -> None:
        enter()
        if libc.mount(b"none", b"/tmp", b"tmpfs", ctypes.c_ulong(noexec), b"size=1m"):
            raise OSError(ctypes.get_errno(), "mount /tmp")

    result = subprocess.run(
        [*emptyroot.command(root), *ready(platform)],
        env={"TMPDIR": "/tmp"},
        preexec_fn=enter_with_tmp,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, platform.reports) == (0, ["Ready"])


@needs_root_of_its_own
@pytest.mark.skipif(
    os.geteuid() != 0,
    reason="only root can become another user; every other test here runs unprivileged then",
)
def test_runs_for_an_unprivileged_user_from_a_folder_that_cannot_be_listed(
    root: pathlib.Path, platform: Simulator
) -> None:
    (root / "bin").mkdir()
    shutil.move(root / "azready", root / "bin" / "azready")
    (root / "bin").chmod(0o711)
    command = [*emptyroot.command(root)[:-1], "/bin/azready", *ready(platform)]
    result = subprocess.run(
        command,
        env={},
        preexec_fn=emptyroot.entering(root, user=65534),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, platform.reports) == (0, ["Ready"])


@pytest.mark.parametrize("way", ["renamed", "link", "relative", "path"])
def test_runs_by_any_name(
    built: Built, tmp_path: pathlib.Path, platform: Simulator, way: str
) -> None:
    emulation = built.command()[:-1]
    if emulation and way == "path":
        pytest.skip("qemu does not look for its program in PATH")
    file = tmp_path / "ready-or-not"
    shutil.copy(built.file, file)
    (tmp_path / "link").symlink_to(file)
    program = {
        "renamed": str(file),
        "link": str(tmp_path / "link"),
        "relative": "./ready-or-not",
        "path": "ready-or-not",
    }[way]
    result = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@"', "sh", *emulation, program, *ready(platform)],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, platform.reports) == (0, ["Ready"])


def test_nothing_in_the_environment_or_beside_it_changes_what_runs(
    built: Built, tmp_path: pathlib.Path, platform: Simulator
) -> None:
    for name in ("json", "os", "agent", "encodings", "sitecustomize", "usercustomize", "azready"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')")
    shutil.copy(built.file, tmp_path / "azready")
    hostile = {
        **dict.fromkeys(
            (
                "PYTHONPATH",
                "PYTHONHOME",
                "PYTHONSTARTUP",
                "PYTHONUSERBASE",
                "_PYI_APPLICATION_HOME_DIR",
            ),
            str(tmp_path),
        ),
        "_PYI_ARCHIVE_FILE": str(tmp_path / "azready"),
        "_PYI_PARENT_PROCESS_LEVEL": "1",
        "PYTHONINSPECT": "1",
        "PYTHONVERBOSE": "1",
        "PYTHONMALLOC": "debug",
        "LD_PRELOAD": "/does/not/exist.so",
        "LC_ALL": "ko_KR.EUC-KR",
    }
    command = [*built.command()[:-1], str(tmp_path / "azready"), *ready(platform)]
    result = subprocess.run(
        command, cwd=tmp_path, env=hostile, capture_output=True, text=True, timeout=20
    )
    assert (result.returncode, platform.reports, result.stdout) == (0, ["Ready"], "")
    assert "hijacked" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_is_one_process_and_opens_no_file_for_writing(
    built: Built, tmp_path: pathlib.Path, platform: Simulator
) -> None:
    if not built.native:
        pytest.skip("strace would show what qemu does")
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (scripts/test installs it where it can)")
    trace = tmp_path / "trace"
    command = [
        strace,
        "-f",
        "-o",
        str(trace),
        "-e",
        "trace=process,open,openat,creat,mkdir,unlink,rename",
        str(built.file),
        *ready(platform),
    ]
    subprocess.run(command, check=True, capture_output=True)
    text = trace.read_text()
    assert platform.reports == ["Ready"]
    assert not re.search(r"\b(clone|clone3|fork|vfork)\(", text)
    assert len(re.findall(r"\bexecve\(", text)) == 1
    assert not re.search(r"O_WRONLY|O_RDWR|O_CREAT|\b(creat|mkdir|unlink|rename)\(", text)


@needs_root_of_its_own
@pytest.mark.parametrize("command", [["report", "ready"], ["report", "failed", "no disk"]])
def test_talks_to_azures_own_addresses_past_any_proxy(built: Built, command: list[str]) -> None:
    """In a namespace where 168.63.129.16 is the simulator's."""
    proxies = dict.fromkeys(
        ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9"
    )
    simulate = [
        sys.executable,
        "-m",
        "scripts.simulator",
        "--netns",
        "--json",
        "--strict",
        "--",
        *built.command(),
        *command,
    ]
    result = subprocess.run(
        simulate,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=TOP,
        env={"PATH": os.environ["PATH"], **proxies},
    )
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    reports = [event["report"] for event in events if event.get("report")]
    assert reports == ["Ready" if command[1] == "ready" else "ProvisioningFailed"]


@needs_root_of_its_own
def test_a_program_gets_into_a_waiting_namespace_as_the_simulator_says() -> None:
    simulate = [
        sys.executable,
        "-m",
        "scripts.simulator",
        "--netns",
        "--json",
        "--until",
        "Ready",
        "--timeout",
        "20",
    ]
    with subprocess.Popen(simulate, stdout=subprocess.PIPE, text=True, cwd=TOP) as simulator:
        assert simulator.stdout is not None
        simulator.stdout.readline()
        inside = json.loads(simulator.stdout.readline())["command"].split()
        # Never without this prefix: outside the namespace the address is Azure's own.
        assert inside[0] == "nsenter"
        assert inside[-1] == "--"
        result = subprocess.run(
            [*inside, str(FROZEN), "report", "ready", "--deadline", "5"],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert simulator.wait(10) == 0


@needs_root_of_its_own
def test_a_whole_first_boot_in_an_empty_root_sets_the_kernels_host_name(root: pathlib.Path) -> None:
    boot = f'chroot "$1" {" ".join(emptyroot.command(root))} provision --force'
    script = f'PATH=$PATH:/usr/sbin:/sbin; before=$(uname -n); {boot} && {boot} && uname -n && [ "$before" != web-1 ]'
    simulate = [
        sys.executable,
        "-m",
        "scripts.simulator",
        "--netns",
        "--strict",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        str(root),
    ]
    before = os.uname().nodename
    if os.geteuid() != 0:
        (root / "etc").mkdir()
        (root / "etc/azready.toml").write_text("steps.user = false\n")  # making a user takes root
    result = subprocess.run(simulate, capture_output=True, text=True, timeout=60, cwd=TOP)
    assert result.returncode == 0, result.stderr
    assert "\nweb-1\n" in result.stdout
    assert os.uname().nodename == before
    assert (root / "etc/hostname").read_text() == "web-1\n"
    assert "127.0.1.1\tweb-1" in (root / "etc/hosts").read_text()
    assert result.stdout.count("accepted: Ready") == 1
    assert "has been provisioned: nothing to do" in result.stderr
    if os.geteuid() != 0:
        return
    assert sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.name != "qemu"
    ) == [
        "azready",
        "etc/.pwd.lock",
        "etc/group",
        "etc/hostname",
        "etc/hosts",
        "etc/passwd",
        "etc/shadow",
        "home/azureuser/.ssh/authorized_keys",
        "var/lib/azready/6e1b6b2c-1f0a-4d55-9c4b-0a1b2c3d4e5f.provisioned",
    ]


@needs_root_of_its_own
def test_a_machine_without_any_network_is_retried_and_named(root: pathlib.Path) -> None:
    enter = emptyroot.entering(root)

    def enter_without_network() -> None:
        # No address, no route, loopback down: nothing can leave.
        unshare(CLONE_NEWNET)
        enter()

    command = [*emptyroot.command(root), "report", "ready", "--deadline", "3"]
    result = subprocess.run(
        command, env={}, preexec_fn=enter_without_network, capture_output=True, text=True
    )
    assert result.returncode == 3
    assert "unreachable connecting to 168.63.129.16:80; next try in" in result.stderr
    assert "gave up reporting Ready after 4 tries" in result.stderr


# Runs in a process of its own, which the namespace needs; argv: the words that run the static file.
LATE = """
import subprocess, sys, time
from scripts.simulator import namespace, platform, scenario
from scripts.simulator.server import Simulator
namespace.separate()
agent = subprocess.Popen([*sys.argv[1:], "report", "ready", "--deadline", "20"], stderr=subprocess.PIPE, text=True)
time.sleep(1.2)
namespace.bring_up((platform.WIRESERVER, platform.IMDS))
with Simulator(scenario.load("healthy"), wireserver=(platform.WIRESERVER, 80), imds=(platform.IMDS, 80)) as simulator:
    print(agent.communicate(timeout=30)[1], agent.returncode, simulator.reports)
"""


@needs_root_of_its_own
def test_a_network_that_comes_up_late_is_waited_for(built: Built) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LATE, *built.command()],
        capture_output=True,
        text=True,
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
    )
    assert result.returncode == 0, result.stderr
    assert "unreachable connecting to 168.63.129.16:80; next try in" in result.stdout
    assert result.stdout.rstrip().endswith("0 ['Ready']")


def test_the_unit_is_accepted_by_systemd(tmp_path: pathlib.Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "azready.service"
    unit.write_text(
        subprocess.run(
            [FROZEN, "unit", "--exec", str(FROZEN)], capture_output=True, text=True, check=True
        ).stdout
    )
    result = subprocess.run(
        # Only this unit decides the exit status, not the machine's own that it comes after.
        [analyze, "verify", "--recursive-errors=no", "--man=no", unit],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert result.returncode == 0, result.stderr
    assert "azready.service" not in result.stderr, result.stderr


def test_the_unit_is_exposed_as_little_as_its_work_allows(tmp_path: pathlib.Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "azready.service"
    unit.write_text(
        subprocess.run(
            [FROZEN, "unit", "--exec", "/bin/true"], capture_output=True, text=True, check=True
        ).stdout
    )
    # The threshold counts in tenths; the exit code says whether it is kept.
    result = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=30", unit],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-300:] + result.stderr


@needs_root_of_its_own
def test_the_smoke_test_of_a_release_passes(built: Built) -> None:
    if not built.native:
        pytest.skip("it is for the machine that the file is for")
    result = subprocess.run(
        [TOP / "scripts/smoke", built.file], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("accepted: Ready") == 2
    assert f"good: {built.file} on " in result.stdout
