"""Names, accounts, passwords, keys, sudo and sshd, under a root of the test's own."""

import base64
import os
import pathlib
import struct

import pytest

from agent.errors import GuestError
from agent.guest import accounts, passwords, sshd, sshkeys, sudo
from agent.root import Root
from scripts.simulator.scenario import KEY
from tests.conftest import Lines

takes_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="files that belong to another user take root"
)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\nann:x:1000:1000::/home/ann:/bin/sh\n"
    )
    (tmp_path / "etc/group").write_text("root:x:0:\nsudo:x:27:ann\nann:x:1000:\ntaken:x:1001:\n")
    (tmp_path / "etc/shadow").write_text("root:*:19000::::::\nann:$6$a$b:19000:0:99999:7:::\n")
    return tmp_path


@pytest.mark.parametrize("name", ["azureuser", "Admin", "a.b-c_d", "x" * 32, "_", "a1"])
def test_names_that_may_be(name: str) -> None:
    assert accounts.refusal(name) == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty"),
        ("root", "root is no user to log in as"),
        ("a:b", "it holds ':'"),
        ("a\nb", "it holds '\\n'"),
        ("a b", "it holds ' '"),
        ("a/b", "it holds '/'"),
        ("é", "it holds 'é'"),
        ("a\0", "it holds '\\x00'"),
        ("-rf", "it starts with '-'"),
        ("..", "it would be taken for something else than a name"),
        ("1000", "it would be taken for something else than a name"),
        ("x" * 33, "it has more than 32 bytes"),
        ("%sudo", "it holds '%'"),
        ("ALL,b", "it holds ','"),
    ],
)
def test_names_that_are_refused_say_why(name: str, why: str) -> None:
    assert accounts.refusal(name).startswith(why)


@takes_root
def test_a_new_account_gets_the_first_id_that_is_free_as_both(
    root: pathlib.Path, log: Lines
) -> None:
    account = accounts.ensure(Root(str(root)), "bob", "/bin/sh", log)
    assert (account.uid, account.gid, account.home) == (1002, 1002, "/home/bob")
    assert (root / "etc/passwd").read_text().splitlines()[
        -1
    ] == "bob:x:1002:1002::/home/bob:/bin/sh"
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
    account = accounts.ensure(Root(str(root)), "bob", "/bin/sh", log)
    assert account.uid == 5000
    assert (root / "home/bob").stat().st_mode & 0o777 == 0o750
    assert (root / "etc/shadow").read_text().splitlines()[-1].split(":")[4] == "90"


@takes_root
def test_a_group_of_that_name_becomes_the_primary_one(root: pathlib.Path, log: Lines) -> None:
    account = accounts.ensure(Root(str(root)), "taken", "/bin/sh", log)
    assert (account.uid, account.gid) == (1001, 1001)
    assert (root / "etc/group").read_text().count("taken") == 1


def test_system_accounts_are_refused(root: pathlib.Path, log: Lines) -> None:
    before = (root / "etc/passwd").read_text()
    with pytest.raises(
        GuestError, match="the user name 'daemon' is refused: it belongs to the system, with uid 1"
    ):
        accounts.ensure(Root(str(root)), "daemon", "/bin/sh", log)
    assert (root / "etc/passwd").read_text() == before


@takes_root
def test_an_existing_home_is_left_alone(root: pathlib.Path, log: Lines) -> None:
    (root / "etc/skel").mkdir()
    (root / "etc/skel/.profile").write_text("new")
    (root / "home/ann").mkdir(parents=True)
    (root / "home/ann/file").write_text("mine")
    accounts.ensure(Root(str(root)), "ann", "/bin/sh", log)
    assert [path.name for path in (root / "home/ann").iterdir()] == ["file"]


@takes_root
def test_the_skeleton_is_copied_with_links_and_folders_and_owned(
    root: pathlib.Path, log: Lines
) -> None:
    (root / "etc/skel/.config").mkdir(parents=True)
    (root / "etc/skel/.config/x").write_text("x")
    (root / "etc/skel/.config/x").chmod(0o4755)
    (root / "etc/skel/link").symlink_to("/etc/passwd")
    accounts.ensure(Root(str(root)), "bob", "/bin/sh", log)
    home = root / "home/bob"
    assert (home / "link").readlink() == pathlib.Path("/etc/passwd")
    assert oct((home / ".config/x").stat().st_mode) == "0o100755"
    assert {path.lstat().st_uid for path in [home, *home.rglob("*")]} == {1002}
    assert (root / "etc/passwd").stat().st_uid == 0


def test_groups_that_are_not_there_are_passed_over(root: pathlib.Path, log: Lines) -> None:
    account = accounts.find(Root(str(root)), "ann")
    assert account is not None
    accounts.add_to_groups(Root(str(root)), account, ["wheel", "sudo", "taken", "ann"], log)
    assert (
        root / "etc/group"
    ).read_text() == "root:x:0:\nsudo:x:27:ann\nann:x:1000:\ntaken:x:1001:ann\n"


def test_the_lock_of_the_shadow_tools_is_waited_for(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "LOCK_LIMIT", 0.2)
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
                pytest.raises(GuestError, match="another program edits the accounts"),
                accounts.Locked(Root(str(root))),
            ):
                pass
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    with accounts.Locked(Root(str(root))):
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


# From the specification by Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512".
@pytest.mark.parametrize(
    ("rounds", "salt", "password", "wanted"),
    [
        (
            5000,
            "saltstring",
            "Hello world!",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
        (
            10000,
            "saltstringsaltstring",
            "Hello world!",
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        ),
        (
            1400,
            "anotherlongsaltstring",
            "a very much longer text to encrypt.  This one even stretches over morethan one line.",
            "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
        ),
        (
            77777,
            "short",
            "we have a short salt string but not a short password",
            "$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0",
        ),
    ],
)
def test_sha512_crypt_gives_the_known_answers(
    rounds: int, salt: str, password: str, wanted: str
) -> None:
    assert passwords.sha512_crypt(password.encode(), salt, rounds) == wanted


@pytest.mark.parametrize("password", ["a\nb", "a\0b", "x" * 513])
def test_passwords_that_cannot_be_are_refused_without_being_shown(
    root: pathlib.Path, log: Lines, password: str
) -> None:
    with pytest.raises(GuestError, match="the password of ann is refused") as caught:
        passwords.set_password(Root(str(root)), "ann", password, log)
    assert password not in str(caught.value)


def test_a_password_of_the_image_is_not_locked(root: pathlib.Path) -> None:
    passwords.lock(Root(str(root)), "ann", "!")
    assert accounts.password_field(Root(str(root)), "ann") == "$6$a$b"


def test_two_salts_differ(root: pathlib.Path, log: Lines) -> None:
    fields = []
    for _ in range(2):
        passwords.set_password(Root(str(root)), "ann", "x", log)
        fields.append(accounts.password_field(Root(str(root)), "ann"))
    assert fields[0] != fields[1]
    assert all(field == passwords.sha512_crypt(b"x", field.split("$")[2]) for field in fields)


def blob(*fields: bytes) -> str:
    return base64.b64encode(
        b"".join(struct.pack(">I", len(field)) + field for field in fields)
    ).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("\r\n", "it is empty"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "it is a certificate or key in PEM"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "it is a certificate or key in PEM"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\n", "it is in the form of RFC 4716"),
        ("ssh-foo AAAA", "its type is 'ssh-foo'"),
        ("ssh-ed25519", "it says ssh-ed25519, but the key inside is of another type"),
        ("ssh-ed25519 ####", "what follows ssh-ed25519 is not base64"),
        ("ssh-ed25519 AAAAC3", "what follows ssh-ed25519 is not base64"),
        (
            f"ssh-rsa {blob(b'ssh-ed25519', bytes(32))}",
            "it says ssh-rsa, but the key inside is of another type",
        ),
        (
            f"ssh-ed25519 {blob(b'ssh-ed25519', bytes(31))}",
            "its fields are not those of ssh-ed25519",
        ),
        (
            f"ssh-ed25519 {blob(b'ssh-ed25519', bytes(32), b'x')}",
            "its fields are not those of ssh-ed25519",
        ),
        (
            f"ecdsa-sha2-nistp256 {blob(b'ecdsa-sha2-nistp256', b'nistp384', bytes(65))}",
            "its fields are not those of ecdsa-sha2-nistp256",
        ),
        ('command="rm -rf /" ' + KEY, "its type is 'command="),
    ],
)
def test_what_is_no_key_says_why(text: str, why: str) -> None:
    with pytest.raises(sshkeys.KeyRefused) as caught:
        sshkeys.parse(text)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"ssh-rsa {blob(b'ssh-rsa', bytes([1, 0, 1]), bytes(257))} with a comment",
        f"ecdsa-sha2-nistp521 {blob(b'ecdsa-sha2-nistp521', b'nistp521', bytes(133))}",
        f"sk-ssh-ed25519@openssh.com {blob(b'sk-ssh-ed25519@openssh.com', bytes(32), b'ssh:')}",
        f"sk-ecdsa-sha2-nistp256@openssh.com {blob(b'sk-ecdsa-sha2-nistp256@openssh.com', b'nistp256', bytes(65), b'ssh:')}",
    ],
)
def test_keys_of_every_kind_pass(text: str) -> None:
    assert [str(key) for key in sshkeys.parse(text + "\r\n")] == [text]


def test_several_keys_stand_on_a_line_each() -> None:
    other = f"ssh-rsa {blob(b'ssh-rsa', bytes([1, 0, 1]), bytes(257))}"
    assert [str(key) for key in sshkeys.parse(f"{KEY}\n{other}\n")] == [KEY, other]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/home/ann/.ssh/authorized_keys", "/home/ann/.ssh/authorized_keys"),
        ("/home/ann/.ssh/keys2", "/home/ann/.ssh/keys2"),
        ("", "/home/ann/.ssh/authorized_keys"),
        ("/home/bob/.ssh/authorized_keys", "/home/ann/.ssh/authorized_keys"),
        ("/home/ann/../bob/keys", "/home/ann/.ssh/authorized_keys"),
        ("/home/ann/", "/home/ann/.ssh/authorized_keys"),
        ("/home/ann", "/home/ann/.ssh/authorized_keys"),
        ("/home/annx/keys", "/home/ann/.ssh/authorized_keys"),
        ("/home/ann/a\nb", "/home/ann/.ssh/authorized_keys"),
    ],
)
def test_keys_go_into_the_home_only(root: pathlib.Path, path: str, place: str) -> None:
    account = accounts.find(Root(str(root)), "ann")
    assert account is not None
    assert sshkeys.place_for(account, path) == place


@takes_root
def test_a_link_out_of_the_home_is_not_followed(root: pathlib.Path) -> None:
    account = accounts.find(Root(str(root)), "ann")
    assert account is not None
    (root / "home/ann").mkdir(parents=True)
    (root / "home/ann/.ssh").symlink_to("/etc")
    with pytest.raises(GuestError, match="leads out of /home/ann"):
        sshkeys.authorize(
            Root(str(root)), account, "/home/ann/.ssh/authorized_keys", sshkeys.parse(KEY)
        )
    assert not (root / "etc/authorized_keys").exists()


@takes_root
def test_open_permissions_are_closed(root: pathlib.Path) -> None:
    account = accounts.find(Root(str(root)), "ann")
    assert account is not None
    (root / "home/ann/.ssh").mkdir(parents=True, mode=0o777)
    keys = root / "home/ann/.ssh/authorized_keys"
    keys.write_text("# old\n")
    keys.chmod(0o666)
    assert sshkeys.authorize(
        Root(str(root)), account, "/home/ann/.ssh/authorized_keys", sshkeys.parse(KEY)
    )
    assert not sshkeys.authorize(
        Root(str(root)), account, "/home/ann/.ssh/authorized_keys", sshkeys.parse(KEY)
    )
    assert keys.read_text() == f"# old\n{KEY}\n"
    for path, mode in ((keys, 0o600), (keys.parent, 0o700)):
        assert (path.stat().st_mode & 0o777, path.stat().st_uid, path.stat().st_gid) == (
            mode,
            1000,
            1000,
        )


def program(root: pathlib.Path, name: str) -> None:
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/bin" / name).write_text("")
    (root / "usr/bin" / name).chmod(0o755)


def test_without_sudo_and_doas_nothing_is_written(root: pathlib.Path, log: Lines) -> None:
    assert sudo.permit(Root(str(root)), "ann", without_password=True, log=log) == ""
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["group", "passwd", "shadow"]


def test_sudo_gets_a_drop_in_that_only_root_reads(root: pathlib.Path, log: Lines) -> None:
    program(root, "sudo")
    (root / "etc/sudoers").write_text("@includedir /etc/sudoers.d\n")
    assert sudo.permit(Root(str(root)), "ann", without_password=True, log=log) == sudo.SUDO_FILE
    file = root / "etc/sudoers.d/90-azready"
    assert (file.read_text(), oct(file.stat().st_mode & 0o777)) == (
        "ann ALL=(ALL:ALL) NOPASSWD: ALL\n",
        "0o440",
    )
    assert log.lines == []
    sudo.permit(Root(str(root)), "ann", without_password=False, log=log)
    assert file.read_text() == "ann ALL=(ALL:ALL) ALL\n"


def test_a_sudoers_that_reads_no_drop_ins_is_a_warning(root: pathlib.Path, log: Lines) -> None:
    program(root, "sudo")
    sudo.permit(Root(str(root)), "ann", without_password=True, log=log)
    assert "does not include" in log.lines[0]


def test_doas_gets_its_folder_or_its_file(root: pathlib.Path, log: Lines) -> None:
    program(root, "doas")
    assert sudo.permit(Root(str(root)), "ann", without_password=True, log=log) == "/etc/doas.conf"
    assert (root / "etc/doas.conf").read_text() == "permit nopass ann\n"
    assert (
        sudo.permit(Root(str(root)), "ann", without_password=False, log=log) == ""
    )  # the file says something else by now
    assert "cannot use doas" in log.lines[-1]
    (root / "etc/doas.d").mkdir()
    assert (
        sudo.permit(Root(str(root)), "ann", without_password=False, log=log)
        == "/etc/doas.d/azready.conf"
    )
    assert (root / "etc/doas.d/azready.conf").read_text() == "permit ann\n"


@pytest.mark.parametrize(
    ("config", "includes"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf\n", True),
        ("include sshd_config.d/*.conf # relative\n", True),
        ('Include "/etc/ssh/sshd_config.d/*"\n', True),
        ("Include=/etc/ssh/sshd_config.d/*.conf\n", True),
        ("Include /etc/ssh/sshd_config.d/00-azready.conf\n", True),
        (
            "Include /etc/crypto-policies/*.config\nPort 22\nInclude /etc/ssh/sshd_config.d/*.conf\n",
            True,
        ),
        ("#Include /etc/ssh/sshd_config.d/*.conf\n", False),
        ("Include /etc/ssh/sshd_config.d/5*.conf\n", False),
        ("Include /etc/ssh/*.conf\n", False),
        ("Match User ann\nInclude /etc/ssh/sshd_config.d/*.conf\n", False),
        ("", False),
    ],
)
def test_whether_sshd_reads_drop_ins(config: str, includes: bool) -> None:
    assert sshd.includes_folder(config.encode()) is includes


def test_sshd_config_is_edited_only_on_demand_and_once(root: pathlib.Path) -> None:
    config = root / "etc/ssh/sshd_config"
    assert (
        sshd.set_password_login(Root(str(root)), allowed=False, edit=True) == ""
    )  # there is no sshd
    config.parent.mkdir()
    config.write_text("Port 22\n")
    with pytest.raises(GuestError, match="does not include"):
        sshd.set_password_login(Root(str(root)), allowed=True, edit=False)
    assert config.read_text() == "Port 22\n"
    for _ in range(2):
        assert (
            sshd.set_password_login(Root(str(root)), allowed=True, edit=True)
            == "/etc/ssh/sshd_config"
        )
    assert (
        config.read_text()
        == "# azready begin\nPasswordAuthentication yes\n# azready end\nPort 22\n"
    )
    sshd.set_password_login(Root(str(root)), allowed=False, edit=True)
    assert (
        config.read_text()
        == "# azready begin\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n# azready end\nPort 22\n"
    )


def test_the_distributions_own_sshd_config_is_read_and_never_edited(root: pathlib.Path) -> None:
    config = root / "usr/etc/ssh/sshd_config"
    config.parent.mkdir(parents=True)
    config.write_text("UsePAM yes\n")
    assert sshd.uses_pam(Root(str(root)))
    with pytest.raises(GuestError, match="belongs to the distribution"):
        sshd.set_password_login(Root(str(root)), allowed=True, edit=True)


def test_a_tree_is_removed_without_following_links(root: pathlib.Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/link").symlink_to(root / "etc")
    assert Root(str(root)).discard_tree("/a")
    assert not Root(str(root)).discard_tree("/a")
    assert (root / "etc/passwd").exists()
