"""The tree changes between two system calls of ours, at the very moment where it hurts most.

tests/unit/test_root.py runs thousands of rounds against an attacker; here each moment comes once,
so that what happens then is the same in every run.
"""

import os
import pathlib
import posix
import shutil
import stat
from collections.abc import Callable

import pytest

from agent.errors import GuestError
from agent.root import Root

Meanwhile = Callable[..., None]


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "image/etc").mkdir(parents=True)
    (tmp_path / "image/etc/file").write_text("old")
    return tmp_path / "image"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Have `act` run once, right before the call of posix.`name` for which `when` holds."""

    def arrange(
        name: str, act: Callable[[], object], when: Callable[..., bool] = lambda *_, **__: True
    ) -> None:
        real = getattr(posix, name)
        done = False

        def call(*arguments: object, **options: object) -> object:
            nonlocal done
            if not done and when(*arguments, **options):
                done = True
                act()
            return real(*arguments, **options)

        monkeypatch.setattr(posix, name, call)

    return arrange


def opens(name: str) -> Callable[..., bool]:
    return lambda path, *_, **__: path == name


def test_a_file_exchanged_for_a_folder_is_not_read(
    tree: pathlib.Path, meanwhile: Meanwhile
) -> None:
    def exchange() -> None:
        (tree / "etc/file").unlink()
        (tree / "etc/file").mkdir()

    meanwhile("open", exchange, opens("file"))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(GuestError, match="is a directory"):
        Root(str(tree)).read("/etc/file")
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1  # of the Root


def test_a_link_replaced_by_a_file_is_no_folder(tree: pathlib.Path, meanwhile: Meanwhile) -> None:
    (tree / "etc/link").symlink_to("/etc")

    def exchange() -> None:
        (tree / "etc/link").unlink()
        (tree / "etc/link").write_text("")

    meanwhile("readlink", exchange)
    with pytest.raises(GuestError, match="not a directory"):
        Root(str(tree)).resolve("/etc/link/file")


def test_a_link_that_vanishes_is_not_there(tree: pathlib.Path, meanwhile: Meanwhile) -> None:
    (tree / "etc/link").symlink_to("/etc")
    meanwhile("readlink", (tree / "etc/link").unlink)
    assert Root(str(tree)).read("/etc/link/file") is None


def test_a_folder_that_somebody_else_makes_first_is_taken(
    tree: pathlib.Path, meanwhile: Meanwhile
) -> None:
    meanwhile("mkdir", (tree / "etc/new").mkdir)
    Root(str(tree)).replace("/etc/new/file", b"text")
    assert (tree / "etc/new/file").read_bytes() == b"text"


def test_an_old_file_that_vanishes_is_replaced_like_a_missing_one(
    tree: pathlib.Path, meanwhile: Meanwhile
) -> None:
    (tree / "etc/file").chmod(0o777)
    meanwhile("open", (tree / "etc/file").unlink, opens("file"))
    Root(str(tree)).replace("/etc/file", b"new", 0o640)
    assert (tree / "etc/file").read_bytes() == b"new"
    assert stat.S_IMODE((tree / "etc/file").stat().st_mode) == 0o640


def test_a_label_that_cannot_be_set_leaves_the_old_file(
    tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(posix, "getxattr", lambda *_: b"system_u:object_r:etc_t:s0")
    monkeypatch.setattr(posix, "setxattr", full)
    with pytest.raises(GuestError, match="no space left on device"):
        Root(str(tree)).replace("/etc/file", b"new")
    assert (tree / "etc/file").read_text() == "old"
    assert os.listdir(tree / "etc") == ["file"]


def test_a_temporary_file_that_cannot_be_removed_hides_no_error(
    tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Meanwhile
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    meanwhile("write", lambda: monkeypatch.setattr(posix, "unlink", read_only))
    monkeypatch.setattr(posix, "fsync", full)
    with pytest.raises(GuestError, match="no space left on device"):
        Root(str(tree)).replace("/etc/file", b"new")
    assert (tree / "etc/file").read_text() == "old"


def test_a_file_that_vanishes_before_its_removal_is_removed(
    tree: pathlib.Path, meanwhile: Meanwhile
) -> None:
    meanwhile("unlink", (tree / "etc/file").unlink)
    assert Root(str(tree)).discard("/etc/file") is False
    (tree / "folder").mkdir()
    (tree / "folder/one").touch()
    meanwhile("unlink", (tree / "folder/one").unlink)
    assert Root(str(tree)).discard_tree("/folder") is True


def test_a_folder_moved_away_while_it_is_emptied_ends_the_removal(
    tree: pathlib.Path, meanwhile: Meanwhile
) -> None:
    (tree / "one/two/three").mkdir(parents=True)
    (tree.parent / "precious").mkdir()
    (tree.parent / "precious/file").touch()
    meanwhile(
        "open",
        lambda: shutil.move(tree / "one/two", tree.parent / "precious"),
        opens(".."),
    )
    with pytest.raises(GuestError, match=r"'three' was moved away|'two' was moved away"):
        # From three up to two, which is elsewhere by now; its own `..` is not `one` any more.
        Root(str(tree)).discard_tree("/one")
    assert (tree.parent / "precious/file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_file_system_mounted_meanwhile_is_not_emptied(
    tree: pathlib.Path, meanwhile: Meanwhile
) -> None:
    (tree / "one/two").mkdir(parents=True)

    def mount() -> None:
        assert os.system(f"mount -t tmpfs none {tree}/one/two && touch {tree}/one/two/kept") == 0

    meanwhile("open", mount, opens("two"))
    try:
        with pytest.raises(GuestError, match="'two' is another file system"):
            Root(str(tree)).discard_tree("/one")
        assert (tree / "one/two/kept").exists()
    finally:
        os.system(f"umount {tree}/one/two")


def test_a_skeleton_file_exchanged_for_a_device_is_not_copied(
    tree: pathlib.Path, meanwhile: Meanwhile
) -> None:
    (tree / "skel").mkdir()
    (tree / "skel/rc").write_text("x")

    def exchange() -> None:
        (tree / "skel/rc").unlink()
        os.mkfifo(tree / "skel/rc")

    meanwhile("open", exchange, opens("rc"))
    with pytest.raises(GuestError, match="'rc' was exchanged meanwhile"):
        Root(str(tree)).plant("/home/ann", "/skel", 0o700, (os.getuid(), os.getgid()))
    assert not (tree / "home/ann").exists()


def test_a_drive_is_opened_as_one(tree: pathlib.Path) -> None:
    root = Root(str(tree))
    (tree / "dev").mkdir()
    with pytest.raises(FileNotFoundError):
        root.open_device("/dev/sr0")
    if os.geteuid() != 0:
        pytest.skip("making a device takes root")
    # Nothing ever has this number: local/experimental use (devices.txt of the kernel).
    os.mknod(tree / "dev/sr0", 0o600 | stat.S_IFBLK, os.makedev(240, 255))
    with pytest.raises(OSError, match=r"No such device|not permitted|Permission denied") as found:
        root.open_device("/dev/sr0")
    assert not isinstance(found.value, FileNotFoundError)
