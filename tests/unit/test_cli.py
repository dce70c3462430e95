"""The command line, from source and frozen: every mistake is one line and an exit code."""

import os
import pathlib
import re
import socket
import subprocess

import pytest

from agent import __version__
from agent.azure.http import Endpoint
from agent.errors import UsageError
from build import emptyroot
from tests.conftest import FROZEN, Run

LOOPBACK = ["--wireserver", "http://127.0.0.1:9", "--deadline", "1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no command was given"),
        (["fly"], "unknown command 'fly'"),
        (["report"], "what to report is missing"),
        (["report", "joy"], "what to report is missing or unknown"),
        (["report", "failed", *LOOPBACK], "needs its REASON"),
        (["report", "failed", "  ", *LOOPBACK], "needs its REASON"),
        (["report", "failed", "a", "b", *LOOPBACK], "no place for 'b'; quote the reason"),
        (["report", "ready", "now", *LOOPBACK], "no place for 'now'"),
        (["report", "ready", "--root", "/", *LOOPBACK], "has no option '--root'"),
        (["report", "ready", "--wireserver"], "--wireserver needs a value: --wireserver URL"),
        (["report", "ready", "--verbose=1", *LOOPBACK], "--verbose takes no value"),
        (["report", "ready", *LOOPBACK, "--deadline", "5"], "--deadline is given twice"),
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
        (["report", "ready", "--wireserver", "localhost"], "is no address of a service"),
        (
            ["provision", "--root", "/does/not/exist", *LOOPBACK],
            "--root '/does/not/exist' cannot be used: no such file or directory",
        ),
        (["unit", "--exec", "azready"], "give an absolute path"),
        (["unit", "--exec", "/a b"], "give an absolute path"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    azready: Run, arguments: list[str], says: str
) -> None:
    result = azready(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_version_names_python_architecture_and_freezer(azready: Run) -> None:
    result = azready("--version")
    assert re.fullmatch(
        rf"azready {re.escape(__version__)} \(Python 3\.\d+\.\d+, {os.uname().machine}, (not frozen|PyInstaller [\d.]+)\)\n",
        result.stdout,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], ["unit", "--help"]])
def test_help_lists_commands_options_and_exit_codes(azready: Run, arguments: list[str]) -> None:
    result = azready(*arguments)
    assert result.returncode == 0
    for word in (
        "provision",
        "report failed REASON",
        "unit",
        "--deadline SECONDS",
        "--force",
        "exit codes",
        "5  missing privilege",
    ):
        assert word in result.stdout


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
    assert "this is not a VM on Azure (the chassis asset tag is 'No Asset Tag')" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sys"]


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
        shell = f'exec "$@" report ready --verbose --deadline 2 --wireserver http://127.0.0.1:{port} <&- >&- 2>&-'
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
    endpoint = Endpoint(url)
    assert (endpoint.address, endpoint.port, endpoint.prefix) == (address, port, prefix)


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
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="is no address of a service"):
        Endpoint(url)
