"""Private keys of ssh-keygen, and what is left of them after a power cut."""

import base64
import pathlib
import random
import shutil
import subprocess

import pytest

from agent.formats.openssh_key import is_usable

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="it is not installed")
KINDS = ("rsa", "ecdsa", "ed25519")


def made(place: pathlib.Path, kind: str, *more: str) -> bytes:
    words = ["ssh-keygen", "-q", "-t", kind, "-C", "root@image", "-N", "", "-f", str(place), *more]
    subprocess.run(words, check=True)
    return place.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_key_is_usable_and_no_part_of_one_is(tmp_path: pathlib.Path, kind: str) -> None:
    whole = made(tmp_path / "key", kind)
    assert is_usable(whole)
    for length in {random.Random(kind).randrange(36, len(whole)) for _ in range(40)}:
        assert is_usable(whole[:length]) is False
        assert is_usable(whole[:length] + bytes(len(whole) - length)) is False
    lines = whole.splitlines(keepends=True)
    for at in range(1, len(lines) - 1):
        assert is_usable(b"".join(lines[:at] + lines[at + 1 :])) is False, at


def test_a_key_with_a_passphrase_is_not(tmp_path: pathlib.Path) -> None:
    assert is_usable(made(tmp_path / "key", "ed25519", "-N", "secret")) is False


def test_of_another_format_nothing_is_known(tmp_path: pathlib.Path) -> None:
    assert is_usable(made(tmp_path / "key", "rsa", "-m", "PEM")) is None
    assert is_usable(b"") is None
    assert is_usable(bytes(411)) is None


def test_what_is_wrong_inside_is_seen(tmp_path: pathlib.Path) -> None:
    begin, *body, end = made(tmp_path / "key", "ed25519").splitlines(keepends=True)
    data = base64.b64decode(b"".join(body))
    assert is_usable(begin + base64.b64encode(data) + b"\n" + end)
    for change in (
        data.replace(b"openssh-key-v1", b"openssh-key-v2"),
        data + b"\0",
        data[:39] + b"\2" + data[40:],  # how many keys
        data[:98] + bytes([data[98] ^ 1]) + data[99:],  # one of the two numbers
        data[:15] + b"\xff" + data[16:],
        data[:11],
    ):
        assert change != data
        assert is_usable(begin + base64.b64encode(change) + b"\n" + end) is False
    assert is_usable(begin + b"!" + b"".join(body) + end) is False
