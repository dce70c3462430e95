"""Files, host name, markers and the unit's links, under a root of the test's own."""

import os
import pathlib
import stat

import pytest

from agent.errors import GuestError
from agent.guest import hostname, state
from agent.init import systemd
from agent.root import MAX_READ, Root

DIRECTORY = "/var/lib/azready"


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "etc").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("web-1", "web-1"),
        ("Web1", "Web1"),
        ("vmss_0", "vmss-0"),
        ("_x_", "x"),
        ("a b", "a-b"),
        ("web.example.com", "web.example.com"),
        ("..a..b..", "a.b"),
        ("héllo", "h-llo"),
        ("-", ""),
        ("", ""),
        ("名前", ""),
        ("x" * 70, "x" * 63),
        ("a" * 40 + "." + "b" * 40, "a" * 40 + "." + "b" * 23),
        ("a" * 63 + "-b", "a" * 63),
        ("a\nb\0c", "a-b-c"),
    ],
)
def test_names_are_made_legal(name: str, legal: str) -> None:
    assert hostname.sanitise(name) == legal


@pytest.mark.parametrize(
    ("before", "old", "after"),
    [
        ("127.0.0.1 localhost\n", "", "127.0.0.1 localhost\n127.0.1.1\tweb\n"),
        ("127.0.0.1 localhost", "", "127.0.0.1 localhost\n127.0.1.1\tweb\n"),
        ("", "", "127.0.1.1\tweb\n"),
        ("127.0.0.1 localhost web\n", "", "127.0.0.1 localhost web\n"),
        ("::1 web # six\n", "", "::1 web # six\n"),
        (
            "127.0.1.1 old alias # note\n10.0.0.1 old\n",
            "old",
            "127.0.1.1\tweb alias # note\n10.0.0.1 old\n",
        ),
        ("127.0.1.1 other\n", "old", "127.0.1.1 other\n127.0.1.1\tweb\n"),
        ("# 127.0.0.1 web\n", "", "# 127.0.0.1 web\n127.0.1.1\tweb\n"),
        ("10.0.0.1 web\n", "", "10.0.0.1 web\n127.0.1.1\tweb\n"),
        ("127.0.0.1 localhost\r\n\r\n", "", "127.0.0.1 localhost\r\n\r\n127.0.1.1\tweb\n"),
    ],
)
def test_hosts_gains_the_name_and_keeps_every_other_line(before: str, old: str, after: str) -> None:
    assert hostname.hosts_with(before.encode(), "web", old).decode() == after


def test_hosts_keeps_bytes_that_are_no_text() -> None:
    assert (
        hostname.hosts_with(b"10.0.0.1 caf\xe9\n", "web", "")
        == b"10.0.0.1 caf\xe9\n127.0.1.1\tweb\n"
    )


def test_a_name_with_dots_brings_its_first_label() -> None:
    assert hostname.hosts_with(b"", "web.example", "") == b"127.0.1.1\tweb.example web\n"


def test_hostname_files_are_written_once(root: pathlib.Path) -> None:
    assert hostname.write_hostname(Root(str(root)), "web")
    assert not hostname.write_hostname(Root(str(root)), "web")
    assert (root / "etc/hostname").read_text() == "web\n"
    assert hostname.write_hosts(Root(str(root)), "web")
    assert not hostname.write_hosts(Root(str(root)), "web")
    assert (root / "etc/hosts").read_text().endswith("127.0.1.1\tweb\n")


def test_a_replaced_file_keeps_mode_and_owner(root: pathlib.Path) -> None:
    target = root / "etc/hosts"
    target.write_text("old")
    target.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 12, 34)
    Root(str(root)).replace("/etc/hosts", b"new")
    status = target.stat()
    assert (target.read_text(), stat.S_IMODE(status.st_mode)) == ("new", 0o640)
    if os.geteuid() == 0:
        assert (status.st_uid, status.st_gid) == (12, 34)
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["hosts"]


def test_what_a_killed_run_left_is_no_obstacle(root: pathlib.Path) -> None:
    (root / "etc/.hosts.azready").write_text("half")
    Root(str(root)).replace("/etc/hosts", b"new")
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["hosts"]


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "etc/hosts").write_text("old")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("posix.write", full)
    with pytest.raises(GuestError, match=r"cannot replace .*/etc/hosts: no space left on device"):
        Root(str(root)).replace("/etc/hosts", b"new")
    assert [path.name for path in (root / "etc").iterdir()] == ["hosts"]
    assert (root / "etc/hosts").read_text() == "old"


def test_links_are_followed_inside_the_root(root: pathlib.Path) -> None:
    (root / "usr").mkdir()
    (root / "etc/hostname").symlink_to("/usr/../../../usr/hostname")
    Root(str(root)).replace("/etc/hostname", b"web\n")
    assert (root / "usr/hostname").read_text() == "web\n"
    assert (root / "etc/hostname").is_symlink()
    assert Root(str(root)).read("/etc/hostname") == b"web\n"


def test_a_circle_of_links_is_an_error_of_ours(root: pathlib.Path) -> None:
    (root / "etc/hostname").symlink_to("hostname")
    with pytest.raises(GuestError, match=r"cannot read .*: too many levels"):
        Root(str(root)).read("/etc/hostname")


def test_reading_is_capped_and_absence_is_none(root: pathlib.Path) -> None:
    assert Root(str(root)).read("/etc/none") is None
    (root / "etc/hosts").write_bytes(b"x" * (MAX_READ + 1))
    with pytest.raises(GuestError, match="more than"):
        Root(str(root)).read("/etc/hosts")


ID = "6e1b6b2c-1f0a-4d55-9c4b-0a1b2c3d4e5f"


def test_a_marker_is_keyed_by_the_vm(root: pathlib.Path) -> None:
    assert not state.is_provisioned(Root(str(root)), DIRECTORY, (ID,))
    state.mark_provisioned(Root(str(root)), DIRECTORY, ID, "note")
    assert state.is_provisioned(Root(str(root)), DIRECTORY, ("another", ID))
    assert not state.is_provisioned(Root(str(root)), DIRECTORY, ("another",))


def test_disabling_removes_every_link_and_nothing_else(root: pathlib.Path) -> None:
    for name in ("multi-user.target.wants", "boot.target.requires", "other"):
        (root / "etc/systemd/system" / name).mkdir(parents=True)
        (root / "etc/systemd/system" / name / systemd.NAME).symlink_to("../azready.service")
    (root / "etc/systemd/system" / systemd.NAME).write_text("unit")
    assert len(systemd.disable(Root(str(root)))) == 2
    assert systemd.disable(Root(str(root))) == []
    assert (root / "etc/systemd/system/other" / systemd.NAME).is_symlink()
    assert (root / "etc/systemd/system" / systemd.NAME).is_file()


def test_disabling_without_systemd_is_nothing(tmp_path: pathlib.Path) -> None:
    assert systemd.disable(Root(str(tmp_path))) == []
