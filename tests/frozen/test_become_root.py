"""What the rules for sudo and doas mean to the real sudo and the real doas, whatever the user's name."""

import os
import pathlib
import random
import socket
import string
import subprocess

import pytest

from agent.formats import sudoers
from agent.formats.accounts import refusal
from build import emptyroot
from build.cache import BuildError
from scripts.tasks import guests

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not emptyroot.possible(), reason="roots of other systems take root"
)

OTHER = "other"
# sudoers(5), and the words of sudo's and doas' grammars: toke.l of sudo, parse.y of OpenDoas.
WORDS = (
    *("ALL", "Defaults", "User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias"),
    *("ROLE", "TYPE", "PRIVS", "LIMITPRIVS", "APPARMOR_PROFILE", "TIMEOUT", "NOTBEFORE"),
    *("NOTAFTER", "CWD", "CHROOT", "NOPASSWD", "PASSWD", "SETENV", "ADMINS", "A", "A_1"),
    *("sudoedit", "list", "sha224", "sha256", "sha384", "sha512", "include", "includedir"),
    *("permit", "deny", "as", "cmd", "args", "nopass", "nolog", "persist", "keepenv", "setenv"),
    *("10.0.0.1", "255.255.255.255", "1.2", "0x10", "1e5", "7z", "_", "_x", "...", "a.b", "a-b"),
    *("Root", "toor", "Ann", "Defaults.x", "Defaults-x", "ALL.x", "A-B", "a" * 32),
)


def names() -> list[str]:
    """The words, and names at random; each is one that azready accepts."""
    chosen = random.Random(1)
    letters = string.ascii_letters + string.digits + "._-"
    made = ("".join(chosen.choices(letters, k=chosen.randint(1, 32))) for _ in range(40))
    return [*WORDS, *sorted(name for name in made if not refusal(name))]


NAMES = names()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    place = tmp_path_factory.mktemp("names")
    place.chmod(0o755)
    try:
        guests.copy_of(guests.debian(), place)
    except BuildError as error:
        pytest.skip(f"the root debian cannot be made here: {error}")
    users = ["root:x:0:0::/:/bin/sh"]
    users += [f"{name}:x:{uid}:2000::/:/bin/sh" for uid, name in enumerate([OTHER, *NAMES], 2000)]
    (place / "etc/passwd").write_text("\n".join(users) + "\n")
    (place / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    return place


def inside(root: pathlib.Path, *words: str, user: int = 0) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words,
        preexec_fn=emptyroot.entering(root, writable=True, user=user),
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/bin", "LC_ALL": "C"},
        timeout=30,
    )


def test_every_word_is_a_name_that_azready_accepts() -> None:
    assert [name for name in NAMES if refusal(name)] == []
    assert len(set(NAMES)) == len(NAMES) > 70


@pytest.mark.parametrize("name", NAMES)
def test_sudo_takes_every_name_for_the_user_and_nobody_else(root: pathlib.Path, name: str) -> None:
    rule = root / sudoers.SUDO_FILE[1:]
    rule.write_text(sudoers.sudo_line(name, True))
    rule.chmod(0o440)
    checked = inside(root, "visudo", "-c", "-f", sudoers.SUDO_FILE)
    assert checked.returncode == 0, checked.stderr
    said = inside(root, "sudo", "-l", "-U", name)
    assert "(ALL : ALL) NOPASSWD: ALL" in said.stdout, said.stderr
    assert "error" not in said.stderr
    assert f"{OTHER} is not allowed to run sudo" in inside(root, "sudo", "-l", "-U", OTHER).stdout


@pytest.mark.parametrize("name", NAMES)
def test_doas_takes_every_name_for_the_user_and_nobody_else(root: pathlib.Path, name: str) -> None:
    rule = root / sudoers.DOAS_CONF[1:]
    words = ("doas", "-C", sudoers.DOAS_CONF)
    for free, says in ((True, "permit nopass\n"), (False, "permit\n")):
        rule.write_text(sudoers.doas_line(name, free))
        checked = inside(root, *words)
        assert checked.returncode == 0, checked.stderr
        assert inside(root, *words, "id", user=2001 + NAMES.index(name)).stdout == says
        assert inside(root, *words, "id", user=2000).stdout == "deny\n"
