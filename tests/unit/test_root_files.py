"""Root, in everyday use: replacing, reading, links, removing."""

import os
import pathlib
import stat

import pytest

from agent.errors import GuestError
from agent.root import MAX_READ, Root


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "etc").mkdir()
    return tmp_path


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


def test_a_tree_is_removed_without_following_links(root: pathlib.Path) -> None:
    (root / "etc/passwd").touch()
    (root / "a/b").mkdir(parents=True)
    (root / "a/link").symlink_to(root / "etc")
    assert Root(str(root)).discard_tree("/a")
    assert not Root(str(root)).discard_tree("/a")
    assert (root / "etc/passwd").exists()
