"""SSH public keys: what is a key, where it goes, and what the file holds afterwards."""

import base64
import struct

import pytest

from agent.formats import authorized_keys
from agent.formats.authorized_keys import Key, KeyRefused
from agent.protocol.keys import PublicKey
from scripts.simulator.scenario import KEY


def blob(*fields: bytes) -> str:
    data = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return base64.b64encode(data).decode()


RSA = f"ssh-rsa {blob(b'ssh-rsa', bytes([1, 0, 1]), bytes(257))}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("\r\n", "it is empty"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "it is a certificate or key in PEM format"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "it is a certificate or key in PEM format"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\n", "it is in RFC 4716 format"),
        ("ssh-foo AAAA", "its type is 'ssh-foo'"),
        ("ssh-ed25519", "it says ssh-ed25519, but the key inside is of another type"),
        ("ssh-ed25519 ####", "the text after ssh-ed25519 is not base64"),
        ("ssh-ed25519 AAAAC3", "the text after ssh-ed25519 is not base64"),
        ("ssh-ed25519 é", "the text after ssh-ed25519 is not base64"),
        ("ssh-ed25519 AAAA", "it is truncated"),
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
            f"ssh-rsa {blob(b'ssh-rsa', bytes([0x80]), bytes(257))}",  # a negative exponent
            "its fields are not those of ssh-rsa",
        ),
        (
            f"ecdsa-sha2-nistp256 {blob(b'ecdsa-sha2-nistp256', b'nistp384', bytes(65))}",
            "its fields are not those of ecdsa-sha2-nistp256",
        ),
        ('command="rm -rf /" ssh-foo AAAA', "its type is 'command="),
        ("# only\n# comments\n", "it is empty"),
    ],
)
def test_a_text_that_is_not_a_key_says_why(text: str, why: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        authorized_keys.parse(text)
    assert str(caught.value).startswith(why)


SK_ED25519, SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"{RSA} with a comment",
        f"ecdsa-sha2-nistp521 {blob(b'ecdsa-sha2-nistp521', b'nistp521', bytes(133))}",
        f"{SK_ED25519} {blob(SK_ED25519.encode(), bytes(32), b'ssh:')}",
        f"{SK_ECDSA} {blob(SK_ECDSA.encode(), b'nistp256', bytes(65), b'ssh:')}",
    ],
)
def test_keys_of_every_kind_pass(text: str) -> None:
    assert [str(key) for key in authorized_keys.parse(text + "\r\n")] == [text]


def test_several_keys_stand_on_a_line_each() -> None:
    assert [str(key) for key in authorized_keys.parse(f"{KEY}\n{RSA}\n")] == [KEY, RSA]


def test_a_comment_keeps_what_can_be_printed_and_is_truncated() -> None:
    (key,) = authorized_keys.parse(f"{RSA} a\x1bb{'c' * 300}")
    assert key.comment == "ab" + "c" * 254


def test_usable_keys_are_sorted_by_the_file_that_they_go_to() -> None:
    by_path, remarks = authorized_keys.sort(
        "ann",
        (
            PublicKey(KEY, ""),
            PublicKey("junk", ""),
            PublicKey(RSA, "/home/ann/keys"),
            PublicKey(RSA, "/etc/keys"),
        ),
        ("/home/ann/.ssh/authorized_keys", "/home/ann/keys"),
    )
    assert {path: [str(key) for key in keys] for path, keys in by_path.items()} == {
        "/home/ann/.ssh/authorized_keys": [KEY, RSA],
        "/home/ann/keys": [RSA],
    }
    assert len(remarks) == 2
    assert remarks[0].startswith("SSH key 2 of 4 is left out: its type is 'junk'")
    assert remarks[1] == (
        "SSH key 4 goes to /home/ann/.ssh/authorized_keys: sshd does not read '/etc/keys' for ann"
    )
    assert authorized_keys.sort("ann", [], ("/a",)) == ({}, [])


ONE, BLOB = KEY.split()[:2]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (f"\ufeff{KEY}", KEY),
        (f"# mine, from the laptop\r\n\r\n{KEY}", KEY),
        (f"{ONE}\t{BLOB}\tazureuser", KEY),
        (f"{ONE}   {BLOB} \t azureuser", KEY),
        (f'from="10.0.0.0/8",no-pty {KEY}', f'from="10.0.0.0/8",no-pty {KEY}'),
        (f'command="echo \\"a b\\"; exit"\t{KEY}', f'command="echo \\"a b\\"; exit" {KEY}'),
        (f"{ONE} {BLOB[:40]}\r\n{BLOB[40:]} azureuser", KEY),
        (f"restrict {ONE} {BLOB[:40]}\n{BLOB[40:]}", f"restrict {ONE} {BLOB}"),
    ],
)
def test_keys_are_taken_as_people_paste_them(text: str, written: str) -> None:
    assert [str(key) for key in authorized_keys.parse(text)] == [written]


def test_options_hold_nothing_that_cannot_be_printed() -> None:
    with pytest.raises(KeyRefused, match="its options 'no-pty,"):
        authorized_keys.parse(f'no-pty,environment="A=\x1b" {KEY}')


@pytest.mark.parametrize(
    ("line", "there"),
    [
        (f"  {ONE} {BLOB}", True),
        (f'no-pty,command="a, cert-authority" {KEY}', True),
        (f"  # {KEY}", False),
        (f"#{KEY}", False),
        (f"cert-authority {KEY}", False),
        (f'principals="ann",CERT-AUTHORITY {KEY}', False),
        (f'command="{KEY}"', False),
        (ONE, False),
    ],
)
def test_a_key_is_there_if_sshd_takes_it_for_one(line: str, there: bool) -> None:
    content = f"{line}\n".encode()
    merged = authorized_keys.merged(content, authorized_keys.parse(KEY))
    assert merged == (content if there else content + f"{KEY}\n".encode())


def test_a_certificate_authority_is_written_once() -> None:
    keys = authorized_keys.parse(f"cert-authority {KEY}")
    once = authorized_keys.merged(f"{KEY}\n".encode(), keys)
    assert once == f"{KEY}\ncert-authority {KEY}\n".encode()
    assert authorized_keys.merged(once, keys) == once


def test_missing_keys_are_appended() -> None:
    (key,) = authorized_keys.parse(KEY)
    assert authorized_keys.merged(b"", [key, key]) == f"{KEY}\n".encode()
    assert authorized_keys.merged(b"# old", [key]) == f"# old\n{KEY}\n".encode()
    assert authorized_keys.merged(f"#{KEY}\n".encode(), [key]) == f"#{KEY}\n{KEY}\n".encode()


def test_a_key_with_options_or_another_comment_is_there_already() -> None:
    key = Key("ssh-rsa", "AAAA", "mine")
    content = b'no-pty,command="a b" ssh-rsa AAAA other'
    assert authorized_keys.merged(content, [key]) == content


@pytest.mark.parametrize(
    ("content", "has"), [(b"", False), (b"# a\n\n  \n", False), (b"# a\nssh-rsa AAAA\n", True)]
)
def test_whether_a_file_holds_any_key(content: bytes, has: bool) -> None:
    assert bool(authorized_keys.kinds(content)) is has
