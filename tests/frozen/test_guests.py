"""Whole first boots of the static file in roots of real systems.

Debian with the shadow tools, PAM, sudo and sshd; busybox alone; nothing at all.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

from agent.formats.sha512_crypt import sha512_crypt
from build import emptyroot
from build.cache import BuildError
from build.unshare import CLONE_NEWUTS, unshare
from scripts.simulator import media, scenario
from scripts.simulator.scenario import VM, Scenario
from scripts.simulator.server import Simulator
from scripts.tasks import guests
from tests.conftest import FROZEN

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not emptyroot.possible(), reason="roots of other systems take root"
)

PASSWORD = "T0p-Secret Pa55:phr4se"
SECRET_DATA = "#!/bin/sh\n# API_KEY=tr0ub4dor\nexit 0\n"
USER = VM().admin_username
WITH_PASSWORD = VM(media="cd", password=PASSWORD, disable_password="false", custom_data=SECRET_DATA)
Make = Callable[[pathlib.Path], pathlib.Path]

MAKERS: dict[str, Make] = {
    "debian": lambda place: guests.copy_of(guests.debian(), place),
    "busybox": guests.with_busybox,
    "sshd": guests.with_sshd,
    "nothing": lambda place: place,
}


@pytest.fixture
def make() -> Iterator[Callable[[str], pathlib.Path]]:
    """Makes a root of one's own, with the static file in it."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: root_of(
            kind, pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        )


def root_of(kind: str, place: pathlib.Path) -> pathlib.Path:
    place.chmod(0o755)
    try:
        MAKERS[kind](place)
    except BuildError as error:
        pytest.skip(f"the root {kind} cannot be made here: {error}")
    shutil.copy(FROZEN, place / "azready")
    return place


@dataclasses.dataclass
class Boot:
    code: int
    said: str
    reports: list[str]
    description: str


def played(vm: VM, name: str = "healthy") -> Scenario:
    return dataclasses.replace(scenario.load(name), vm=vm)


def insert(root: pathlib.Path, vm: VM) -> None:
    """Put the CD into the drive."""
    if vm.media:
        (root / "dev").mkdir(exist_ok=True)
        (root / "dev/sr0").write_bytes(media.image(vm))


def asking(platform: Simulator, *words: str) -> list[str]:
    """A command line that asks this platform."""
    return [*words, "--wireserver", platform.url("wireserver"), "--imds", platform.url("imds")]


def boot(
    root: pathlib.Path,
    vm: VM,
    *,
    name: str = "healthy",
    around: tuple[str, ...] = (),
    command: str = "provision",
) -> Boot:
    insert(root, vm)
    with Simulator(played(vm, name)) as platform:
        words = asking(platform, command, "--force", "--deadline", "20")
        if around:  # outside of the root, which holds no such program
            command_line = [*around, "chroot", str(root), "/azready", *words]
            result = subprocess.run(
                command_line,
                capture_output=True,
                text=True,
                timeout=60,
                preexec_fn=lambda: unshare(CLONE_NEWUTS),
                stdin=subprocess.DEVNULL,
            )
        else:
            result = emptyroot.run(root, words, writable=True)
        assert platform.problems == []
        descriptions = [exchange.description for exchange in platform.exchanges if exchange.report]
        return Boot(
            result.returncode,
            result.stderr + result.stdout,
            platform.reports,
            descriptions[-1] if descriptions else "",
        )


def entry(root: pathlib.Path, file: str, name: str = USER) -> list[str]:
    lines = (root / "etc" / file).read_text().splitlines()
    return next((line.split(":") for line in lines if line.startswith(f"{name}:")), [])


def inside(root: pathlib.Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words,
        preexec_fn=emptyroot.entering(root, writable=True),
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/bin"},
    )


@pytest.mark.parametrize("kind", ["debian", "busybox", "nothing"])
def test_a_user_with_key_and_password_is_made(
    make: Callable[[str], pathlib.Path], kind: str
) -> None:
    root = make(kind)
    if kind == "busybox":
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\nwheel:x:10:\n")
        (root / "etc/shadow").write_text("root:*:20000:0:99999:7:::\n")
        (root / "etc/shadow").chmod(0o600)
    first = boot(root, WITH_PASSWORD)
    assert (first.code, first.reports) == (0, ["Ready"]), first.said
    assert "warning" not in first.said
    shell = {"debian": "/bin/bash", "busybox": "/bin/sh", "nothing": "/bin/sh"}[kind]
    passwd = entry(root, "passwd")
    assert [passwd[2], passwd[3], passwd[5], passwd[6]] == ["1000", "1000", f"/home/{USER}", shell]
    assert entry(root, "group")[2] == "1000"
    field = entry(root, "shadow")[1]
    if field.startswith("$6$"):
        assert sha512_crypt(PASSWORD.encode(), field.split("$")[2]) == field
    else:
        assert (kind, field[:3]) == (
            "debian",
            "$y$",
        )  # from PAM; test_passwords_let_in shows that it is the right one
    keys = root / f"home/{USER}/.ssh/authorized_keys"
    assert keys.read_text() == scenario.KEY + "\n"
    assert [
        (oct(path.stat().st_mode & 0o777), path.stat().st_uid)
        for path in (keys, keys.parent, keys.parents[1])
    ] == [
        ("0o600", 1000),
        ("0o700", 1000),
        ("0o700", 1000),
    ]
    if kind == "busybox":
        assert entry(root, "group", "wheel")[3] == USER
    assert oct((root / "etc/shadow").stat().st_mode & 0o777) in ("0o640", "0o600")


def test_a_narrow_umask_of_the_caller_changes_nothing(make: Callable[[str], pathlib.Path]) -> None:
    root = make("nothing")
    before = os.umask(0o077)
    try:
        assert boot(root, VM()).code == 0
    finally:
        os.umask(before)
    assert {
        path: oct((root / path).stat().st_mode & 0o777)
        for path in ("etc", "home", f"home/{USER}", "etc/passwd", "etc/hostname")
    } == {
        "etc": "0o755",
        "home": "0o755",
        f"home/{USER}": "0o700",
        "etc/passwd": "0o644",
        "etc/hostname": "0o644",
    }


def test_the_tool_of_the_image_makes_the_user(make: Callable[[str], pathlib.Path]) -> None:
    """useradd and busybox adduser leave traces of their own that editing would not."""
    debian = make("debian")
    boot(debian, VM())
    assert (debian / "etc/subuid").read_text() == f"{USER}:100000:65536\n"
    busybox = make("busybox")
    (busybox / "etc").mkdir()
    for name, text in (
        ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("group", "root:x:0:\n"),
        ("shadow", "root:*::::::\n"),
    ):
        (busybox / "etc" / name).write_text(text)
    boot(busybox, VM())
    assert entry(busybox, "passwd")[4] == "Linux User,,,"


def test_a_tool_that_fails_is_replaced(make: Callable[[str], pathlib.Path]) -> None:
    root = make("debian")
    for name in ("useradd", "chpasswd"):
        program = root / "usr/sbin" / name
        program.unlink()
        program.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{name} is broken' >&2\nexit 9\n")
        program.chmod(0o755)
    first = boot(root, WITH_PASSWORD)
    assert first.code == 0, first.said
    assert (
        "/usr/sbin/useradd exited with status 9: useradd is broken; the account files are edited instead"
        in first.said
    )
    assert (
        "/usr/sbin/chpasswd exited with status 9 and changed nothing; /etc/shadow is edited instead"
        in first.said
    )
    assert entry(root, "gshadow") == [USER, "!", "", ""]
    field = entry(root, "shadow")[1]
    assert sha512_crypt(PASSWORD.encode(), field.split("$")[2]) == field
    assert inside(root, "pwck", "-r").returncode in (0, 2), inside(
        root, "pwck", "-r"
    ).stdout  # 2: homes of system users are missing, as in any Debian
    assert USER not in inside(root, "pwck", "-r").stdout
    assert inside(root, "grpck", "-r").returncode == 0


def test_an_existing_user_is_kept_and_completed(make: Callable[[str], pathlib.Path]) -> None:
    root = make("debian")
    inside(
        root,
        "useradd",
        "--create-home",
        "--shell",
        "/bin/sh",
        "--uid",
        "4242",
        "--password",
        "$6$old$hash",
        USER,
    )
    shutil.rmtree(root / f"home/{USER}")
    ssh = root / f"home/{USER}/.ssh"
    ssh.mkdir(parents=True)
    for path in (ssh, ssh.parent):
        os.chown(path, 4242, 4242)
    (ssh / "authorized_keys").write_text("# mine\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== old")
    before = entry(root, "passwd")
    first = boot(root, VM())
    assert first.code == 0, first.said
    assert entry(root, "passwd") == before
    assert entry(root, "shadow")[1] == "$6$old$hash"
    assert (
        ssh / "authorized_keys"
    ).read_text() == f"# mine\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== old\n{scenario.KEY}\n"
    assert (ssh / "authorized_keys").stat().st_uid == 4242
    assert (
        f'"{USER}" ALL=(ALL:ALL) ALL' in (root / "etc/sudoers.d/90-azready").read_text()
    )  # has a password, so it is asked for


def test_a_key_lets_the_user_in_and_sudo_works(
    make: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    root = make("debian")
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.code == 0, first.said
    assert entry(root, "shadow")[1] == "!"  # sshd of Debian asks PAM, which does not mind for keys
    with guests.Sshd(root) as sshd:
        result = sshd.login(USER, "sudo -n id -u && id -nG && pwd", key=tmp_path / "key")
        assert (result.returncode, result.stdout.split()) == (
            0,
            ["0", USER, "adm", "sudo", f"/home/{USER}"],
        ), result.stderr + sshd.said.read_text()
        assert sshd.login(USER, "true", password=PASSWORD).returncode == 255
    assert "generate host keys for sshd" in first.said
    assert (root / "etc/ssh/ssh_host_rsa_key").exists()
    assert (
        root / "etc/ssh/sshd_config.d/00-azready.conf"
    ).read_text() == "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"


def test_doas_works_where_there_is_no_sudo(
    make: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    root = make("debian")
    (root / "usr/bin/sudo").unlink()
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.code == 0, first.said
    assert "let azureuser become root without a password, in /etc/doas.conf" in first.said
    with guests.Sshd(root) as sshd:
        result = sshd.login(USER, "doas -n id -u", key=tmp_path / "key")
        assert result.stdout == "0\n", result.stderr


def test_keys_go_to_the_user_of_the_image_where_none_is_to_be_made(
    make: Callable[[str], pathlib.Path],
) -> None:
    root = make("nothing")
    (root / "etc").mkdir()
    (root / "etc/azready.toml").write_text("steps.user = false\n")
    assert boot(root, VM()).code == 0
    assert not (root / "home").exists()
    (root / "etc/passwd").write_text(
        f"{USER}:x:1000:1000::/data/{USER}:/bin/sh\nservice:x:900:900::/:/bin/false\n"
    )
    (root / f"data/{USER}").mkdir(parents=True)
    path = f"/data/{USER}/.ssh/authorized_keys"
    other = VM(vm_id="11111111-2222-3333-4444-555555555555", key_path=path)
    second = boot(root, other)
    assert second.code == 0, second.said
    assert (root / path[1:]).read_text() == scenario.KEY + "\n"
    third = boot(
        root,
        dataclasses.replace(
            other, vm_id="22222222-2222-3333-4444-555555555555", admin_username="service"
        ),
    )
    assert "warning: the user name 'service' is refused: it belongs to the system" in third.said


def test_passwords_let_in_exactly_if_the_platform_says_so(
    make: Callable[[str], pathlib.Path],
) -> None:
    root = make("debian")
    first = boot(root, WITH_PASSWORD)
    assert first.code == 0, first.said
    with guests.Sshd(root) as sshd:
        assert sshd.login(USER, "echo in", password=PASSWORD).stdout == "in\n", (
            sshd.said.read_text()
        )
        assert sshd.login(USER, "echo in", password=PASSWORD + "x").returncode == 255
        wrong = sshd.login(USER, f"echo '{PASSWORD}' | sudo -S -p '' id -u", password=PASSWORD)
        assert wrong.stdout == "0\n", wrong.stderr
    other = make("debian")
    forbidden = boot(other, dataclasses.replace(WITH_PASSWORD, disable_password="true"))
    assert forbidden.code == 0, forbidden.said
    with guests.Sshd(other) as sshd:
        assert sshd.login(USER, "echo in", password=PASSWORD).returncode == 255


def test_without_pam_a_key_lets_in_although_there_is_no_password(
    make: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """Nothing but sshd and a shell: without PAM, sshd refuses an account that is locked by "!"."""
    root = make("sshd")
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.code == 0, first.said
    assert entry(root, "shadow")[1] == "*"
    with guests.Sshd(root) as sshd:
        assert sshd.login(USER, "echo in", key=tmp_path / "key").stdout == "in\n", (
            sshd.said.read_text()
        )


@pytest.mark.parametrize("kind", ["debian", "nothing"])
@pytest.mark.parametrize("how", ["well", "failing"])
def test_nothing_secret_is_shown(
    make: Callable[[str], pathlib.Path], tmp_path: pathlib.Path, kind: str, how: str
) -> None:
    """A planted password and customData are searched for everywhere.

    That is in all that is said, in every argument and environment, and in every file of the root.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (scripts/test installs it where it can)")
    root = make(kind)
    vm = (
        WITH_PASSWORD
        if how == "well"
        else dataclasses.replace(
            WITH_PASSWORD, admin_username="daemon" if kind == "debian" else "root"
        )
    )
    trace = tmp_path / "trace"
    first = boot(
        root,
        vm,
        around=(strace, "-f", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(trace)),
    )
    assert first.code == (0 if how == "well" else 1), first.said
    (root / "dev/sr0").unlink()
    words = (PASSWORD, *PASSWORD.split(), "tr0ub4dor")
    started = re.findall(r'execve\("([^"]+)"', trace.read_text())
    assert "/azready" in started
    assert ("/usr/sbin/chpasswd" in started) is (kind == "debian" and how == "well")
    for word in words:
        assert word not in first.said
        assert word not in first.description
        assert word not in trace.read_text()
    holders = [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and any(word.encode() in path.read_bytes() for word in words)
    ]
    saved = root / "var/lib/azready/customdata"
    if how == "well":
        assert holders == ["var/lib/azready/customdata"]
        assert oct(saved.stat().st_mode & 0o777) == "0o600"
        assert saved.read_text() == SECRET_DATA
    else:
        assert holders == []


@pytest.mark.parametrize(
    ("vm", "reason"),
    [
        (
            VM(admin_username="root"),
            "the user name 'root' is refused: root must not be the login user",
        ),
        (
            VM(admin_username="daemon"),
            "the user name 'daemon' is refused: it belongs to the system, with uid 1",
        ),
        (
            VM(admin_username="nobody"),
            "the user name 'nobody' is refused: it belongs to the system, with uid 65534",
        ),
        (VM(admin_username="a:b"), "the user name 'a:b' is refused: it contains ':'"),
        (VM(admin_username="a\nb"), "the user name 'a\\nb' is refused: it contains '\\n'"),
        (VM(admin_username="-rf"), "the user name '-rf' is refused: it starts with '-'"),
        (VM(admin_username="x" * 33), "is refused: it is longer than 32 bytes"),
        (
            VM(public_keys=("ssh-rsa AAAA",)),
            "none of the 1 SSH keys is usable by sshd",
        ),
        (
            VM(public_keys=(), disable_password="false"),
            f"nobody could log in as {USER}: no SSH key came; no password came",
        ),
    ],
)
def test_a_failing_step_is_reported_to_host_and_platform(
    make: Callable[[str], pathlib.Path], vm: VM, reason: str
) -> None:
    root = make("nothing")
    (root / "etc").mkdir()
    (root / "etc/azready.toml").write_text("media.wait = 0\n")
    (root / "etc/passwd").write_text(
        "daemon:x:1:1::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"
    )
    pool = root / "var/lib/hyperv/.kvp_pool_1"
    pool.parent.mkdir(parents=True)
    failed = boot(root, vm)
    assert (failed.code, failed.reports) == (1, ["ProvisioningFailed"])
    assert reason in failed.said
    assert failed.description.startswith("result=error|reason=")
    assert reason[:60] in failed.description
    assert f"vm_id={vm.vm_id}|timestamp=" in failed.description
    record = pool.read_bytes()
    assert len(record) == 2560
    assert record[:512].rstrip(b"\0") == b"PROVISIONING_REPORT"
    assert record[512:].rstrip(b"\0").decode() == failed.description
    assert not (root / "var/lib/azready").exists()


def test_success_is_recorded_for_the_host(make: Callable[[str], pathlib.Path]) -> None:
    root = make("nothing")
    pool = root / "var/lib/hyperv/.kvp_pool_1"
    pool.parent.mkdir(parents=True)
    pool.write_bytes(b"HostName".ljust(2560, b"\0"))
    assert boot(root, VM()).code == 0
    records = pool.read_bytes()
    assert len(records) == 2 * 2560
    assert re.fullmatch(
        r"result=success\|agent=azready/[\d.]+\|pps_type=None\|vm_id=[-0-9a-f]{36}"
        r"\|timestamp=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        records[3072:].rstrip(b"\0").decode(),
    )


def test_records_from_before_this_boot_go(make: Callable[[str], pathlib.Path]) -> None:
    root = make("nothing")
    pool = root / "var/lib/hyperv/.kvp_pool_1"
    pool.parent.mkdir(parents=True)
    pool.write_bytes(b"Stale".ljust(2560, b"\0"))
    os.utime(pool, (1_000_000_000, 1_000_000_000))
    assert boot(root, VM()).code == 0
    assert pool.read_bytes()[:512].rstrip(b"\0") == b"PROVISIONING_REPORT"


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("provision-refused", 4, "the wireserver answered the health report with 405"),
        ("down", 3, "gave up reporting Ready"),
    ],
)
def test_the_host_hears_of_a_report_that_did_not_get_through(
    make: Callable[[str], pathlib.Path], name: str, code: int, reason: str
) -> None:
    root = make("nothing")
    pool = root / "var/lib/hyperv/.kvp_pool_1"
    pool.parent.mkdir(parents=True)
    insert(root, VM())
    with Simulator(played(VM(), name)) as platform:
        words = asking(platform, "provision", "--force", "--deadline", "2")
        result = emptyroot.run(root, words, writable=True)
    assert result.returncode == code, result.stderr
    record = pool.read_bytes()
    assert len(record) == 2560  # the record of success, which was written before Ready, is replaced
    assert record[512:].startswith(f"result=error|reason={reason}".encode())
    assert not list((root / "var/lib").glob("azready/*.provisioned"))


def test_sigterm_in_the_middle_is_reported(make: Callable[[str], pathlib.Path]) -> None:
    root = make("nothing")
    hanging = scenario.parse("hanging", '[[imds]]\ntimes = "forever"\nconnection = "hang"')
    with Simulator(hanging) as platform:
        words = asking(platform, "/azready", "provision", "--force", "--deadline", "60")
        agent = subprocess.Popen(
            words,
            preexec_fn=emptyroot.entering(root, writable=True),
            stderr=subprocess.PIPE,
            text=True,
            env={},
        )
        end = time.monotonic() + 10
        while not platform.exchanges and time.monotonic() < end:
            time.sleep(0.01)
        agent.send_signal(signal.SIGTERM)
        said = agent.communicate(timeout=20)[1]
        assert (agent.returncode, platform.reports) == (1, ["ProvisioningFailed"]), said
        assert (
            "reason=terminated by SIGTERM before Ready was reported"
            in platform.exchanges[-1].description
        )
    assert [str(path.relative_to(root)) for path in root.rglob("*")] == ["azready"]


def test_a_signal_ends_the_program_that_is_running(make: Callable[[str], pathlib.Path]) -> None:
    root = make("busybox")
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/azready.toml").write_text("run_custom_data = true\n")
    insert(root, VM(media="cd", custom_data="#!/bin/sh\necho $$ >/begun\nwhile :; do :; done\n"))
    with Simulator(scenario.load("healthy")) as platform:
        agent = subprocess.Popen(
            asking(platform, "/azready", "provision", "--force"),
            preexec_fn=emptyroot.entering(root, writable=True),
            stderr=subprocess.PIPE,
            text=True,
            env={},
        )
        end = time.monotonic() + 10
        while not (root / "begun").exists() or not (root / "begun").read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        sent = time.monotonic()
        agent.send_signal(signal.SIGINT)
        said = agent.communicate(timeout=20)[1]
    assert time.monotonic() - sent < 3
    assert (agent.returncode, platform.reports) == (1, ["ProvisioningFailed"]), said
    assert "terminated by SIGINT before Ready was reported; login works; Azure was told" in said
    assert not pathlib.Path("/proc", (root / "begun").read_text().strip()).exists()
    assert not list(root.rglob(".*.azready"))


@pytest.mark.parametrize(
    ("fatal", "code", "reports"),
    [("", 0, ["Ready"]), ('fatal = ["custom_data"]', 1, ["ProvisioningFailed"])],
)
def test_custom_data_runs_once_if_configured(
    make: Callable[[str], pathlib.Path], fatal: str, code: int, reports: list[str]
) -> None:
    root = make("busybox")
    (root / "etc").mkdir()
    (root / "etc/azready.toml").write_text(f"{fatal}\nrun_custom_data = true\n")
    (root / "var/lib/hyperv").mkdir(parents=True)
    (root / "last").write_text("and no line end")
    script = "#!/bin/sh\necho from the script\ncat /last\necho once >>/ran\nid -u >>/ran\nexit 7\n"
    vm = VM(media="cd", custom_data=script)
    first = boot(root, vm)
    assert (first.code, first.reports) == (code, reports), first.said
    assert "customdata: from the script" in first.said
    assert "customdata: and no line end" in first.said
    assert "the customData script exited with status 7" in first.said
    record = (root / "var/lib/hyperv/.kvp_pool_1").read_bytes()[512:].rstrip(b"\0").decode()
    assert (
        ("custom_data_exit_code=7" in record)
        if code == 0
        else ("reason=the customData script exited with status 7" in record)
    )
    (root / "var/lib/azready" / f"{vm.vm_id}.provisioned").unlink(missing_ok=True)
    again = boot(root, vm)
    assert "the customData ran before and exited with status 7: it is not run again" in again.said
    assert (root / "ran").read_text() == "once\n0\n"


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("host_name", "cannot read /etc/hostname: is a directory"),
        ("media", "no provisioning CD could be read"),
    ],
)
def test_any_step_can_be_made_fatal(
    make: Callable[[str], pathlib.Path], step: str, says: str
) -> None:
    root = make("nothing")
    (root / "etc/hostname").mkdir(parents=True)
    (root / "etc/azready.toml").write_text(f'fatal = ["{step}"]\nmedia.wait = 0\n')
    failed = boot(root, VM(custom_data="x"))
    assert (failed.code, failed.reports) == (1, ["ProvisioningFailed"])
    assert f"reason={says}" in failed.description


def test_what_is_ours_alone_is_closed_whoever_opened_it(
    make: Callable[[str], pathlib.Path],
) -> None:
    root = make("sshd")
    shutil.copy(root / "bin/sh", root / "bin/sudo")
    for path in ("var/lib/azready/customdata", "etc/sudoers.d/90-azready"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
        (root / path).chmod(0o666)
        os.chown(root / path, 1000, 1000)
    first = boot(root, VM(media="cd", custom_data="secret"))
    assert first.code == 0, first.said
    for path, mode in (("var/lib/azready/customdata", 0o600), ("etc/sudoers.d/90-azready", 0o440)):
        status = (root / path).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (mode, 0)


def test_custom_data_is_not_run_otherwise(make: Callable[[str], pathlib.Path]) -> None:
    root = make("busybox")
    assert boot(root, VM(media="cd", custom_data="#!/bin/sh\necho >/ran\n")).code == 0
    assert not (root / "ran").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "deadline = 5\n[user]\nshel = '/bin/sh'\n",
            "/etc/azready.toml line 3: user.shel: unknown key; did you mean user.shell?",
        ),
        (
            "deadline = 'soon'\n",
            "/etc/azready.toml line 1: deadline is 'soon'; must be an integer",
        ),
        ("a = \n", "/etc/azready.toml is not TOML: "),
    ],
)
def test_a_bad_configuration_is_told_to_the_platform(
    make: Callable[[str], pathlib.Path], text: str, says: str
) -> None:
    root = make("nothing")
    (root / "etc").mkdir()
    (root / "etc/azready.toml").write_text(text)
    failed = boot(root, VM())
    assert (failed.code, failed.reports) == (2, ["ProvisioningFailed"])
    assert says in failed.said
    assert says in failed.description
    assert "Traceback" not in failed.said


def test_a_bad_configuration_is_not_reported_by_an_ordinary_user(
    make: Callable[[str], pathlib.Path],
) -> None:
    root = make("nothing")
    (root / "etc").mkdir()
    (root / "etc/azready.toml").write_text("deadline = 'soon'\n")
    with Simulator(played(VM())) as platform:
        words = asking(platform, "/azready", "provision", "--force")
        result = subprocess.run(
            words,
            preexec_fn=emptyroot.entering(root, user=65534),
            env={},
            capture_output=True,
            text=True,
        )
        assert (result.returncode, platform.exchanges) == (2, [])
    assert "provision changes this machine and needs root" in result.stderr


def test_what_only_the_kernel_can_read_is_mounted_and_unmounted(
    make: Callable[[str], pathlib.Path],
) -> None:
    """mount is a script here.

    The kernels of test machines have no driver for anything that our own readers do not know.
    """
    root = make("busybox")
    insert(root, VM(media="junk"))
    (root / "ovf-env.xml").write_bytes(media.ovf_env(WITH_PASSWORD))
    copy = 'echo "$@" >>/mounts; cat /ovf-env.xml > "$6/ovf-env.xml"\n'
    for name, script in (
        ("mount", copy),
        (
            "umount",
            'echo "umount $1" >>/mounts; echo -n > "$1/ovf-env.xml"; /bin/rm "$1/ovf-env.xml"\n',
        ),
    ):
        (root / "bin" / name).write_text("#!/bin/sh\n" + script)
        (root / "bin" / name).chmod(0o755)
    shutil.copy(guests.debian() / "bin/busybox", root / "bin/rm")
    first = boot(root, dataclasses.replace(VM(disable_password="false"), media=""))
    assert first.code == 0, first.said
    assert (
        (root / "mounts").read_text()
        == "-t udf,iso9660 -o ro,nosuid,nodev,noexec /dev/sr0 /var/lib/azready/media\numount /var/lib/azready/media\n"
    )
    assert not (root / "var/lib/azready/media").exists()
    assert f"set the password of {USER}" in first.said


def test_a_rule_that_visudo_refuses_is_not_put_in_place(
    make: Callable[[str], pathlib.Path],
) -> None:
    root = make("busybox")
    for name, script in (
        ("sudo", ""),
        ("visudo", 'cat "$4" >/checked; echo parse error; exit 1\n'),
    ):
        (root / "bin" / name).write_text("#!/bin/sh\n" + script)
        (root / "bin" / name).chmod(0o755)
    first = boot(root, VM())
    assert first.code == 0, first.said  # a sudo of its own is no condition for a login
    assert "warning: /bin/visudo refuses the rule" in first.said
    assert (root / "checked").read_text() == f'"{USER}" ALL=(ALL:ALL) NOPASSWD: ALL\n'
    assert list((root / "etc/sudoers.d").iterdir()) == []


def test_check_after_a_first_boot_is_content(make: Callable[[str], pathlib.Path]) -> None:
    root = make("nothing")
    vm = dataclasses.replace(WITH_PASSWORD, public_keys=())
    assert boot(root, vm).code == 0
    (root / "dev/sr0").unlink()  # as the platform does
    with Simulator(played(vm)) as platform:
        result = emptyroot.run(
            root,
            asking(platform, "check", "--force"),
        )
    assert result.returncode == 0, result.stdout
    assert "nothing to do: this VM has been provisioned" in result.stdout


@pytest.mark.parametrize("drive", ["junk", "blank"])
def test_junk_in_the_drive_is_a_warning(make: Callable[[str], pathlib.Path], drive: str) -> None:
    root = make("nothing")
    first = boot(root, VM(media=drive))
    assert (first.code, first.reports) == (0, ["Ready"])
    assert "warning: /dev/sr0 holds something that cannot be read" in first.said


def test_check_says_what_would_be_done_and_changes_nothing(
    make: Callable[[str], pathlib.Path],
) -> None:
    root = make("debian")
    insert(root, WITH_PASSWORD)
    before = sorted(str(path) for path in root.rglob("*"))
    with Simulator(played(WITH_PASSWORD)) as platform:
        words = asking(platform, "check", "--force", "--json")
        result = emptyroot.run(root, words, writable=True)
        methods = {exchange.request.method for exchange in platform.exchanges}
    assert result.returncode == 0, result.stdout
    answer = json.loads(result.stdout)
    assert answer["ok"] is True
    assert methods == {"GET"}
    assert f"create the user {USER} with the shell /bin/bash" in answer["would"]
    assert f"set the password of {USER}" in answer["would"]
    subjects = {finding["subject"] for finding in answer["findings"]}
    assert {
        "platform",
        "VM id",
        "link",
        "IMDS",
        "wireserver",
        "goal state",
        "CD",
        "marker",
        "unit",
        "tools",
    } <= subjects
    assert PASSWORD not in result.stdout
    assert before == sorted(str(path) for path in root.rglob("*"))


def test_check_fails_where_provisioning_would(make: Callable[[str], pathlib.Path]) -> None:
    root = make("nothing")
    with Simulator(played(VM(admin_username="root"), "healthy")) as platform:
        words = asking(platform, "check")
        not_azure = emptyroot.run(root, words)
        forced = emptyroot.run(root, [*words, "--force"])
    assert (not_azure.returncode, forced.returncode) == (1, 1)
    assert "BAD   platform       not Azure: there is no chassis asset tag" in not_azure.stdout
    assert "BAD   plan           the user name 'root' is refused" in forced.stdout
    assert forced.stdout.endswith(
        "provisioning would NOT work: see the lines that start with BAD\n"
    )


# Calls by which the static file, and the tools of Debian, change files.
CHANGES = {
    "nothing": ("fchmod", "fchown", "fsync", "mkdirat", "renameat", "write"),
    "debian": (
        *("fchmod", "fchown", "fsync", "mkdirat", "renameat", "unlinkat", "write"),
        *("fdatasync", "link", "rename", "unlink"),
    ),
}


@dataclasses.dataclass
class Trace:
    """What strace wrote of a first boot.

    Each change as (program, call, its number among those of the process), and the programs that
    SIGKILL ended.
    """

    changes: list[tuple[str, str, int]]
    killed: list[str]


def traced(root: pathlib.Path, kind: str, *options: str) -> tuple[Boot, Trace]:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (scripts/test installs it where it can)")
    calls = ",".join(("execve", *CHANGES[kind]))
    with tempfile.NamedTemporaryFile("r") as file:
        around = (strace, "-f", "-o", file.name, "-e", f"trace={calls}", *options)
        end = boot(root, WITH_PASSWORD, around=around)
        lines = [line.split(None, 1) for line in file]
    programs: dict[str, str] = {}
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    found = Trace([], [])
    for pid, said in lines:
        if match := re.match(r'execve\("([^"]+)"', said):
            programs[pid] = match[1]
        elif match := re.match(r"(\w+)\(", said):
            counts[pid, match[1]] += 1
            found.changes.append((programs[pid], match[1], counts[pid, match[1]]))
        elif said.startswith("+++ killed by SIGKILL"):
            found.killed.append(programs[pid])
    return end, found


@pytest.fixture(scope="module")
def undisturbed() -> Callable[[str], Trace]:
    """What a first boot in a root of this kind changes, found out once."""

    @functools.cache
    def one(kind: str) -> Trace:
        with tempfile.TemporaryDirectory() as scratch:
            root = root_of(kind, pathlib.Path(scratch))
            end, trace = traced(root, kind)
        assert (end.code, trace.killed) == (0, []), end.said
        return trace

    return one


@pytest.mark.parametrize("at", ["first", "last"])
@pytest.mark.parametrize(
    ("kind", "call"), [(kind, call) for kind, calls in CHANGES.items() for call in calls]
)
def test_a_killed_run_is_finished_by_the_next(
    make: Callable[[str], pathlib.Path],
    undisturbed: Callable[[str], Trace],
    kind: str,
    call: str,
    at: str,
) -> None:
    """strace kills the first process that makes a call for the Nth time.

    It counts each call of each process. tests/simulated kills at every single change.
    """
    numbers = [
        (program, number) for program, name, number in undisturbed(kind).changes if name == call
    ]
    most = max((number for _, number in numbers), default=0)
    assert most, f"no first boot calls {call}: remove it from CHANGES"
    when = 1 if at == "first" else most
    victim = next(program for program, number in numbers if number == when)
    root = make(kind)
    first, trace = traced(root, kind, "-e", f"inject={call}:signal=KILL:when={when}")
    assert trace.killed[:1] == [victim], first.said
    if victim == "/azready":
        assert first.code == -signal.SIGKILL
    finished(root, kind)


@pytest.mark.parametrize(
    ("victim", "call", "path"),
    [
        ("/usr/sbin/useradd", "rename", "/etc/passwd+"),
        ("/usr/sbin/chpasswd", "rename", "/etc/nshadow"),
        # The second of three kinds: its private half is written by then.
        ("/usr/bin/ssh-keygen", "openat", "/etc/ssh/.ssh_host_ecdsa_key.pub"),
    ],
)
def test_a_killed_tool_is_made_up_for(
    make: Callable[[str], pathlib.Path], victim: str, call: str, path: str
) -> None:
    root = make("debian")
    only = ("-P", path, "-P", victim)  # of the victim, to see its execve
    first, trace = traced(
        root, "debian", *only, "-e", f"trace={call},execve", "-e", f"inject={call}:signal=KILL"
    )
    assert trace.killed == [victim], first.said
    finished(root, "debian")
    keys = sorted(path.name for path in (root / "etc/ssh").glob("*ssh_host_*"))
    # Of those that were made; a kind whose ssh-keygen is killed is left out, with a warning.
    kinds = ("ed25519", "rsa") if victim.endswith("keygen") else ("ecdsa", "ed25519", "rsa")
    assert keys == [f"ssh_host_{kind}_key{end}" for kind in kinds for end in ("", ".pub")]


def finished(root: pathlib.Path, kind: str) -> None:
    """A boot that nobody disturbs ends with one user, complete and able to log in."""
    # What a power cut leaves of the tools' own locks, they take for stale: the process is gone.
    again = boot(root, WITH_PASSWORD)
    assert again.code == 0, again.said
    assert [
        len(
            [
                line
                for line in (root / "etc" / name).read_text().splitlines()
                if line.startswith(f"{USER}:")
            ]
        )
        for name in ("passwd", "shadow", "group")
    ] == [1, 1, 1]
    assert entry(root, "passwd")[5] == f"/home/{USER}"
    assert entry(root, "shadow")[1][:1] == "$"
    assert (root / f"home/{USER}/.ssh/authorized_keys").read_text() == scenario.KEY + "\n"
    assert list(root.rglob("*.azready")) == []
    if kind == "debian":
        assert inside(root, "grpck", "-r").returncode == 0
        assert USER not in inside(root, "pwck", "-r").stdout


def test_the_host_keeps_its_name() -> None:
    assert os.uname().nodename != VM().computer_name
