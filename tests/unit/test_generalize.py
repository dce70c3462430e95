"""generalize, in this process: what goes, what stays beside it, and that it asks first.

tests/unit/test_image.py runs the file.
"""

import fnmatch
import os
import pathlib
import posix
import socket

import pytest

from agent.commands import generalize
from agent.errors import EXIT_DONE, UsageError
from agent.root import Root
from tests.conftest import Lines, picture

STATE = "/var/lib/azready"
# What goes -> what stays beside it, "" where a folder is emptied.
GONE = {
    "var/lib/azready/customdata": "var/lib/azready-notes",
    "etc/ssh/ssh_host_rsa_key": "etc/ssh/deploy_to_host_key",
    "etc/ssh/ssh_host_rsa_key.pub": "etc/ssh/ssh_host_key.pub",
    "etc/ssh/.ssh_host_keys_pending": "etc/ssh/.ssh_other",
    "var/lib/dbus/machine-id": "var/lib/dbus/other",
    "etc/sudoers.d/90-azready": "etc/sudoers.d/91-ours",
    "etc/doas.d/azready.conf": "etc/doas.d/ours.conf",
    "etc/ssh/sshd_config.d/00-azready.conf": "etc/ssh/sshd_config.d/01-ours.conf",
    "var/lib/dhcp/dhclient.eth0.leases": "var/lib/dhcp/dhclient.conf",
    "var/lib/dhclient/a": "",
    "var/lib/dhcpcd/a": "",
    "var/lib/dhcpcd5/a": "",
    "var/lib/NetworkManager/a.lease": "var/lib/NetworkManager/NetworkManager.state",
    "var/lib/NetworkManager/secret_key": "var/lib/NetworkManager/secret_keys",
    "var/lib/systemd/network/a": "",
    "var/lib/systemd/random-seed": "var/lib/systemd/timers/stamp",
    "var/lib/systemd/credential.secret": "var/lib/systemd/other.secret",
    "var/lib/urandom/random-seed": "var/lib/urandom/other",
    "var/lib/random-seed": "var/lib/other",
    "var/lib/seedrng/seed.credit": "",
    "boot/loader/random-seed": "boot/loader/loader.conf",
    "boot/efi/loader/random-seed": "boot/efi/loader/loader.conf",
    "efi/loader/random-seed": "efi/loader/loader.conf",
    "var/log/journal/0123/system.journal": "",
    "root/.ash_history": "root/.profile",
    "home/ann/.bash_history": "home/ann/history",
    "root/.lesshst": "root/.lessrc",
    "home/ann/.lesshst": "home/ann/.lessrc",
    "var/lib/cloud/instance/user-data": "",
    "var/log/cloud-init-output.log": "",
    "etc/sudoers.d/90-cloud-init-users": "etc/sudoers.d/90-cloud",
    "etc/ssh/sshd_config.d/50-cloud-init.conf": "etc/ssh/sshd_config.d/50-ours.conf",
    "var/lib/waagent/ovf-env.xml": "",
    "var/log/azure/a.log": "",
    "etc/sudoers.d/waagent": "etc/sudoers.d/waagents",
    "var/lib/azure-init/a": "",
}


def plant(root: pathlib.Path, name: str, text: str = "x\n") -> pathlib.Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root / name


def texts(root: pathlib.Path, user: str = "", state: str = STATE) -> list[str]:
    return [change.text for change in generalize.changes(Root(str(root)), state, user)]


def generalized(root: pathlib.Path, state: str = STATE) -> list[str]:
    """Do it; return what was listed. Doing it again finds nothing."""
    listed = generalize.changes(Root(str(root)), state, "")
    for change in listed:
        change.apply()
    assert texts(root, state=state) == []
    return [change.text for change in listed]


@pytest.mark.parametrize("name", GONE)
def test_it_goes_and_its_neighbour_stays(tmp_path: pathlib.Path, name: str) -> None:
    gone = plant(tmp_path, name)
    kept = plant(tmp_path, GONE[name] or "srv/other")
    assert len(generalized(tmp_path)) == 1
    assert not gone.exists()
    assert kept.read_text() == "x\n"


def test_every_pattern_has_such_a_pair() -> None:
    patterns = (f"{STATE}/*", *generalize._REMOVED)
    missed = [
        pattern
        for pattern in patterns
        if not any(fnmatch.fnmatchcase(f"/{name}", pattern) for name in GONE)
    ]
    assert missed == []
    assert len(patterns) == len(GONE)


def test_the_state_directory_of_the_settings_is_emptied(
    tmp_path: pathlib.Path, log: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, "etc/azready.toml", "state_directory = '/srv/azready'\n")
    names = ("customdata", "userdata", "disabled", "ID.provisioned", "ID.customdata")
    for name in names:
        plant(tmp_path, f"srv/azready/{name}")
    mine = plant(tmp_path, "srv/azready/notes-of-the-image")
    usual = plant(tmp_path, "var/lib/azready/customdata")
    assert generalize.run({"--root": str(tmp_path), "--yes": ""}, log) == EXIT_DONE
    listed = capfd.readouterr().out.splitlines()
    assert sorted(listed) == sorted(f"remove /srv/azready/{name}" for name in names)
    assert list((tmp_path / "srv/azready").iterdir()) == [mine]
    assert usual.exists()


def test_a_star_stands_for_nothing_too_but_not_for_a_character_of_both_sides(
    tmp_path: pathlib.Path,
) -> None:
    plant(tmp_path, "root/._history")
    kept = plant(tmp_path, "etc/ssh/ssh_host_key")  # both "ssh_host_" and "_key", with one _
    assert generalized(tmp_path) == ["remove /root/._history"]
    assert kept.exists()


def test_a_log_that_vanishes_meanwhile_is_nobody_s_problem(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "var/log/a")
    monkeypatch.setattr(Root, "names", lambda *_: ["a", "gone"])
    assert [change.text for change in generalize._logs(Root(str(tmp_path)), [])] == [
        "empty /var/log/a"
    ]


def test_a_name_that_would_move_the_cursor_is_printed_harmlessly(tmp_path: pathlib.Path) -> None:
    plant(tmp_path, "var/log/a\x1b[2J")
    plant(tmp_path, "var/log/a\x1b.old")
    assert generalized(tmp_path) == ["remove /var/log/a\\x1b.old", "empty /var/log/a\\x1b[2J"]


def test_links_go_even_if_they_lead_nowhere_and_their_targets_stay(tmp_path: pathlib.Path) -> None:
    kept = plant(tmp_path, "srv/kept")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.a_history").symlink_to("/srv/kept")
    (tmp_path / "root/.b_history").symlink_to("/none")
    assert generalized(tmp_path) == ["remove /root/.a_history", "remove /root/.b_history"]
    assert list((tmp_path / "root").iterdir()) == []
    assert kept.exists()


def test_the_id_of_dbus_stays_if_it_is_a_link(tmp_path: pathlib.Path) -> None:
    own = plant(tmp_path, "var/lib/dbus/machine-id")
    own.unlink()
    own.symlink_to("/etc/machine-id")
    assert generalized(tmp_path) == []
    assert own.is_symlink()


@pytest.mark.parametrize(
    ("content", "listed"), [("0123\n", ["empty /etc/machine-id"]), ("", []), (None, [])]
)
def test_the_machine_id_is_empty_but_not_made(
    tmp_path: pathlib.Path, content: str | None, listed: list[str]
) -> None:
    if content is not None:
        plant(tmp_path, "etc/machine-id", content)
    assert generalized(tmp_path) == listed
    assert (tmp_path / "etc/machine-id").exists() is (content is not None)


def test_logs_that_are_written_to_stay_and_are_empty(tmp_path: pathlib.Path) -> None:
    for name in ("syslog", "apt/term.log", "a/b/c/d.log", "x.1.log", "gz"):
        plant(tmp_path, f"var/log/{name}", "line\n")
    kept = plant(tmp_path, "var/log/quiet.log", "")
    before = kept.stat().st_mtime_ns
    assert sorted(generalized(tmp_path)) == sorted(
        f"empty /var/log/{name}"
        for name in ("syslog", "apt/term.log", "a/b/c/d.log", "x.1.log", "gz")
    )
    assert [
        path.stat().st_size for path in (tmp_path / "var/log").rglob("*") if path.is_file()
    ] == [0] * 6
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["a.1", "a.old", "a.gz", "a.xz", "apt/a.2.gz"])
@pytest.mark.parametrize("text", ["line\n", ""])
def test_rotated_logs_go(tmp_path: pathlib.Path, name: str, text: str) -> None:
    log = plant(tmp_path, f"var/log/{name}", text)
    assert generalized(tmp_path) == [f"remove /var/log/{name}"]
    assert not log.exists()


def test_a_log_with_a_second_name_goes_and_the_other_name_stays(tmp_path: pathlib.Path) -> None:
    other = plant(tmp_path, "srv/precious")
    (tmp_path / "var/log").mkdir(parents=True)
    os.link(other, tmp_path / "var/log/syslog")
    assert generalized(tmp_path) == ["remove /var/log/syslog"]
    assert other.read_text() == "x\n"


def test_what_is_no_file_among_the_logs_stays(tmp_path: pathlib.Path) -> None:
    kept = plant(tmp_path, "srv/kept")
    logs = tmp_path / "var/log"
    (logs / "folder.gz").mkdir(parents=True)
    (logs / "link.gz").symlink_to("/srv/kept")
    (logs / "folder").symlink_to("/srv")
    os.mkfifo(logs / "fifo.old")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(logs / "socket"))
    before = picture(tmp_path)
    assert generalized(tmp_path) == []
    assert picture(tmp_path) == before
    assert kept.read_text() == "x\n"


def test_a_folder_too_deep_for_logs_goes(tmp_path: pathlib.Path) -> None:
    deepest = "/var/log" + "/d" * 13  # with 15 parts; its files are logs yet
    plant(tmp_path, f"{deepest[1:]}/log")
    plant(tmp_path, f"{deepest[1:]}/d/log")
    assert sorted(generalized(tmp_path)) == [f"empty {deepest}/log", f"remove {deepest}/d"]
    assert [path.name for path in (tmp_path / deepest[1:]).iterdir()] == ["log"]


def test_what_goes_is_not_emptied_first(tmp_path: pathlib.Path) -> None:
    for name in ("journal/0123/system.journal", "cloud-init.log", "azure/old/agent.log"):
        plant(tmp_path, f"var/log/{name}")
    assert generalized(tmp_path) == [
        "remove /var/log/journal/0123",
        "remove /var/log/cloud-init.log",
        "remove /var/log/azure/old",
    ]


def test_the_list_has_an_order_and_nothing_twice(tmp_path: pathlib.Path) -> None:
    for name in ("b", "a", "c"):
        plant(tmp_path, f"var/lib/cloud/{name}")
    assert generalized(tmp_path, state="/var/lib/cloud") == [
        f"remove /var/lib/cloud/{name}" for name in "abc"
    ]


@pytest.mark.parametrize(
    ("hostname", "hosts", "listed", "left"),
    [
        (
            "web\n",
            "::1 localhost\n127.0.1.1 web\n",
            "remove web from /etc/hosts",
            "::1 localhost\n",
        ),
        ("  web \n\n", "127.0.1.1 web db\n", "remove web from /etc/hosts", "127.0.1.1\tdb\n"),
        ("web\n", "10.0.0.1 web\n", "", "10.0.0.1 web\n"),
        ("web\n", None, "", None),
        ("a\x1bb", "127.0.1.1 a\x1bb\n", "remove a\\x1bb from /etc/hosts", ""),
        ("\udcff", "127.0.1.1 web\n", "", "127.0.1.1 web\n"),
    ],
)
def test_the_host_name_goes_from_its_file_and_from_hosts(
    tmp_path: pathlib.Path, hostname: str, hosts: str | None, listed: str, left: str | None
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_bytes(hostname.encode(errors="surrogateescape"))
    if hosts is not None:
        plant(tmp_path, "etc/hosts", hosts)
    assert generalized(tmp_path) == [*filter(None, [listed]), "remove /etc/hostname"]
    assert not (tmp_path / "etc/hostname").exists()
    assert (tmp_path / "etc/hosts").exists() is (left is not None)
    assert left is None or (tmp_path / "etc/hosts").read_text() == left


def test_without_a_host_name_hosts_stays(tmp_path: pathlib.Path) -> None:
    plant(tmp_path, "etc/hosts", "127.0.1.1 web\n")
    assert generalized(tmp_path) == []


def test_the_user_goes_last_of_what_goes_and_only_if_named(tmp_path: pathlib.Path) -> None:
    plant(tmp_path, "etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n")
    plant(tmp_path, "etc/hostname")
    mail = plant(tmp_path, "var/mail/ann")
    (tmp_path / "home").mkdir()
    assert texts(tmp_path) == ["remove /etc/hostname"]
    assert texts(tmp_path, user="ann") == [
        "remove /etc/hostname",
        "remove /var/mail/ann",
        "remove the user ann (uid 1000)",
    ]
    with pytest.raises(UsageError, match="there is no such user"):
        texts(tmp_path, user="bob")
    assert mail.exists()


def test_what_is_installed_is_enabled_again(tmp_path: pathlib.Path) -> None:
    plant(tmp_path, "usr/lib/systemd/systemd")
    assert generalized(tmp_path) == []
    plant(tmp_path, "etc/systemd/system/azready.service")
    plant(tmp_path, "var/lib/azready/disabled")
    link = "/etc/systemd/system/multi-user.target.wants/azready.service"
    assert generalized(tmp_path) == [
        "remove /var/lib/azready/disabled",
        f"enable azready for the next boot: {link}",
    ]
    assert (tmp_path / link[1:]).is_symlink()


def test_a_dry_run_says_what_would_be_done(
    tmp_path: pathlib.Path, log: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"--root": str(tmp_path), "--dry-run": ""}
    for more in ({}, {"--yes": ""}):
        assert generalize.run({**options, **more}, log) == EXIT_DONE
        assert capfd.readouterr().out == "nothing to do\n"
        hostname = plant(tmp_path, "etc/hostname")
        plant(tmp_path, "etc/machine-id")
        assert generalize.run({**options, **more}, log) == EXIT_DONE
        assert capfd.readouterr().out == "would empty /etc/machine-id\nwould remove /etc/hostname\n"
        assert hostname.read_text() == "x\n"
        assert log.lines == []
        hostname.unlink()
        (tmp_path / "etc/machine-id").unlink()


def test_what_was_agreed_to_is_done_and_counted(
    tmp_path: pathlib.Path, log: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, "etc/hostname")
    plant(tmp_path, "etc/machine-id")
    options = {"--root": str(tmp_path), "--yes": ""}
    assert generalize.run(options, log) == EXIT_DONE
    assert capfd.readouterr().out == "empty /etc/machine-id\nremove /etc/hostname\n"
    assert log.lines == [
        "7 empty /etc/machine-id",
        "7 remove /etc/hostname",
        "6 done, 2 changes",
    ]
    assert not (tmp_path / "etc/hostname").exists()
    log.lines.clear()
    assert generalize.run(options, log) == EXIT_DONE
    assert capfd.readouterr().out == "nothing to do\n"
    assert log.lines == []


def test_the_user_of_the_command_line_goes(tmp_path: pathlib.Path, log: Lines) -> None:
    with pytest.raises(UsageError, match="--user 'ann' cannot be removed"):
        generalize.run({"--root": str(tmp_path), "--user": "ann", "--yes": ""}, log)


@pytest.mark.skipif(os.geteuid() != 0, reason="changing account files takes root")
def test_a_user_without_a_home_goes_as_well(tmp_path: pathlib.Path, log: Lines) -> None:
    passwd = plant(tmp_path, "etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n")
    assert generalize.run({"--root": str(tmp_path), "--user": "ann", "--yes": ""}, log) == EXIT_DONE
    assert passwd.read_text() == ""


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        (b"y\n", True),
        (b" YES \n", True),
        (b"", False),
        (b"\n", False),
        (b"n\n", False),
        (b"yes please\n", False),
        (None, False),
    ],
)
def test_only_a_yes_on_a_terminal_is_one(
    tmp_path: pathlib.Path,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    answer: bytes | None,
    agreed: bool,
) -> None:
    """None: no terminal, where "y" would be read."""
    hostname = plant(tmp_path, "etc/hostname")
    monkeypatch.setattr(posix, "isatty", lambda fd: fd == 0 and answer is not None)
    read, said = posix.read, b"y\n" if answer is None else answer
    monkeypatch.setattr(posix, "read", lambda fd, most: read(fd, most) if fd else said)
    options = {"--root": str(tmp_path)}
    if agreed:
        assert generalize.run(options, log) == EXIT_DONE
    else:
        with pytest.raises(UsageError, match="nothing was changed: generalize asks first"):
            generalize.run(options, log)
    asked = f"generalize the system below {tmp_path} as listed? [y/N] " * (answer is not None)
    assert capfd.readouterr().out == f"remove /etc/hostname\n{asked}"
    assert hostname.exists() is not agreed
