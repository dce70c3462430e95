"""Root, in everyday use: replacing, reading, links, removing."""

import os
import pathlib
import stat
import subprocess
from collections.abc import Callable

import pytest

from agent.errors import GuestError, UsageError
from agent.files import MAX_READ, read_given
from agent.root import Root


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


@pytest.mark.parametrize(
    ("call", "fails", "says"),
    [
        ("link", "symlink", "cannot make the link"),
        ("make_folders", "mkdir", "cannot make the folder"),
        ("remove_folder", "rmdir", "cannot remove"),
        ("discard", "unlink", "cannot remove"),
        ("add_permissions", "fchmod", "cannot change the mode of"),
        ("restrict", "fchmod", "cannot change owner and mode of"),
        ("plant", "rename", "cannot make the folder"),
        ("settle", "fsync", "cannot sync"),
        ("names", "listdir", "cannot list"),
        ("empty", "ftruncate", "cannot empty"),
        ("rename", "rename", "cannot rename"),
    ],
)
def test_what_the_system_refuses_names_the_path(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, call: str, fails: str, says: str
) -> None:
    tree = Root(str(root))
    (root / "etc/file").write_text("x")
    (root / "etc/file").chmod(0o644)
    (root / "etc/folder").mkdir()
    calls: dict[str, Callable[[], object]] = {
        "link": lambda: tree.link("/etc/link", "file"),
        "make_folders": lambda: tree.make_folders("/etc/new"),
        "remove_folder": lambda: tree.remove_folder("/etc/folder"),
        "discard": lambda: tree.discard("/etc/file"),
        "add_permissions": lambda: tree.add_permissions("/etc/file", 0o111),
        "restrict": lambda: tree.restrict("/etc/file", 0o600, (os.getuid(), os.getgid())),
        "plant": lambda: tree.plant("/etc/home", "/etc/skel", 0o700, (os.getuid(), os.getgid())),
        "settle": lambda: tree.settle(["/none", "/etc"]),
        "names": lambda: tree.names("/etc"),
        "empty": lambda: tree.empty("/etc/file"),
        "rename": lambda: tree.rename("/etc/file", "/etc/other"),
    }

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"posix.{fails}", refuse)
    with pytest.raises(GuestError, match=rf"{says} .*/etc.*: no space left on device"):
        calls[call]()


def test_a_file_system_that_cannot_sync_folders_is_no_error(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("posix.fsync", cannot)
    Root(str(root)).settle(["/etc"])


def test_a_file_that_the_caller_names_is_read_or_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file"
    assert read_given(str(file)) is None
    file.write_text("abc")
    assert read_given(str(file)) == b"abc"
    with pytest.raises(GuestError, match="more than 2 bytes"):
        read_given(str(file), 2)
    with pytest.raises(GuestError, match=r"cannot read .*: is a directory"):
        read_given(str(tmp_path))


def test_a_tree_that_is_not_there_is_a_usage_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"--root '.*none' cannot be used: no such file"):
        Root(str(tmp_path / "none"))


def test_a_file_gets_another_name_in_its_folder(root: pathlib.Path) -> None:
    (root / "etc/new").write_text("new")
    (root / "etc/old").write_text("old")
    Root(str(root)).rename("/etc/new", "/etc/old")
    assert (root / "etc/old").read_text() == "new"
    assert not (root / "etc/new").exists()
    with pytest.raises(GuestError, match="cannot rename"):
        Root(str(root)).rename("/etc/new", "/etc/old")


def test_small_questions_have_small_answers(root: pathlib.Path) -> None:
    tree = Root(str(root))
    (root / "etc/link").symlink_to("/")
    (root / "etc/plain").touch()
    assert tree.resolve("/") == "/"
    assert tree.resolve("/etc/link") == "/"
    assert tree.resolve("/etc/none") == "/etc/none"
    assert tree.link("/etc/link", "elsewhere") is False
    assert tree.names("/etc/plain") == []
    assert tree.plant("/etc/plain", "/none", 0o700, (0, 0)) is False
    tree.remove_folder("/etc/none")
    tree.add_permissions("/etc/plain", 0o400)
    assert tree.status("/") is not None
    with pytest.raises(GuestError, match="cannot look up"):
        tree.resolve("/etc/plain/below")


def test_a_skeleton_nested_too_deep_leaves_no_home(root: pathlib.Path) -> None:
    deep = root / "etc/skel"
    for _ in range(70):
        deep /= "d"
    deep.mkdir(parents=True)
    tree = Root(str(root))
    with pytest.raises(GuestError, match="nested more than"):
        tree.plant("/etc/home", "/etc/skel", 0o700, (os.getuid(), os.getgid()))
    assert not (root / "etc/home").exists()


def test_a_folder_on_another_file_system_is_not_emptied(tmp_path: pathlib.Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    for place in ("top", "outer/inner"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        mount = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True)
        if mount.returncode:
            pytest.skip("this machine lets nobody mount")
        try:
            (folder / "file").write_text("kept")
            with pytest.raises(GuestError, match="is another file system: unmount it first"):
                Root(str(tmp_path)).discard_tree("/" + place.partition("/")[0])
            assert (folder / "file").read_text() == "kept"
        finally:
            subprocess.run(["umount", folder], check=True)
