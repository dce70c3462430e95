"""The command line, from source and frozen: each mistake is one line and an exit status."""

import importlib
import os
import pathlib
import re
import shlex
import socket
import subprocess

import pytest

from agent import __version__, cli, errors, usage
from agent.azure.http import endpoint
from agent.cli import COMMANDS, EXIT_STATUSES, OPTIONS
from agent.errors import UsageError
from build import emptyroot
from tests.conftest import FROZEN, Run

LOOPBACK = ["--wireserver", "http://127.0.0.1:9", "--deadline", "1"]
LOOPBACK_REPORT = ["report", "ready", *LOOPBACK[:2]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "missing command; see azready --help"),
        (["fly"], "unknown command 'fly'; see azready --help"),
        (["provison"], "unknown command 'provison'; did you mean provision?"),
        (["uninstal"], "unknown command 'uninstal'; did you mean uninstall?"),
        (["chekc"], "unknown command 'chekc'; see azready --help"),
        (["cheek"], "unknown command 'cheek'; did you mean check?"),
        (
            ["check", *LOOPBACK, "--forse"],
            "azready check has no option '--forse'; did you mean --force?",
        ),
        (["unit", "--exe=/a"], "has no option '--exe'; did you mean --exec?"),
        (["unit", "--ini", "runit"], "has no option '--ini'; did you mean --init?"),
        (["unit", "--root=/"], "azready unit has no option '--root'; see azready --help"),
        (["report"], "missing kind of report: use report ready, report provisioning"),
        (["report", "joy"], "unknown report 'joy': use report ready, report provisioning"),
        (["report", "failed", *LOOPBACK], "missing REASON"),
        (["report", "failed", "  ", *LOOPBACK], "missing REASON"),
        (["report", "failed", "a", "b", *LOOPBACK], "unexpected argument 'b'; quote the reason"),
        (["report", "ready", "now", *LOOPBACK], "unexpected argument 'now'"),
        (["report", "ready", "--root", "/", *LOOPBACK], "has no option '--root'"),
        (["report", "ready", "--wireserver"], "--wireserver needs a value: --wireserver URL"),
        (["report", "ready", "--verbose=1", *LOOPBACK], "--verbose takes no value"),
        (["report", "ready", *LOOPBACK, "--deadline", "5"], "--deadline is given twice"),
        (
            [*LOOPBACK_REPORT, "--deadline", "--verbose"],
            "--deadline needs a value: --deadline SECONDS",
        ),
        (
            ["--root", "/mnt", "install"],
            "options stand after the command: azready COMMAND --root DIR",
        ),
        (["--verbose", "check"], "options stand after the command: azready COMMAND --verbose"),
        (["--verbos"], "unknown option '--verbos'; did you mean --verbose?"),
        (["help", "chek"], "unknown command 'chek'; did you mean check?"),
        (
            ["report", "ready", "--wireserver", "http://127.0.0.1:9", "--deadline", "soon"],
            "--deadline 'soon' is not a number of seconds",
        ),
        (
            ["report", "ready", "--wireserver", "http://127.0.0.1:9", "--deadline", "nan"],
            "--deadline 'nan'",
        ),
        (
            ["report", "ready", "--wireserver", "http://127.0.0.1:9", "--deadline", "0"],
            "--deadline '0'",
        ),
        (["report", "ready", "--wireserver", "localhost"], "is not the address of a service"),
        (
            ["provision", "--root", "/does/not/exist", *LOOPBACK],
            "--root '/does/not/exist' cannot be used: no such file or directory",
        ),
        (["unit", "--exec", "azready"], "must be an absolute path"),
        (["unit", "--exec", "/a b"], "must be an absolute path"),
        (
            ["unit", "--init", "launchd"],
            "unknown init system --init 'launchd': use one of systemd, ",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    azready: Run, arguments: list[str], says: str
) -> None:
    result = azready(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.startswith("azready: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_version_names_python_architecture_and_freezer(azready: Run, word: str) -> None:
    result = azready(word)
    assert re.fullmatch(
        rf"azready {re.escape(__version__)} \(Python 3\.\d+\.\d+, {os.uname().machine}, "
        r"(not frozen|PyInstaller [\d.]+)\)\n",
        result.stdout,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_lists_commands_options_init_systems_and_exit_statuses(
    azready: Run, arguments: list[str]
) -> None:
    result = azready(*arguments)
    assert result.returncode == 0
    for word in (
        "provision",
        "report failed REASON",
        "unit",
        "--deadline SECONDS",
        "--force",
        "initramfs-tools",
        "exit status:",
        "5  missing privilege",
    ):
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["help", "provision"], "usage: azready provision [OPTION ...]"),
        (["install", "--root", "/", "-h"], "azready install --root /mnt "),
        (["help", "unit"], "--init NAME  init system"),
        (["help", "report", "failed"], "usage: azready report failed REASON [OPTION ...]"),
        (["report", "--help"], "usage: azready report failed REASON [OPTION ...]"),
        (["help", "report"], "usage: azready report ready [OPTION ...]"),
    ],
)
def test_help_about_a_command_has_its_options_and_examples(
    azready: Run, arguments: list[str], says: str
) -> None:
    result = azready(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert says in result.stdout
    assert "examples:" in result.stdout
    assert "exit status:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_is_a_command_line_that_azready_takes(command: str) -> None:
    assert usage.EXAMPLES[command]
    for line, meaning in usage.EXAMPLES[command]:
        _, *words = shlex.split(line)
        found, rest = cli._command(words)
        assert (found, bool(meaning)) == (command, True)
        cli._parse(found, rest)


def test_a_reason_may_look_like_a_call_for_help(azready: Run) -> None:
    result = azready("report", "failed", *LOOPBACK, "--", "--help")
    assert result.returncode == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_a_module_and_has_known_options(command: str) -> None:
    module = importlib.import_module(f"agent.commands.{command.split(maxsplit=1)[0]}")
    assert callable(module.run)
    assert set(COMMANDS[command][2]) <= set(OPTIONS)


def test_each_exit_status_is_explained_once() -> None:
    numbers = [number for number, _ in EXIT_STATUSES]
    named = [value for name, value in vars(errors).items() if name.startswith("EXIT_")]
    assert sorted(numbers) == sorted(named)


def test_options_may_stand_anywhere_and_take_equals(azready: Run) -> None:
    result = azready(
        "report", "failed", "--deadline=1", "--wireserver=http://127.0.0.1:9", "--", "--reason--"
    )
    assert result.returncode == 3
    assert "connection refused connecting to 127.0.0.1:9" in result.stderr


def test_unit_runs_the_given_file(azready: Run) -> None:
    unit = azready("unit", "--exec", "/opt/az/azready").stdout
    assert "ExecStart=/opt/az/azready provision\n" in unit
    assert not [
        line
        for line in unit.splitlines()
        if "network-online.target" in line and not line.startswith("#")
    ]


def test_unreachable_is_exit_3_and_unprivileged_exit_5(azready: Run) -> None:
    assert azready("report", "ready", *LOOPBACK).returncode == 3
    if os.geteuid() != 0:
        assert azready("provision", *LOOPBACK).returncode == 5


def test_provision_of_this_machine_needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("the test above shows it")
    # From a copy, because the repository may lie where another user cannot look.
    with emptyroot.holding(FROZEN) as folder:
        result = subprocess.run(
            [folder / "azready", "provision", *LOOPBACK],
            capture_output=True,
            text=True,
            user=65534,
            group=65534,
        )
    assert result.returncode == 5
    assert "needs root" in result.stderr


def test_not_on_azure_changes_nothing(azready: Run, tmp_path: pathlib.Path) -> None:
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "chassis_asset_tag").write_text("No Asset Tag\n")
    result = azready("provision", "--root", str(tmp_path), *LOOPBACK)
    assert result.returncode == 0
    assert "not a VM on Azure (the chassis asset tag is 'No Asset Tag')" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sys"]


def test_out_of_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(cli, "_run", exhausted)
    assert cli.main(["unit"]) == 1
    assert re.fullmatch(
        r".*error: out of memory: raise the limit of this process, or give this machine more\n",
        capfd.readouterr().err,
    )


def test_a_full_standard_output_is_an_error(azready: Run) -> None:
    result = azready("--version")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            result.args,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=pathlib.Path(__file__).parents[2],
        )
    assert ended.returncode == 1
    assert "cannot write to standard output: no space left on device" in ended.stderr


def test_closed_standard_descriptors_never_become_a_socket(azready: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        words = azready("--version").args[:-1]
        port = server.getsockname()[1]
        options = f"--verbose --deadline 2 --wireserver http://127.0.0.1:{port}"
        shell = f'exec "$@" report ready {options} <&- >&- 2>&-'
        process = subprocess.Popen(
            ["sh", "-c", shell, "sh", *words], cwd=pathlib.Path(__file__).parents[2]
        )
        received = b""
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            while piece := connection.recv(4096):
                received += piece
        server.close()
        assert process.wait(10) == 3
    assert received.startswith(b"GET /machine?comp=goalstate HTTP/1.1\r\n")
    assert b"azready [" not in received


def test_log_lines_carry_their_priority_where_the_journal_reads_them(
    azready: Run, tmp_path: pathlib.Path
) -> None:
    elsewhere = azready("report", "ready", *LOOPBACK, env={"JOURNAL_STREAM": "8:12345"})
    assert elsewhere.stderr.startswith("azready [")
    with open(tmp_path / "journal", "w+") as journal:
        status = os.fstat(journal.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        subprocess.run(
            elsewhere.args, stderr=journal, env=environment, cwd=pathlib.Path(__file__).parents[2]
        )
        journal.seek(0)
        assert journal.read().startswith("<3>error: gave up reporting Ready")


@pytest.mark.parametrize(
    ("url", "address", "port", "prefix"),
    [
        ("http://168.63.129.16", "168.63.129.16", 80, ""),
        ("http://168.63.129.16/", "168.63.129.16", 80, ""),
        ("http://127.0.0.1:8080/a/b/", "127.0.0.1", 8080, "/a/b"),
        ("http://[::1]:8080", "::1", 8080, ""),
        ("http://[fe80::1]", "fe80::1", 80, ""),
    ],
)
def test_addresses_of_services(url: str, address: str, port: int, prefix: str) -> None:
    found = endpoint(url)
    assert (found.address, found.port, found.prefix) == (address, port, prefix)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "168.63.129.16",
        "https://168.63.129.16",
        "http://wireserver",
        "http://localhost:80",
        "http://1.2.3",
        "http://1.2.3.4:",
        "http://1.2.3.4:0",
        "http://1.2.3.4:65536",
        "http://1.2.3.4:8x",
        "http://user@1.2.3.4",
        "http://1.2.3.4/a?b",
        "http://1.2.3.4/a b",
        "http://1.2.3.4/a\r\nX: y",
        "http://[::1",
        "http://[::1]x",
        "http://",
    ],
)
def test_an_invalid_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a service"):
        endpoint(url)
