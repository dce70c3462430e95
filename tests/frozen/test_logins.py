"""Ready means that the user can log in: azready's word beside real logins to the image's own sshd."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import sshd
from agent.formats import sshd_config
from agent.root import Root
from build import emptyroot
from build.cache import BuildError
from scripts.simulator.scenario import VM
from scripts.tasks import guests
from tests.conftest import FROZEN
from tests.frozen.test_guests import PASSWORD, USER, boot, entry, insert, inside

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not emptyroot.possible(), reason="roots of other systems take root"
)
SSH = "etc/ssh/sshd_config"
HEAD = "Include /etc/ssh/sshd_config.d/*.conf\n"
PAM = "KbdInteractiveAuthentication no\nUsePAM yes\n"
WITH_PASSWORD = VM(media="cd", password=PASSWORD, disable_password="false", public_keys=())


@pytest.fixture
def root() -> Iterator[pathlib.Path]:
    """A Debian with one host key, which saves the time to make them."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        place.chmod(0o755)
        try:
            guests.copy_of(guests.debian(), place)
        except BuildError as error:
            pytest.skip(f"a Debian cannot be made here: {error}")
        shutil.copy(FROZEN, place / "azready")
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key(place, "ed25519")],
            check=True,
        )
        yield place


def host_key(root: pathlib.Path, kind: str) -> pathlib.Path:
    return root / f"etc/ssh/ssh_host_{kind}_key"


def tell_early(root: pathlib.Path, vm: VM) -> None:
    """Have a CD say all before the metadata: the VM id is known, so that it counts."""
    identity = root / "sys/class/dmi/id/product_uuid"
    identity.parent.mkdir(parents=True, exist_ok=True)
    identity.write_text(vm.vm_id + "\n")
    insert(root, vm)


@pytest.mark.parametrize(
    ("config", "drop_ins", "works"),
    [
        (HEAD + PAM, {}, True),
        (PAM, {}, True),
        (HEAD + "AuthorizedKeysFile .ssh/keys/%u\n", {}, True),
        (HEAD + "AuthorizedKeysFile /etc/ssh/keys/%u .ssh/authorized_keys\n", {}, True),
        (HEAD + "AuthorizedKeysFile /etc/ssh/keys/%u\n", {}, True),
        (HEAD + "AuthorizedKeysFile none\n", {}, False),
        (HEAD, {"50-a.conf": "AuthorizedKeysFile %h/.k\n"}, True),
        (HEAD + "PubkeyAuthentication no\n", {}, False),
        (HEAD + "Match User azureuser\nPubkeyAuthentication no\n", {}, False),
        (HEAD + "Match Group sudo\nAuthorizedKeysFile none\n", {}, False),
        (HEAD + "Match User root\nPubkeyAuthentication no\n", {}, True),
        (HEAD + "AllowUsers root\n", {}, False),
        (HEAD + "AllowGroups wheel sudo\n", {}, True),
        (HEAD + "DenyGroups adm\n", {}, False),
        (HEAD + PAM + "AuthenticationMethods publickey,password\n", {}, False),
        (HEAD + "UsePAM no\n", {}, True),
        (HEAD + "NoSuchOption yes\n", {}, False),
        (HEAD + "PubkeyAcceptedAlgorithms rsa-sha2-512\n", {}, False),
        (HEAD + "PubkeyAcceptedAlgorithms rsa-sha2-512,ssh-ed*\n", {}, True),
        (HEAD + "PubkeyAcceptedAlgorithms -ssh-ed25519\n", {}, False),
        (HEAD + "MaxAuthTries x\n", {}, False),
        (HEAD + "Subsystem sftp\n", {}, False),
        (HEAD + "Match User root\nUsePAM yes\n", {}, False),  # nothing global in a block
        (HEAD + 'Match exec "true"\nPubkeyAuthentication no\n', {}, False),
        (HEAD + "Match LocalPort 22\nMaxSessions 3\n", {}, True),
        (HEAD + "DenyUsers * !azureuser\n", {}, False),  # each pattern counts for itself
        (HEAD + "AllowUsers * !azureuser\n", {}, True),
        (HEAD + "DenyUsers azureuser@*\n", {}, False),
        (HEAD + "DenyUsers azureuser@192.0.2.*\n", {}, True),
    ],
)
def test_a_key_lets_in_exactly_if_ready_was_reported(
    root: pathlib.Path, tmp_path: pathlib.Path, config: str, drop_ins: dict[str, str], works: bool
) -> None:
    (root / SSH).write_text(config)
    for name, content in drop_ins.items():
        (root / "etc/ssh/sshd_config.d" / name).write_text(content)
    vm = VM(media="cd", public_keys=(guests.make_key(tmp_path / "key", "planted"),))
    tell_early(root, vm)
    first = boot(root, vm)
    assert first.reports == (["Ready"] if works else ["ProvisioningFailed"]), first.said
    assert lets_in(root, key=tmp_path / "key") is works


def test_an_sshd_whose_host_keys_are_being_made_is_asked_nevertheless(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Nobody but sshd can say what its exec says; before OpenSSH 9.3 it does not without a key."""
    for path in (host_key(root, "ed25519"), host_key(root, "ed25519.pub")):
        path.unlink(missing_ok=True)
    (root / SSH).write_text(HEAD + 'Match exec "true"\nPubkeyAuthentication no\n')
    first = boot(root, VM(public_keys=(guests.make_key(tmp_path / "key", "planted"),)))
    assert first.reports == ["ProvisioningFailed"], first.said


@pytest.mark.parametrize("has_key", [True, False])
def test_what_sshd_says_wins_over_what_its_files_say(
    root: pathlib.Path, tmp_path: pathlib.Path, has_key: bool
) -> None:
    """With a CD, files are believed until sshd has been asked, which knows its port."""
    if not has_key:
        for path in (host_key(root, "ed25519"), host_key(root, "ed25519.pub")):
            path.unlink(missing_ok=True)
    vm = VM(media="cd", public_keys=(guests.make_key(tmp_path / "key", "planted"),))
    tell_early(root, vm)
    (root / SSH).write_text(HEAD + "Match LocalPort 22\nPubkeyAuthentication no\n")
    first = boot(root, vm)
    assert first.reports == ["ProvisioningFailed"], first.said
    assert "sshd accepts no keys" in first.said
    (root / SSH).write_text(HEAD + "Match LocalPort 22\nAuthorizedKeysFile /etc/ssh/keys/%u\n")
    (root / "etc/ssh/keys").mkdir()
    second = boot(root, vm)
    assert second.reports == ["Ready"], second.said
    assert f"authorize 1 SSH key in /etc/ssh/keys/{USER}\n" in second.said
    assert lets_in(root, key=tmp_path / "key")


def test_a_configuration_that_sshd_refuses_fails_the_run(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    vm = VM(media="cd", public_keys=(guests.make_key(tmp_path / "key", "planted"),))
    tell_early(root, vm)
    (root / SSH).write_text(f"{HEAD}NoSuchKeyword yes\n")
    first = boot(root, vm)
    assert first.reports == ["ProvisioningFailed"], first.said
    assert "sshd cannot use its configuration" in first.said


def fails_and_lets_nobody_in(root: pathlib.Path, key: pathlib.Path, why: str) -> None:
    first = boot(root, VM(public_keys=(guests.make_key(key, "planted"),)))
    assert first.reports == ["ProvisioningFailed"], first.said
    assert why in first.said
    assert not lets_in(root, key=key)


def lets_in(root: pathlib.Path, *, key: pathlib.Path | None = None, password: str = "") -> bool:
    try:
        with guests.Sshd(root) as server:
            return server.login(USER, "echo in", key=key, password=password).stdout == "in\n"
    except BuildError:
        return False  # sshd did not start


@pytest.mark.parametrize(
    ("config", "drop_ins", "works"),
    [
        (HEAD + PAM, {}, True),
        (HEAD + "UsePAM no\n", {}, True),
        (HEAD + PAM, {"00-a.conf": "PasswordAuthentication no\n"}, False),
        (HEAD + PAM, {"50-a.conf": "PasswordAuthentication no\n"}, True),
        ("PasswordAuthentication no\n" + HEAD + PAM, {}, False),
        ("PasswordAuthentication no\n" + HEAD + "UsePAM yes\n", {}, True),  # PAM asks
        ("PasswordAuthentication no\n" + PAM, {}, False),  # no drop-in counts
        (HEAD + PAM + "Match User azure*\nPasswordAuthentication no\n", {}, False),
        (HEAD + PAM + "AuthenticationMethods password\n", {}, True),
    ],
)
def test_a_password_lets_in_exactly_if_ready_was_reported(
    root: pathlib.Path, config: str, drop_ins: dict[str, str], works: bool
) -> None:
    (root / SSH).write_text(config)
    for name, content in drop_ins.items():
        (root / "etc/ssh/sshd_config.d" / name).write_text(content)
    first = boot(root, WITH_PASSWORD)
    assert first.reports == (["Ready"] if works else ["ProvisioningFailed"]), first.said
    assert lets_in(root, password=PASSWORD) is works


def test_a_password_with_blanks_at_its_ends_lets_in(root: pathlib.Path) -> None:
    secret = "  two blanks and a tab\t "
    first = boot(root, dataclasses.replace(WITH_PASSWORD, password=secret))
    assert first.code == 0, first.said
    assert lets_in(root, password=secret)
    assert not lets_in(root, password=secret.strip())


def test_a_password_that_the_platform_says_nothing_about_is_used(root: pathlib.Path) -> None:
    (root / SSH).write_text("PasswordAuthentication no\n")
    first = boot(root, dataclasses.replace(WITH_PASSWORD, disable_password=""))
    assert first.reports == ["ProvisioningFailed"], first.said
    (root / SSH).write_text(HEAD + "UsePAM no\nPasswordAuthentication no\n")
    first = boot(root, dataclasses.replace(WITH_PASSWORD, disable_password=""))
    assert first.code == 0, first.said
    assert lets_in(root, password=PASSWORD)


def test_a_password_of_which_eight_characters_would_count_is_stored_well(
    root: pathlib.Path,
) -> None:
    weak = root / "usr/local/sbin/chpasswd"
    weak.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(guests.busybox(), weak.with_name("busybox"))
    weak.write_text("#!/bin/sh\nexec /usr/local/sbin/busybox chpasswd -c des\n")
    weak.chmod(0o755)
    first = boot(root, WITH_PASSWORD)
    assert first.code == 0, first.said
    assert "stored it in a weak form" in first.said
    assert entry(root, "shadow")[1].startswith("$6$")
    assert lets_in(root, password=PASSWORD)
    assert not lets_in(root, password=PASSWORD[:8] + "x")


@pytest.mark.parametrize(
    ("file", "at", "field"),
    [
        ("passwd", 6, "/usr/sbin/nologin"),
        ("passwd", 6, "/bin/none"),
        ("shadow", 7, "19500"),
        ("shadow", 2, "0"),
    ],
)
def test_an_account_of_the_image_is_mended_until_its_owner_gets_in(
    root: pathlib.Path, tmp_path: pathlib.Path, file: str, at: int, field: str
) -> None:
    assert inside(root, "useradd", "--no-create-home", "--shell", "/bin/sh", USER).returncode == 0
    (root / "home" / USER).mkdir()  # root's
    path = root / "etc" / file
    lines = [
        ":".join([*words[:at], field, *words[at + 1 :]]) if words[0] == USER else ":".join(words)
        for words in (text.split(":") for text in path.read_text().splitlines())
    ]
    path.write_text("\n".join(lines) + "\n")
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.code == 0, first.said
    assert lets_in(root, key=tmp_path / "key")
    assert (root / "home" / USER).stat().st_uid == int(entry(root, "passwd")[2])


@pytest.mark.parametrize("how", ["empty", "cut", "zeros", "open", "left over"])
def test_a_host_key_that_sshd_refuses_does_not_count(
    root: pathlib.Path, tmp_path: pathlib.Path, how: str
) -> None:
    good = host_key(root, "ed25519")
    spoiled = host_key(root, "ecdsa")
    shutil.copy(good, spoiled)
    content = good.read_bytes()
    spoils = {"empty": b"", "cut": content[:200], "zeros": bytes(411), "open": content}
    if how == "left over":
        spoiled.rename(root / "etc/ssh/.ssh_host_ecdsa_key")
    else:
        spoiled.write_bytes(spoils[how])
        spoiled.chmod(0o644 if how == "open" else 0o600)
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.code == 0, first.said
    assert good.read_bytes() == content  # what is good stays
    assert not list(root.glob("etc/ssh/.ssh_host*"))
    said = "rsa, ecdsa" if how == "left over" else "ecdsa"
    assert f"generate host keys for sshd ({said})\n" in first.said
    (root / "run/sshd").mkdir(exist_ok=True)
    checked = inside(root, "/usr/sbin/sshd", "-t")
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_where_no_host_key_is_usable_all_are_made(root: pathlib.Path) -> None:
    host_key(root, "ed25519").write_bytes(b"")
    host_key(root, "dsa").write_bytes(b"")
    first = boot(root, VM())
    assert first.code == 0, first.said
    assert "generate host keys for sshd (rsa, ecdsa, ed25519)\n" in first.said
    for kind in ("rsa", "ecdsa", "ed25519"):
        assert inside(root, "ssh-keygen", "-l", "-f", f"/etc/ssh/ssh_host_{kind}_key.pub").stdout
        assert host_key(root, kind).stat().st_mode & 0o777 == 0o600
        assert host_key(root, kind).with_suffix(".pub").stat().st_mode & 0o777 == 0o644


def add_user(root: pathlib.Path, home: str) -> None:
    words = ("useradd", "--shell", "/bin/sh", "--home-dir", home, USER)
    assert inside(root, *words).returncode == 0


def test_nothing_below_a_home_that_is_the_top_becomes_the_users(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (root / SSH).write_text(HEAD + PAM + "AuthorizedKeysFile /etc/ssh/keys/%u\n")
    add_user(root, "/")
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.reports == ["Ready"], first.said
    assert lets_in(root, key=tmp_path / "key")
    for name in ("", "etc", "etc/ssh", "etc/ssh/keys", f"etc/ssh/keys/{USER}"):
        assert (root / name).stat().st_uid == 0
    assert (root / "etc").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("pam", ["yes", "no"])
def test_nobody_gets_in_while_nologin_is_there(
    root: pathlib.Path, tmp_path: pathlib.Path, pam: str
) -> None:
    (root / SSH).write_text(f"{HEAD}UsePAM {pam}\n")
    (root / "etc/nologin").write_text("closed\n")
    fails_and_lets_nobody_in(root, tmp_path / "key", "remove /etc/nologin")


@pytest.mark.parametrize("strict", ["yes", "no"])
def test_keys_in_a_folder_that_the_user_cannot_enter_do_not_count(
    root: pathlib.Path, tmp_path: pathlib.Path, strict: str
) -> None:
    (root / SSH).write_text(f"{HEAD}AuthorizedKeysFile /srv/keys/%u\nStrictModes {strict}\n")
    (root / "srv/keys").mkdir(mode=0o700)
    fails_and_lets_nobody_in(root, tmp_path / "key", "azureuser cannot read /srv/keys (mode 0700)")


def test_a_home_that_the_user_cannot_reach_fails_the_run(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (root / "home").chmod(0o700)
    fails_and_lets_nobody_in(root, tmp_path / "key", "azureuser cannot read /home (mode 0700)")


def test_a_lock_in_passwd_is_none_for_keys_any_more(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (root / SSH).write_text(HEAD + "UsePAM no\n")
    (root / "etc/shadow").unlink()
    add_user(root, f"/home/{USER}")
    path = root / "etc/passwd"
    path.write_text(path.read_text().replace(f"\n{USER}:!:", f"\n{USER}:!!:"))
    assert entry(root, "passwd")[1] == "!!"
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.reports == ["Ready"], first.said
    assert lets_in(root, key=tmp_path / "key")


def test_a_pipe_of_the_user_in_the_place_of_keys_stops_nothing(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (root / SSH).write_text(HEAD + PAM + "AuthorizedKeysFile .ssh/a .ssh/authorized_keys\n")
    add_user(root, f"/home/{USER}")
    (root / f"home/{USER}/.ssh").mkdir(parents=True)
    os.mkfifo(root / f"home/{USER}/.ssh/a")
    assert inside(root, "chown", "-R", USER, f"/home/{USER}").returncode == 0
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.reports == ["Ready"], first.said
    assert lets_in(root, key=tmp_path / "key")


def test_a_shell_that_leads_to_nologin_is_mended(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    add_user(root, f"/home/{USER}")
    (root / "etc/shell").symlink_to("/usr/sbin/nologin")
    assert inside(root, "usermod", "--shell", "/etc/shell", USER).returncode == 0
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)))
    assert first.reports == ["Ready"], first.said
    assert lets_in(root, key=tmp_path / "key")


@pytest.mark.parametrize("by", ["key", "password"])
def test_without_a_shadow_file_the_user_gets_one(
    root: pathlib.Path, tmp_path: pathlib.Path, by: str
) -> None:
    (root / SSH).write_text(HEAD + "UsePAM no\n")
    (root / "etc/shadow").unlink()
    (root / "etc/gshadow").unlink()
    key = guests.make_key(tmp_path / "key", "planted")
    first = boot(root, VM(public_keys=(key,)) if by == "key" else WITH_PASSWORD)
    assert first.reports == ["Ready"], first.said
    assert entry(root, "passwd")[1] == "x"
    if by == "key":
        assert lets_in(root, key=tmp_path / "key")
    else:
        assert lets_in(root, password=PASSWORD)


LINES = st.sampled_from(
    [
        "Include /etc/ssh/sshd_config.d/*.conf",
        "Include sshd_config.d/1?.conf",
        "Match User ann",
        "Match User *,!ann",
        "Match Group adm,wheel",
        "Match User ann Group nobody",
        "Match Address 10.0.0.0/8",
        "Match all",
        "UsePAM yes",
        "UsePAM no",
        *(
            f"{word} {value}"
            for word in ("PasswordAuthentication", "PubkeyAuthentication")
            for value in ("yes", "no")
        ),
        "KbdInteractiveAuthentication no",
        "AuthorizedKeysFile none",
        "AuthorizedKeysFile /k/%u .ssh/keys",
        "AuthenticationMethods publickey,password publickey",
        "AllowUsers ann bob",
        "AllowGroups adm",
        "DenyUsers a?n",
        "StrictModes no",
        "# a comment",
    ]
)
FILES = st.lists(LINES, max_size=5).map(lambda lines: "".join(f"{line}\n" for line in lines))


def test_the_files_are_read_as_sshd_reads_them(root: pathlib.Path) -> None:
    """The reader of sshd_config beside the output of sshd -T."""
    assert inside(root, "useradd", "--groups", "adm", "ann").returncode == 0
    (root / "run/sshd").mkdir(exist_ok=True)
    who = "user=ann,host=client.invalid,addr=192.0.2.1"
    compared = 0

    @settings(max_examples=200)
    @given(FILES, FILES, FILES)
    def compare(main: str, first: str, second: str) -> None:
        nonlocal compared
        (root / SSH).write_text(main)
        for name, content in (("10.conf", first), ("20.conf", second)):
            # sshd refuses global settings in a Match block, and files that include themselves.
            (root / "etc/ssh/sshd_config.d" / name).write_text(
                "".join(line for line in content.splitlines(True) if "Include" not in line)
            )
        said = inside(root, "/usr/sbin/sshd", "-T", "-C", who)
        if said.returncode:
            return
        compared += 1
        values = sshd._read(Root(str(root)), {}, "ann", lambda: ["ann", "adm"])
        told = sshd_config.dumped(said.stdout)
        del told["pubkeyacceptedalgorithms"]  # its default, which the files do not tell
        assert sshd_config.server(values) == sshd_config.server(told)

    compare()
    assert compared > 100
