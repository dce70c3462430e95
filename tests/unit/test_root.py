"""Root, attacked: links, exchanged folders, special files and odd names lead nowhere."""

import contextlib
import multiprocessing
import os
import pathlib
import time

import pytest

from agent import accounts
from agent.commands import departure, generalize
from agent.errors import GuestError, UsageError
from agent.formats import authorized_keys
from agent.root import Root
from agent.steps import ssh_keys
from tests.conftest import exchange, picture

takes_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="files that belong to several users take root"
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann"


@pytest.fixture
def world(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with an image in it, and things next to the image that nobody may touch."""
    for path in ("image/etc/ssh", "image/home/ann", "image/usr/lib", "image/var/log", "precious"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "precious/file").write_text("kept")
    (tmp_path / "image/etc/ssh/sshd_config").write_text("Port 22\n")
    return tmp_path


def passwd(world: pathlib.Path, home: str) -> Root:
    (world / "image/etc/passwd").write_text(
        f"root:x:0:0::/root:/bin/sh\nann:x:1000:1000::{home}:/bin/sh\n"
    )
    return Root(str(world / "image"))


@takes_root
@pytest.mark.parametrize(
    "home",
    [
        "/./..",
        "/usr/.",
        "/etc/ssh",
        "/",
        "../..",
        "/home/../../precious",
        "",
        "/home//ann",
        "/home/other",
        "/home/link",
        "/usr/lib/mine",
        "/home/file",
    ],
)
def test_a_home_that_is_not_the_users_own_is_never_removed(world: pathlib.Path, home: str) -> None:
    tree = world / "image"
    (tree / "home/other").mkdir()  # root's
    (tree / "home/link").symlink_to("/etc/ssh")
    (tree / "home/file").write_text("")
    os.chown(tree / "home/file", 1000, 1000)
    (tree / "usr/lib/mine").mkdir()
    os.chown(tree / "usr/lib/mine", 1000, 1000)
    root, before = passwd(world, home), picture(world)
    with pytest.raises(UsageError, match="--user 'ann' cannot be removed: its home"):
        generalize.changes(root, "/var/lib/azready", "ann")
    assert picture(world) == before


@takes_root
def test_a_home_behind_a_link_is_removed_with_the_link(world: pathlib.Path) -> None:
    (world / "image/data/ann").mkdir(parents=True)
    os.chown(world / "image/data/ann", 1000, 1000)
    (world / "image/home/ann").rmdir()
    (world / "image/home/ann").symlink_to("/data/ann")
    for change in generalize.changes(passwd(world, "/home/ann"), "/var/lib/azready", "ann"):
        change.apply()
    assert not os.path.lexists(world / "image/home/ann")
    assert not (world / "image/data/ann").exists()


@takes_root
def test_a_user_with_processes_is_not_removed() -> None:
    child = multiprocessing.get_context("fork").Process(target=_sleep_as, args=(4321,))
    child.start()
    try:
        end = time.monotonic() + 10
        while not (found := departure._processes(Root(), 4321)) and time.monotonic() < end:
            time.sleep(0.01)
        assert found.startswith(f"{child.pid} ")
    finally:
        child.kill()
        child.join()
    assert departure._processes(Root(), 4321) == ""


def _sleep_as(uid: int) -> None:
    os.setresuid(uid, uid, uid)
    time.sleep(60)


def test_a_home_may_be_entered_by_its_own_absolute_path(world: pathlib.Path) -> None:
    (world / "image/home/ann/real").mkdir()
    (world / "image/home/ann/real/file").write_text("text")
    (world / "image/home/ann/link").symlink_to("/home/ann/real")
    with Root(str(world / "image")).below("/home/ann") as home:
        assert home.read("/link/file") == b"text"


def test_a_home_that_is_missing_cannot_be_entered(world: pathlib.Path) -> None:
    with pytest.raises(GuestError, match=r"cannot open the folder .*/home/bob"):
        Root(str(world / "image")).below("/home/bob")


@pytest.mark.parametrize("target", ["/etc", "../../etc"])
def test_a_link_that_leads_out_of_a_home_is_an_error(world: pathlib.Path, target: str) -> None:
    (world / "image/home/ann/link").symlink_to(target)
    home = Root(str(world / "image")).below("/home/ann")
    with home, pytest.raises(GuestError, match="leads out of"):
        home.read("/link/ssh/sshd_config")


def test_a_file_with_a_second_name_is_not_opened(world: pathlib.Path) -> None:
    os.link(world / "precious/file", world / "image/etc/file")
    with pytest.raises(OSError, match="hard link"):
        Root(str(world / "image")).open("/etc/file", os.O_RDONLY)


@takes_root
def test_a_pipe_in_the_skeleton_is_in_no_home(world: pathlib.Path) -> None:
    (world / "image/etc/skel").mkdir()
    (world / "image/etc/skel/.profile").write_text("text")
    os.mkfifo(world / "image/etc/skel/pipe")
    assert Root(str(world / "image")).plant("/home/bob", "/etc/skel", 0o700, (1000, 1000))
    assert [path.name for path in (world / "image/home/bob").iterdir()] == [".profile"]


def test_links_and_dots_stay_in_the_tree(world: pathlib.Path) -> None:
    root, before = Root(str(world / "image")), picture(world, but="image")
    for number, target in enumerate(
        (
            "/../../precious",
            "../../precious",
            f"{world}/precious",
            "/etc/../../precious",
            "/proc/self/root/precious",
        )
    ):
        (world / f"image/etc/link{number}").symlink_to(target)
        for path in (f"/etc/link{number}/file", f"/etc/link{number}/../../precious/file"):
            assert root.read(path) is None
            assert not root.discard_tree(path)
        root.replace(f"/etc/link{number}/new", b"x")
    assert picture(world, but="image") == before
    assert [path.name for path in (world / "precious").iterdir()] == ["file"]


@pytest.mark.parametrize("path", [f"/etc/{'x' * 256}", f"/etc/{'x' * 256}/file"])
def test_a_name_that_no_folder_can_have_is_an_error(world: pathlib.Path, path: str) -> None:
    with pytest.raises(GuestError, match="file name too long"):
        Root(str(world / "image")).read(path)


@pytest.mark.parametrize("path", ["/etc/", "/etc/.", "/etc/..", "/", ""])
def test_a_change_needs_a_name_at_the_end(world: pathlib.Path, path: str) -> None:
    root = Root(str(world / "image"))
    before = picture(world)
    for change in (
        root.discard,
        root.discard_tree,
        root.empty,
        root.remove_folder,
        lambda p: root.replace(p, b"x"),
        lambda p: root.link(p, "x"),
    ):
        with pytest.raises(GuestError):
            change(path)
    assert picture(world) == before


def test_special_files_are_errors_and_never_waited_for(world: pathlib.Path) -> None:
    root = Root(str(world / "image"))
    dmi = world / "image/sys/class/dmi/id"
    dmi.mkdir(parents=True)
    os.mkfifo(dmi / "product_uuid")
    assert root.attribute("/sys/class/dmi/id/product_uuid") is None
    with pytest.raises(GuestError, match="it is not a regular file"):
        root.read("/sys/class/dmi/id/product_uuid")
    with pytest.raises(GuestError, match="it is not a regular file"):
        root.empty("/sys/class/dmi/id/product_uuid")


def test_odd_names_and_great_depth_are_removed(world: pathlib.Path) -> None:
    top = world / "image/var/log/azure"
    top.mkdir()
    for name in (b"new\nline", b"\x1b[31m", b"\xff\xfe"):
        os.mkdir(os.fsencode(top) + b"/" + name)
    (top / "out").symlink_to(world / "precious")
    fd = os.open(top, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    before = picture(world, but="image")
    root = Root(str(world / "image"))
    texts = [change.text for change in generalize.changes(root, "/var/lib/azready", "")]
    assert all(text.isprintable() for text in texts)
    assert root.discard_tree("/var/log/azure")
    assert not top.exists()
    assert picture(world, but="image") == before


def test_a_log_with_a_second_name_is_not_emptied(world: pathlib.Path) -> None:
    log = world / "image/var/log/syslog"
    os.link(world / "precious/file", log)
    root = Root(str(world / "image"))
    with pytest.raises(GuestError, match="hard link"):
        root.empty("/var/log/syslog")
    for change in generalize.changes(root, "/var/lib/azready", ""):
        change.apply()
    assert (world / "precious/file").read_text() == "kept"
    assert not log.exists()


@takes_root
def test_a_hard_link_in_the_place_of_the_keys_is_refused(world: pathlib.Path) -> None:
    root = passwd(world, "/home/ann")
    (world / "image/home/ann/.ssh").mkdir()
    os.link(world / "precious/file", world / "image/home/ann/.ssh/authorized_keys")
    account, before = accounts.find(root, "ann"), picture(world, but="image")
    assert account
    with pytest.raises(GuestError, match="hard link"):
        ssh_keys.authorize(
            root, account, "/home/ann/.ssh/authorized_keys", authorized_keys.parse(KEY)
        )
    assert picture(world, but="image") == before


@takes_root
@pytest.mark.parametrize("what", [".ssh", ".ssh/authorized_keys"])
def test_a_user_who_exchanges_folders_for_links_gains_nothing(
    world: pathlib.Path, what: str
) -> None:
    root = passwd(world, "/home/ann")
    home = world / "image/home/ann"
    os.chown(home, 1000, 1000)
    account = accounts.find(root, "ann")
    assert account
    ssh_keys.authorize(root, account, "/home/ann/.ssh/authorized_keys", authorized_keys.parse(KEY))
    (home / "link").symlink_to(world / "precious" if what == ".ssh" else world / "precious/file")
    before, inside = picture(world, but="image"), picture(world / "image/etc")
    attacker = multiprocessing.get_context("fork").Process(
        target=exchange, args=(str(home / what), str(home / "link"))
    )
    attacker.start()
    succeeded = 0
    try:
        for _ in range(2000):
            try:
                ssh_keys.authorize(
                    root, account, "/home/ann/.ssh/authorized_keys", authorized_keys.parse(KEY)
                )
                succeeded += 1
            except GuestError:
                continue
    finally:
        attacker.kill()
        attacker.join()
    assert picture(world, but="image") == before
    assert picture(world / "image/etc") == inside
    assert succeeded  # the race is one: some rounds got through


@takes_root
@pytest.mark.parametrize("what", ["var/log/app", "var/log/app/log", "home/ann", "home/ann/.ssh"])
def test_exchanges_during_generalize_reach_nothing_outside(world: pathlib.Path, what: str) -> None:
    image = world / "image"
    root = passwd(world, "/home/ann")
    (image / "link").symlink_to(
        world / "precious/file" if what.endswith("log") else world / "precious"
    )
    before = picture(world, but="image")
    attacker: multiprocessing.process.BaseProcess | None = None
    end = time.monotonic() + 2
    rounds = 0
    try:
        while rounds < 50 or (time.monotonic() < end and rounds < 2000):
            # Set up again through Root: the test itself must not follow the links, either.
            for path in ("/var/log/app/log", "/home/ann/.bash_history", "/home/ann/.ssh/file"):
                with contextlib.suppress(GuestError):
                    root.replace(path, b"line\n")
            if attacker is None:
                attacker = multiprocessing.get_context("fork").Process(
                    target=exchange, args=(str(image / what), str(image / "link"))
                )
                attacker.start()
            with contextlib.suppress(GuestError):
                for change in generalize.changes(root, "/var/lib/azready", ""):
                    with contextlib.suppress(GuestError):
                        change.apply()
            rounds += 1
            assert picture(world, but="image") == before
    finally:
        if attacker:
            attacker.kill()
            attacker.join()
