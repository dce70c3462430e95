"""The steps of a first boot, each alone, under a root of the test's own."""

import os
import pathlib
import signal
import subprocess
from collections.abc import Callable

import pytest

from agent import account_lock, accounts, programs, sshd
from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.change import Change, Step, perform, rehearse
from agent.commands import provision
from agent.errors import GuestError
from agent.formats import sha512_crypt, sudoers
from agent.profile import Profile
from agent.protocol.imds import InstanceMetadata
from agent.protocol.keys import PublicKey
from agent.root import Root
from agent.settings import Config
from agent.steps import STEPS, custom_data, host_name, state, user
from scripts.simulator.scenario import KEY
from tests.conftest import Lines

takes_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="files that belong to another user take root"
)
STEP = {step.name: step for step in STEPS}
NOWHERE = http.endpoint("http://127.0.0.1:9")


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").touch(0o755)
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\n"
        "daemon:x:1:1::/:/bin/false\n"
        "ann:x:1000:1000::/home/ann:/bin/sh\n"
    )
    (tmp_path / "etc/group").write_text("root:x:0:\nsudo:x:27:ann\nann:x:1000:\ntaken:x:1001:\n")
    (tmp_path / "etc/shadow").write_text("root:*:19000::::::\nann:$6$a$b:19000:0:99999:7:::\n")
    return tmp_path


def boot(root: pathlib.Path, log: Lines, settings: dict[str, object], **wishes: object) -> Boot:
    made = Boot(Root(str(root)), NOWHERE, NOWHERE, Deadline(5), Config(settings), log)
    made.profile = Profile(**wishes)  # type: ignore[arg-type]
    return made


def do(step: Step, made: Boot) -> list[str]:
    """Rehearse a step, perform it, rehearse it again; return what was performed.

    It must be what was rehearsed, and the second rehearsal must be empty.
    """
    log = made.log
    assert isinstance(log, Lines)
    start = len(log.lines)
    rehearse(step.changes(made), log)
    rehearsed = [line for line in log.lines[start:] if " would " in line]
    made.account = None
    start = len(log.lines)
    texts: list[str] = []

    def noted() -> "object":
        for change in step.changes(made):
            texts.append(change.text)
            yield change

    perform(noted(), log)  # type: ignore[arg-type]
    assert rehearsed == [f"6 would {text}" for text in texts]
    account, made.account = made.account, None
    assert [change.text for change in step.changes(made)] == []
    made.account = account
    return texts


# Change and Step


def test_a_failed_change_is_raised_where_the_step_may_go_on(log: Lines) -> None:
    def fail() -> None:
        raise GuestError("no")

    def changes() -> "object":
        try:
            yield Change("fail", fail)
        except GuestError:
            yield Change("go on", list)

    assert perform(changes(), log) == 1  # type: ignore[arg-type]
    assert log.lines == ["6 go on"]
    with pytest.raises(GuestError):
        perform(iter([Change("fail", fail)]), log)
    with pytest.raises(GuestError):
        perform((change for change in [Change("fail", fail)]), log)


def test_a_change_is_computed_after_the_one_before_was_applied(log: Lines) -> None:
    done: list[str] = []

    def changes() -> "object":
        yield Change("one", lambda: done.append("one"))
        yield Change(f"after {done}", list)

    perform(changes(), log)  # type: ignore[arg-type]
    assert log.lines == ["6 one", "6 after ['one']"]


# Accounts


@takes_root
def test_a_new_account_gets_the_first_id_that_is_free_as_both(
    root: pathlib.Path, log: Lines
) -> None:
    made = boot(root, log, {}, user_name="bob")
    assert do(STEP["user"], made) == [
        "create the user bob with the shell /bin/sh",
        "create the home /home/bob",
        "add bob to sudo",
    ]
    account = made.account
    assert account is not None
    assert (account.uid, account.gid, account.home) == (1002, 1002, "/home/bob")
    entry = (root / "etc/passwd").read_text().splitlines()[-1]
    assert entry == "bob:x:1002:1002::/home/bob:/bin/sh"
    assert (root / "etc/group").read_text().splitlines()[-1] == "bob:x:1002:"
    fields = (root / "etc/shadow").read_text().splitlines()[-1].split(":")
    assert [*fields[:2], *fields[3:]] == ["bob", "!", "0", "99999", "7", "", "", ""]
    assert (root / "home/bob").stat().st_mode & 0o777 == 0o700
    assert not (root / "etc/gshadow").exists()


@takes_root
def test_the_images_own_rules_count(root: pathlib.Path, log: Lines) -> None:
    (root / "etc/login.defs").write_text(
        "# UID_MIN 1\nUID_MIN\t\t5000\nHOME_MODE 0750\nPASS_MAX_DAYS 90\nUMASK junk\n"
    )
    (root / "etc/default").mkdir()
    (root / "etc/default/useradd").write_text("GROUP=100\nHOME=/data/home\n")
    made = boot(root, log, {}, user_name="bob")
    do(STEP["user"], made)
    assert made.account is not None
    assert made.account.uid == 5000
    assert (root / "data/home/bob").stat().st_mode & 0o777 == 0o750
    assert (root / "etc/shadow").read_text().splitlines()[-1].split(":")[4] == "90"


@takes_root
def test_a_group_of_that_name_becomes_the_primary_one(root: pathlib.Path, log: Lines) -> None:
    made = boot(root, log, {"user.groups": ["taken"]}, user_name="taken")
    do(STEP["user"], made)
    assert made.account is not None
    assert (made.account.uid, made.account.gid) == (1001, 1001)
    assert (root / "etc/group").read_text().count("taken") == 1


def test_system_accounts_are_refused(root: pathlib.Path, log: Lines) -> None:
    before = (root / "etc/passwd").read_text()
    with pytest.raises(
        GuestError, match="the user name 'daemon' is refused: it belongs to the system, with uid 1"
    ):
        do(STEP["user"], boot(root, log, {}, user_name="daemon"))
    assert (root / "etc/passwd").read_text() == before


@takes_root
def test_an_existing_home_is_left_alone(root: pathlib.Path, log: Lines) -> None:
    (root / "etc/skel").mkdir()
    (root / "etc/skel/.profile").write_text("new")
    (root / "home/ann").mkdir(parents=True)
    (root / "home/ann/file").write_text("mine")
    os.chown(root / "home/ann", 1000, 1000)
    assert do(STEP["user"], boot(root, log, {}, user_name="ann")) == []
    assert [path.name for path in (root / "home/ann").iterdir()] == ["file"]


@takes_root
def test_an_account_that_a_killed_run_left_is_completed(root: pathlib.Path, log: Lines) -> None:
    (root / "home/ann").mkdir(parents=True)
    os.chown(root / "home/ann", 1000, 1000)
    (root / "etc/shadow").write_text("root:*:19000::::::\n")
    made = boot(root, log, {}, user_name="ann")
    assert do(STEP["user"], made) == ["complete the account of ann"]
    assert (root / "etc/shadow").read_text().splitlines()[-1].startswith("ann:!:")


@takes_root
def test_a_shadow_entry_of_a_killed_run_is_kept(root: pathlib.Path, log: Lines) -> None:
    with open(root / "etc/shadow", "a") as shadow:
        shadow.write("bob:$6$mine$hash:19000:0:99999:7:::\n")
    do(STEP["user"], boot(root, log, {}, user_name="bob"))
    assert (root / "etc/shadow").read_text().count("bob:") == 1
    assert "bob:$6$mine$hash" in (root / "etc/shadow").read_text()


@takes_root
def test_the_skeleton_is_copied_with_links_and_folders_and_owned(
    root: pathlib.Path, log: Lines
) -> None:
    (root / "etc/skel/.config").mkdir(parents=True)
    (root / "etc/skel/.config/x").write_text("x")
    (root / "etc/skel/.config/x").chmod(0o4755)
    (root / "etc/skel/link").symlink_to("/etc/passwd")
    do(STEP["user"], boot(root, log, {}, user_name="bob"))
    home = root / "home/bob"
    assert (home / "link").readlink() == pathlib.Path("/etc/passwd")
    assert oct((home / ".config/x").stat().st_mode) == "0o100755"
    assert {path.lstat().st_uid for path in [home, *home.rglob("*")]} == {1002}
    assert (root / "etc/passwd").stat().st_uid == 0


@takes_root
@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false", "/bin/gone"])
def test_an_account_of_the_image_gets_a_shell(root: pathlib.Path, log: Lines, shell: str) -> None:
    passwd = root / "etc/passwd"
    passwd.write_text(f"root:x:0:0::/:/bin/sh\nann:x:1000:1000:Ann, A:/home/ann:{shell}\n")
    (root / "home/ann").mkdir(parents=True)
    os.chown(root / "home/ann", 1000, 1000)
    made = boot(root, log, {"user.shell": "/bin/zsh"}, user_name="ann")
    assert do(STEP["user"], made) == ["set the shell of ann to /bin/sh"]
    assert any("user.shell /bin/zsh does not exist here" in line for line in log.lines)
    assert passwd.read_text().endswith("\nann:x:1000:1000:Ann, A:/home/ann:/bin/sh\n")


@takes_root
@pytest.mark.parametrize(
    ("entry", "mended"),
    [
        ("$6$a$b:19000:0:99999:7::", "$6$a$b:19000:0:99999:7::"),
        ("$6$a$b:19000:0:99999:7::19500", "$6$a$b:19000:0:99999:7::"),
        ("$6$a$b:19000:0:99999:7::99999", "$6$a$b:19000:0:99999:7::99999"),
        ("$6$a$b:0:0:99999:7::", "$6$a$b:0:0:99999:7::"),  # whoever knows it can change it
        ("!:0:0:99999:7::", "!:TODAY:0:99999:7::"),
        ("!:19000:0:90:7::", "!:TODAY:0:90:7::"),
        ("*:19000:0::7::", "*:19000:0::7::"),
        ("!::::::", "!::::::"),
    ],
)
def test_an_account_that_has_expired_is_renewed(
    root: pathlib.Path, log: Lines, entry: str, mended: str
) -> None:
    (root / "etc/shadow").write_text(f"ann:{entry}:\n")
    (root / "home/ann").mkdir(parents=True)
    os.chown(root / "home/ann", 1000, 1000)
    texts = ["renew the dates of the account ann"] if entry != mended else []
    assert do(STEP["user"], boot(root, log, {}, user_name="ann")) == texts
    after = (root / "etc/shadow").read_text()
    assert after == f"ann:{mended.replace('TODAY', accounts.today())}:\n"


@takes_root
@pytest.mark.parametrize(
    ("owner", "mode", "mended"),
    [
        (1000, 0o755, (1000, 0o755)),
        (1000, 0o777, (1000, 0o755)),
        (0, 0o700, (1000, 0o700)),
        (0, 0o777, (1000, 0o755)),
        (4321, 0o777, (4321, 0o777)),  # somebody else's
    ],
)
def test_a_home_becomes_the_users_where_that_is_safe(
    root: pathlib.Path, log: Lines, owner: int, mode: int, mended: tuple[int, int]
) -> None:
    home = root / "home/ann"
    home.mkdir(parents=True)
    os.chown(home, owner, owner)
    home.chmod(mode)
    texts = ["give the home /home/ann to ann, and to nobody else for writing"]
    changed = (owner, mode) != mended
    assert do(STEP["user"], boot(root, log, {}, user_name="ann")) == (texts if changed else [])
    assert (home.stat().st_uid, home.stat().st_mode & 0o7777) == mended


@takes_root
@pytest.mark.parametrize("home", ["/", "/usr", "/data"])
def test_a_folder_of_the_system_never_becomes_a_users(
    root: pathlib.Path, log: Lines, home: str
) -> None:
    (root / "etc/passwd").write_text(f"ann:x:1000:1000::{home}:/bin/sh\n")
    (root / home.strip("/")).mkdir(exist_ok=True)
    assert do(STEP["user"], boot(root, log, {}, user_name="ann")) == []
    assert (root / home.strip("/")).stat().st_uid == 0


@takes_root
@pytest.mark.parametrize(
    ("shell", "shadow", "why"),
    [
        ("/sbin/nologin", "!:19000:0:99999:7:::", "the shell /sbin/nologin of ann refuses logins"),
        ("/bin/gone", "!:19000:0:99999:7:::", "the shell /bin/gone of ann does not exist"),
        ("", "!:19000:0:99999:7::19500:", r"the account ann has expired \(shadow\(5\)\)"),
        ("", "!:19000:0:99999:7:::", ""),
    ],
)
def test_a_fault_that_is_not_mended_fails_the_run(
    root: pathlib.Path, log: Lines, shell: str, shadow: str, why: str
) -> None:
    (root / "etc/passwd").write_text(f"ann:x:1000:1000::/home/ann:{shell}\n")
    (root / "etc/shadow").write_text(f"ann:{shadow}\n")
    (root / "home/ann").mkdir(parents=True)
    (root / "etc/ssh").mkdir()
    (root / "etc/ssh/sshd_config").touch()
    keys = (PublicKey(KEY, ""),)
    made = boot(root, log, {"steps.user": False}, user_name="ann", public_keys=keys)
    perform(STEP["ssh_keys"].changes(made), log)
    if why:
        with pytest.raises(GuestError, match=f"nobody could log in as ann: {why}"):
            list(STEP["login"].changes(made))
    else:
        assert list(STEP["login"].changes(made)) == []


@takes_root
def test_groups_that_do_not_exist_are_skipped(root: pathlib.Path, log: Lines) -> None:
    groups = ["wheel", "sudo", "taken", "ann"]
    (root / "home/ann").mkdir(parents=True)
    os.chown(root / "home/ann", 1000, 1000)
    made = boot(root, log, {"user.groups": groups}, user_name="ann")
    assert do(STEP["user"], made) == ["add ann to taken"]
    group = (root / "etc/group").read_text()
    assert group == "root:x:0:\nsudo:x:27:ann\nann:x:1000:\ntaken:x:1001:ann\n"


def test_with_the_step_user_off_an_account_of_the_image_is_used(
    root: pathlib.Path, log: Lines
) -> None:
    off: dict[str, object] = {"steps.user": False}
    assert user.known(boot(root, log, off, user_name="ann")) is not None
    assert user.known(boot(root, log, off, user_name="daemon")) is None
    assert "belongs to the system" in log.lines[-1]
    assert user.known(boot(root, log, off, user_name="bob")) is None
    assert log.lines[-1] == "6 the user bob does not exist, and steps.user is off"
    assert user.known(boot(root, log, {}, user_name="ann")) is None  # the step failed


def test_the_lock_of_the_shadow_tools_is_waited_for(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_lock, "LOCK_LIMIT", 0.2)
    with open(root / "etc/.pwd.lock", "w") as lock:
        child = os.fork()
        if child == 0:
            os.lockf(os.open(root / "etc/.pwd.lock", os.O_RDWR), os.F_LOCK, 0)
            os.write(lock.fileno(), b"x")
            signal_pause()
        while not (root / "etc/.pwd.lock").stat().st_size:
            pass
        try:
            with (
                pytest.raises(GuestError, match="another program is editing the accounts"),
                account_lock.Locked(Root(str(root))),
            ):
                pass
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    with account_lock.Locked(Root(str(root))):
        pass


def signal_pause() -> None:
    import signal

    signal.pause()


def test_removing_a_user_leaves_no_trace_in_the_account_files(root: pathlib.Path) -> None:
    (root / "etc/subuid").write_text("ann:100000:65536\n")
    accounts.remove(Root(str(root)), "ann")
    for name in ("passwd", "shadow", "group", "subuid"):
        assert "ann" not in (root / "etc" / name).read_text()
    assert "sudo:x:27:\n" in (root / "etc/group").read_text()


# Passwords


@pytest.mark.parametrize("secret", ["a\nb", "a\0b", "x" * 513])
def test_unusable_passwords_are_refused_without_being_shown(
    root: pathlib.Path, log: Lines, secret: str
) -> None:
    made = boot(root, log, {"steps.user": False}, user_name="ann", password=secret)
    with pytest.raises(GuestError, match="the password of ann is refused") as caught:
        do(STEP["password"], made)
    assert secret not in str(caught.value)


def test_a_password_of_the_image_is_not_locked(root: pathlib.Path, log: Lines) -> None:
    made = boot(root, log, {"steps.user": False}, user_name="ann")
    assert do(STEP["password"], made) == []
    assert accounts.password_field(made.root, "ann") == "$6$a$b"


@takes_root
def test_a_password_is_set_once_and_its_salt_is_new_each_time(
    root: pathlib.Path, log: Lines
) -> None:
    fields = []
    for secret in ("x", "y", "x"):
        made = boot(root, log, {"steps.user": False}, user_name="ann", password=secret)
        assert do(STEP["password"], made) == ["set the password of ann"]
        fields.append(accounts.password_field(made.root, "ann") or "")
        assert sha512_crypt.verifies(secret.encode(), fields[-1])
    assert fields[0] != fields[2]
    assert not any("x" in line.split("ann")[-1] for line in log.lines)


@pytest.mark.parametrize(("config", "lock"), [("UsePAM yes\n", "!"), ("", "*")])
def test_the_lock_is_one_that_sshd_lets_keys_pass(
    root: pathlib.Path, log: Lines, config: str, lock: str
) -> None:
    (root / "etc/shadow").write_text("ann::19000:0:99999:7:::\n")
    (root / "etc/ssh").mkdir()
    (root / "etc/ssh/sshd_config").write_text(config)
    keys = (PublicKey(KEY, ""),)
    made = boot(root, log, {"steps.user": False}, user_name="ann", public_keys=keys)
    assert do(STEP["password"], made) == ["lock the password of ann"]
    assert accounts.password_field(made.root, "ann") == lock


# SSH keys


@takes_root
def test_a_link_out_of_the_home_is_not_followed(root: pathlib.Path, log: Lines) -> None:
    (root / "home/ann").mkdir(parents=True)
    (root / "home/ann/.ssh").symlink_to("/etc")
    keys = (PublicKey(KEY, ""),)
    made = boot(root, log, {"steps.user": False}, user_name="ann", public_keys=keys)
    with pytest.raises(GuestError, match="leads out of /home/ann"):
        perform(STEP["ssh_keys"].changes(made), log)
    assert not (root / "etc/authorized_keys").exists()


@takes_root
def test_open_permissions_are_closed(root: pathlib.Path, log: Lines) -> None:
    (root / "home/ann/.ssh").mkdir(parents=True, mode=0o777)
    file = root / "home/ann/.ssh/authorized_keys"
    file.write_text("# old\n")
    file.chmod(0o666)
    keys = (PublicKey(KEY, "/home/ann/.ssh/authorized_keys"),)
    made = boot(root, log, {"steps.user": False}, user_name="ann", public_keys=keys)
    text = "authorize 1 SSH key in /home/ann/.ssh/authorized_keys"
    assert do(STEP["ssh_keys"], made) == [text]
    assert file.read_text() == f"# old\n{KEY}\n"
    for path, mode in ((file, 0o600), (file.parent, 0o700)):
        status = path.stat()
        assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (mode, 1000, 1000)
    file.chmod(0o604)
    assert do(STEP["ssh_keys"], made) == [text]
    os.chown(file.parent, 0, 0)
    assert do(STEP["ssh_keys"], made) == [text]


# sudo and doas


def program(root: pathlib.Path, name: str) -> None:
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/bin" / name).write_text("")
    (root / "usr/bin" / name).chmod(0o755)


def with_sudo(root: pathlib.Path, log: Lines, rule: str) -> Boot:
    return boot(root, log, {"steps.user": False, "user.sudo": rule}, user_name="ann")


def test_without_sudo_and_doas_nothing_is_written(root: pathlib.Path, log: Lines) -> None:
    assert do(STEP["sudo"], with_sudo(root, log, "nopasswd")) == []
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["group", "passwd", "shadow"]


def test_a_user_who_differs_in_case_alone_from_another_gets_no_rule(
    root: pathlib.Path, log: Lines
) -> None:
    program(root, "sudo")
    with pytest.raises(GuestError, match="'Daemon' is refused: there is daemon already"):
        list(user.changes(boot(root, log, {}, user_name="Daemon")))
    with open(root / "etc/passwd", "a") as passwd:
        passwd.write("Ann:x:1005:1005::/home/Ann:/bin/sh\n")
    assert list(user.changes(boot(root, log, {"steps.user": False}, user_name="ann")))
    with pytest.raises(GuestError, match="become root that would not let Ann"):
        list(STEP["sudo"].changes(with_sudo(root, log, "auto")))


def test_sudo_gets_a_drop_in_that_only_root_reads(root: pathlib.Path, log: Lines) -> None:
    program(root, "sudo")
    (root / "etc/sudoers").write_text("@includedir /etc/sudoers.d\n")
    assert do(STEP["sudo"], with_sudo(root, log, "nopasswd")) == [
        f"let ann become root without a password, in {sudoers.SUDO_FILE}"
    ]
    file = root / "etc/sudoers.d/90-azready"
    assert file.read_text() == '"ann" ALL=(ALL:ALL) NOPASSWD: ALL\n'
    assert oct(file.stat().st_mode & 0o777) == "0o440"
    assert not any("warning" in line for line in log.lines)
    do(STEP["sudo"], with_sudo(root, log, "password"))
    assert file.read_text() == '"ann" ALL=(ALL:ALL) ALL\n'
    # "auto": ann has a password
    assert do(STEP["sudo"], with_sudo(root, log, "auto")) == []


def test_a_sudoers_that_reads_no_drop_ins_is_a_warning(root: pathlib.Path, log: Lines) -> None:
    program(root, "sudo")
    do(STEP["sudo"], with_sudo(root, log, "nopasswd"))
    assert "does not include" in log.lines[0]


def test_doas_gets_its_folder_or_its_file(root: pathlib.Path, log: Lines) -> None:
    program(root, "doas")
    assert do(STEP["sudo"], with_sudo(root, log, "nopasswd"))[0].endswith("in /etc/doas.conf")
    assert (root / "etc/doas.conf").read_text() == 'permit nopass "ann"\n'
    # By now the file says something else than azready would.
    assert do(STEP["sudo"], with_sudo(root, log, "password")) == []
    assert "can use doas only if" in log.lines[-1]
    (root / "etc/doas.d").mkdir()
    do(STEP["sudo"], with_sudo(root, log, "password"))
    assert (root / "etc/doas.d/azready.conf").read_text() == 'permit "ann"\n'


# sshd


def with_sshd(root: pathlib.Path, log: Lines, *, forbid: bool, edit: bool) -> Boot:
    return boot(root, log, {"sshd.edit": edit}, disable_password=forbid)


def test_sshd_config_is_edited_only_on_demand_and_once(root: pathlib.Path, log: Lines) -> None:
    config = root / "etc/ssh/sshd_config"
    assert do(STEP["sshd"], with_sshd(root, log, forbid=True, edit=True)) == []  # no sshd
    config.parent.mkdir()
    config.write_text("Port 22\n")
    with pytest.raises(GuestError, match="does not include"):
        do(STEP["sshd"], with_sshd(root, log, forbid=False, edit=False))
    assert config.read_text() == "Port 22\n"
    assert do(STEP["sshd"], with_sshd(root, log, forbid=False, edit=True)) == [
        "allow SSH logins with a password in /etc/ssh/sshd_config"
    ]
    block = "# azready begin\nPasswordAuthentication yes\n# azready end\nPort 22\n"
    assert config.read_text() == block
    do(STEP["sshd"], with_sshd(root, log, forbid=True, edit=True))
    assert config.read_text() == (
        "# azready begin\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "# azready end\nPort 22\n"
    )


def test_sshd_gets_a_drop_in(root: pathlib.Path, log: Lines) -> None:
    (root / "etc/ssh").mkdir()
    (root / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
    assert do(STEP["sshd"], with_sshd(root, log, forbid=True, edit=False)) == [
        "forbid SSH logins with a password in /etc/ssh/sshd_config.d/00-azready.conf"
    ]
    assert do(STEP["sshd"], boot(root, log, {})) == []  # the platform says nothing
    made = boot(root, log, {}, password="secret")  # but a password is meant to be used
    assert do(STEP["sshd"], made) == [
        "allow SSH logins with a password in /etc/ssh/sshd_config.d/00-azready.conf"
    ]


def test_an_sshd_that_runs_already_reads_its_settings_again(
    root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "etc/ssh").mkdir()
    (root / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
    (root / "run").mkdir()
    for name, ending in {"sshd": -signal.SIGHUP, "other": None}.items():
        (root / "etc/ssh/sshd_config.d/00-azready.conf").unlink(missing_ok=True)
        with subprocess.Popen(["sleep", "60"]) as process:
            (root / "run/sshd.pid").write_text(f"{process.pid}\n")
            (root / f"proc/{process.pid}").mkdir(parents=True)
            (root / f"proc/{process.pid}/comm").write_text(f"{name}\n")
            made = with_sshd(root, log, forbid=True, edit=False)
            monkeypatch.setattr(made.root, "is_live", True)
            try:
                said = do(STEP["sshd"], made)
                if ending:
                    process.wait(10)
                assert process.poll() == ending
            finally:
                process.kill()
        assert ("have sshd read its settings again" in said) is bool(ending)


def test_an_sshd_of_runit_that_gave_up_is_started_again(
    root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "bin/sv").touch(0o755)
    (root / "etc/service/ssh").mkdir(parents=True)
    (root / "etc/service/ssh/run").touch()
    states = {
        "down: /etc/service/ssh: 9s, normally up\n": ["start /etc/service/ssh again"],
        "down: /etc/service/ssh: 0s, normally up, want up\n": [],
        "down: /etc/service/ssh: 9s\n": [],  # the image says that it is not to be started
        "run: /etc/service/ssh: (pid 9) 9s\n": [],
        "fail: /etc/service/ssh: runsv not running\n": [],
    }
    for before, expected in states.items():
        state = before

        def run(words: list[str], **_: object) -> programs.Result:
            nonlocal state
            if words[1:] == ["up", "/etc/service/ssh"]:
                state = "run: /etc/service/ssh: (pid 9) 0s\n"
            return programs.Result(0, state)

        monkeypatch.setattr(programs, "run", run)
        made = boot(root, log, {})
        monkeypatch.setattr(made.root, "is_live", True)
        said = [change.text for change in sshd.starting(made)]
        assert said == expected
        perform(sshd.starting(made), log)
        assert not list(sshd.starting(made))


def test_an_sshd_of_dinit_that_gave_up_is_started_again(
    root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "bin/dinitctl").touch(0o755)
    started = "Service: sshd\n    State: STARTED\n    Process ID: 9\n"
    states = {
        "Service: sshd\n    State: STOPPED (terminated; exited - status 1)\n": ["start sshd again"],
        "Service: sshd\n    State: STOPPED\n": [],  # somebody asked for that
        started: [],
    }
    for before, expected in states.items():
        state = before

        def run(words: list[str], **_: object) -> programs.Result:
            nonlocal state
            if words[2] != "sshd":
                return programs.Result(1, "dinitctl: failed to find service description.\n")
            state = started if words[1] == "start" else state
            return programs.Result(0, state)

        monkeypatch.setattr(programs, "run", run)
        made = boot(root, log, {})
        monkeypatch.setattr(made.root, "is_live", True)
        assert [change.text for change in sshd.starting(made)] == expected
        perform(sshd.starting(made), log)
        assert not list(sshd.starting(made))


def test_the_distributions_own_sshd_config_is_read_and_never_edited(
    root: pathlib.Path, log: Lines
) -> None:
    config = root / "usr/etc/ssh/sshd_config"
    config.parent.mkdir(parents=True)
    config.write_text("UsePAM yes\n")
    assert sshd.server(boot(root, log, {})).uses_pam
    with pytest.raises(GuestError, match="belongs to the distribution"):
        do(STEP["sshd"], with_sshd(root, log, forbid=False, edit=True))


# Logins


def entering(root: pathlib.Path, log: Lines, config: str, **wishes: object) -> Boot:
    """A boot after every step but the last, of a user who has to be created."""
    (root / "etc/ssh").mkdir(exist_ok=True)
    (root / "etc/ssh/sshd_config").write_text(config)
    made = boot(root, log, {"sshd.edit": True}, user_name="bob", **wishes)
    for name in ("user", "sshd", "ssh_keys", "password"):
        perform(STEP[name].changes(made), log)
    return made


KEYS = {"public_keys": (PublicKey(KEY, ""),)}
SECRET = {"password": "secret", "disable_password": False}


@takes_root
@pytest.mark.parametrize(
    ("config", "wishes", "why"),
    [
        ("", KEYS, ""),
        ("", SECRET, ""),
        ("", {}, "no SSH key came; no password came"),
        ("", {"public_keys": (PublicKey("x", ""),)}, "SSH key 1 of 1 is left out: its type is 'x'"),
        ("", {"public_keys": (PublicKey("x", ""),), **SECRET}, ""),
        ("PubkeyAuthentication no\n", KEYS, "sshd accepts no keys"),
        ("PubkeyAuthentication no\n", {**KEYS, **SECRET}, ""),
        ("AuthorizedKeysFile none\n", KEYS, "sshd reads no file of keys"),
        ("AuthorizedKeysFile none\nTrustedUserCAKeys /etc/ssh/ca.pub\n", KEYS, ""),
        ("AuthorizedKeysFile none\nAuthorizedKeysCommand /bin/keys\n", KEYS, ""),
        ("AuthorizedKeysFile none\nTrustedUserCAKeys none\n", KEYS, "sshd reads no file of keys"),
        ("AuthorizedKeysFile .ssh/keys/%u\n", KEYS, ""),
        ("AuthorizedKeysFile /etc/ssh/keys/%u\n", KEYS, ""),
        ("Match User bob\nPasswordAuthentication no\n", SECRET, "sshd accepts no passwords"),
        ("Match User bob\nPubkeyAuthentication no\n", KEYS, "sshd accepts no keys"),
        ("AuthenticationMethods publickey,password\n", KEYS, "no password came"),
        ("AuthenticationMethods publickey,password\n", {**KEYS, **SECRET}, ""),
        ("AuthenticationMethods gssapi-with-mic\n", KEYS, "demands the method gssapi-with-mic"),
        ("AllowUsers ann\n", KEYS, "AllowUsers in sshd's configuration"),
        ("DenyGroups bob\n", KEYS, "DenyGroups in sshd's configuration"),
        ("AllowGroups sudo\n", KEYS, ""),
    ],
)
def test_ready_means_that_the_user_can_log_in(
    root: pathlib.Path, log: Lines, config: str, wishes: dict[str, object], why: str
) -> None:
    def problems(made: Boot) -> str:
        try:
            list(STEP["login"].changes(made))
        except GuestError as error:
            return str(error)
        return ""

    try:
        entered = entering(root, log, config, **wishes)
    except GuestError as error:
        assert "Match User bob" in config, error  # the step sshd says so, too
        entered = boot(root, log, {}, user_name="bob", **wishes)
        perform(STEP["user"].changes(entered), log)
        perform(STEP["password"].changes(entered), log)
    found = problems(entered)
    assert why in found if why else found == ""
    entered.rehearsing = True
    assert problems(entered) == found


def give(path: pathlib.Path, uid: int) -> None:
    """Let another user have the folder, and everybody enter it."""
    os.chown(path, uid, 0)
    path.chmod(0o755)


@takes_root
@pytest.mark.parametrize(
    ("place", "spoil", "why"),
    [
        ("home/bob", lambda path: give(path, 4321), "belongs to the user id 4321"),
        ("home/bob", lambda path: path.chmod(0o770), "others may write to /home/bob (mode 0770)"),
        ("home/bob/.ssh", lambda path: give(path, 1001), "belongs to the user id 1001"),
        ("home", lambda path: path.chmod(0o777), ""),  # above the home nothing counts
    ],
)
def test_keys_that_sshd_distrusts_do_not_count(
    root: pathlib.Path, log: Lines, place: str, spoil: "Callable[[pathlib.Path], None]", why: str
) -> None:
    entered = entering(root, log, "", **KEYS)
    spoil(root / place)
    if why:
        with pytest.raises(GuestError) as caught:
            list(STEP["login"].changes(entered))
        assert "sshd ignores the keys in /home/bob/.ssh/authorized_keys: " in str(caught.value)
        assert why in str(caught.value)
        (root / "etc/ssh/sshd_config").write_text("StrictModes no\n")
        entered.server = None
    assert list(STEP["login"].changes(entered)) == []


def test_a_key_file_that_the_user_cannot_read_does_not_count(
    root: pathlib.Path, log: Lines
) -> None:
    entered = entering(root, log, "AuthorizedKeysFile /etc/keys/%u\n", **KEYS)
    assert (root / "etc/keys/bob").read_text() == f"{KEY}\n"
    (root / "etc/keys/bob").chmod(0o600)
    with pytest.raises(GuestError, match=r"bob cannot read /etc/keys/bob \(mode 0600\)"):
        list(STEP["login"].changes(entered))
    assert perform(STEP["ssh_keys"].changes(entered), log) == 1
    assert list(STEP["login"].changes(entered)) == []


@takes_root
@pytest.mark.parametrize(("file", "warns"), [("/etc/keys", True), ("/etc/keys/%u", False)])
def test_a_file_of_keys_for_every_account_is_a_warning(
    root: pathlib.Path, log: Lines, file: str, warns: bool
) -> None:
    entering(root, log, f"AuthorizedKeysFile {file}\n", **KEYS)
    warning = "4 warning: sshd reads /etc/keys for every account: these keys open all of them"
    assert (warning in log.lines) is warns


def test_what_sshd_does_against_the_platforms_word_is_said(root: pathlib.Path, log: Lines) -> None:
    (root / "etc/ssh/sshd_config.d").mkdir(parents=True)
    (root / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
    first = root / "etc/ssh/sshd_config.d/00-a.conf"
    for ours, theirs, word in ((False, "no", "forbids"), (True, "yes", "allows")):
        first.write_text(f"PasswordAuthentication {theirs}\nKbdInteractiveAuthentication no\n")
        made = boot(root, log, {}, user_name="ann", disable_password=ours)
        with pytest.raises(GuestError, match=f"sshd still {word} logins with a password to ann"):
            perform(STEP["sshd"].changes(made), log)


# Host name, payload, markers


def test_host_name_files_are_written_once(root: pathlib.Path, log: Lines) -> None:
    made = boot(root, log, {}, host_names=("", "web_1"))
    assert do(STEP["host_name"], made) == [
        "write web-1 to /etc/hostname",
        "add web-1 to /etc/hosts",
    ]
    assert "6 the host name 'web_1' is not valid; using web-1" in log.lines
    assert (root / "etc/hostname").read_text() == "web-1\n"
    assert (root / "etc/hosts").read_text().endswith("127.0.1.1\tweb-1\n")


def test_a_place_that_cannot_be_written_spares_the_others(root: pathlib.Path, log: Lines) -> None:
    (root / "etc/hostname").mkdir()
    made = boot(root, log, {}, host_names=("web",))
    with pytest.raises(GuestError, match="hostname"):
        perform(host_name.changes(made), log)


def test_no_usable_host_name_changes_nothing(root: pathlib.Path, log: Lines) -> None:
    assert do(STEP["host_name"], boot(root, log, {}, host_names=("", "名前"))) == []
    assert log.lines[0] == "4 warning: the host name '名前' is not usable; it stays as it is"
    assert do(STEP["host_name"], boot(root, log, {})) == []


def test_customdata_and_userdata_are_saved_for_root_only(root: pathlib.Path, log: Lines) -> None:
    made = boot(root, log, {}, encoded_custom_data=b"#cloud-config\n", encoded_user_data="aGk=")
    assert do(STEP["custom_data"], made) == [
        "save 14 bytes of customData as /var/lib/azready/customdata"
    ]
    assert do(STEP["user_data"], made) == ["save 2 bytes of userData as /var/lib/azready/userdata"]
    for name in ("customdata", "userdata"):
        file = root / "var/lib/azready" / name
        assert oct(file.stat().st_mode & 0o777) == "0o600"
        file.chmod(0o644)
    assert len(do(STEP["custom_data"], made)) == 1


def test_missing_customdata_is_said_unless_the_step_is_off(root: pathlib.Path, log: Lines) -> None:
    says = "warn: this VM has customData, which is not saved: no provisioning CD could be read"
    for settings, metadata, expected in (
        ({}, InstanceMetadata(has_custom_data=True), [says]),
        ({}, InstanceMetadata(has_custom_data=False), []),
        ({}, InstanceMetadata(), []),
        ({"steps.custom_data": False}, InstanceMetadata(has_custom_data=True), []),
    ):
        made = boot(root, log, {"media.wait": 0, **settings})
        made.metadata = metadata
        texts, problems = provision.rehearse(made)
        assert [text for text in texts if "customData" in text] == expected
        assert problems == []
    made = boot(root, log, {"media.wait": 0, "fatal": ("custom_data",)})
    made.metadata = InstanceMetadata(has_custom_data=True)
    assert provision.rehearse(made)[1] == [says.removeprefix("warn: ")]


def test_customdata_of_another_root_is_not_run(root: pathlib.Path, log: Lines) -> None:
    runs: dict[str, object] = {"run_custom_data": True}
    with pytest.raises(GuestError, match="only on the machine"):
        list(custom_data.changes(boot(root, log, runs, encoded_custom_data=b"#!/bin/sh\n")))
    list(custom_data.changes(boot(root, log, runs, encoded_custom_data=b"#cloud-config\n")))
    assert "is not a script" in log.lines[-1]


@pytest.mark.parametrize(
    ("note", "notes", "fails"),
    [
        (b"exited with status 0\n", ("custom_data_exit_code=0",), False),
        (b"exited with status 3\n", ("custom_data_exit_code=3",), True),
        (b"started\n", (), False),
        (b"", (), False),
    ],
)
def test_a_script_that_ran_before_is_judged_by_its_note(
    root: pathlib.Path,
    log: Lines,
    monkeypatch: pytest.MonkeyPatch,
    note: bytes,
    notes: tuple[str, ...],
    fails: bool,
) -> None:
    runs: dict[str, object] = {"run_custom_data": True}
    made = boot(root, log, runs, encoded_custom_data=b"#!/bin/sh\n")
    monkeypatch.setattr(made.root, "is_live", True)
    made.vm_id = "id"
    (root / "var/lib/azready").mkdir(parents=True)
    (root / "var/lib/azready/id.customdata").write_bytes(note)
    if fails:
        with pytest.raises(GuestError, match="exited with status 3"):
            list(custom_data.changes(made))
    else:
        texts = [change.text for change in custom_data.changes(made)]
        assert "run /var/lib/azready/customdata" not in texts
    assert made.notes == notes


ID = "6e1b6b2c-1f0a-4d55-9c4b-0a1b2c3d4e5f"
DIRECTORY = "/var/lib/azready"


def test_a_marker_is_keyed_by_the_vm(root: pathlib.Path) -> None:
    tree = Root(str(root))
    assert not state.is_provisioned(tree, DIRECTORY, (ID,))
    state.remember(tree, state.marker(DIRECTORY, ID), "note")
    assert state.is_provisioned(tree, DIRECTORY, ("another", ID))
    assert not state.is_provisioned(tree, DIRECTORY, ("another",))
