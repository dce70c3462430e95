"""sshd_config: what sshd does for a user, drop-ins, and the block of azready."""

from collections.abc import Iterator

import pytest

from agent.formats import sshd_config
from agent.formats.sshd_config import Server


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        (b"Port 22", [("port", ["22"])]),
        (b"  UsePAM = yes # always", [("usepam", ["yes"])]),
        (b'Include "a" b', [("include", ["a", "b"])]),
        (b"UsePAM", [("usepam", [])]),
        (b"# Port 22", []),
        (b"Port 22 #23", [("port", ["22"])]),
        (b"AuthorizedKeysFile /etc/k#ys/%u", [("authorizedkeysfile", ["/etc/k#ys/%u"])]),
        (b"", []),
    ],
)
def test_a_line_is_a_keyword_with_arguments(
    line: bytes, setting: list[tuple[str, list[str]]]
) -> None:
    assert sshd_config.settings(line) == setting


@pytest.mark.parametrize(
    ("config", "includes"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf\n", True),
        ("include sshd_config.d/*.conf # relative\n", True),
        ('Include "/etc/ssh/sshd_config.d/*"\n', True),
        ("Include=/etc/ssh/sshd_config.d/*.conf\n", True),
        ("Include /etc/ssh/sshd_config.d/00-azready.conf\n", True),
        ("Include /etc/a/*.config\nPort 22\nInclude /etc/ssh/sshd_config.d/*.conf\n", True),
        ("#Include /etc/ssh/sshd_config.d/*.conf\n", False),
        ("Include /etc/ssh/sshd_config.d/5*.conf\n", False),
        ("Include /etc/ssh/sshd_config.d/*.config\n", False),
        ("Include /etc/ssh/*.conf\n", False),
        ("Match User ann\nInclude /etc/ssh/sshd_config.d/*.conf\n", False),
        ("", False),
    ],
)
def test_whether_sshd_reads_the_drop_in(config: str, includes: bool) -> None:
    assert sshd_config.includes_drop_in(config.encode()) is includes


def server(files: dict[str, str], user: str = "ann", groups: tuple[str, ...] = ("ann",)) -> Server:
    """What the file "" and those that it includes by name make of sshd."""

    def included(pattern: str) -> Iterator[bytes]:
        for name in sorted(files):
            if name and sshd_config.fits(pattern, name):
                yield files[name].encode()

    values = sshd_config.effective(files[""].encode(), included, user, lambda: groups)
    return sshd_config.server(values)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"": ""}, {"uses_pam": False, "passwords": True, "public_keys": True, "strict": True}),
        ({"": "UsePAM yes\nUsePAM no\n"}, {"uses_pam": True}),
        ({"": "usepam=YES\n"}, {"uses_pam": True}),
        ({"": "#UsePAM yes\n"}, {"uses_pam": False}),
        ({"": "UsePAM\nUsePAM yes\n"}, {"uses_pam": True}),
        ({"": "Include a*\nUsePAM no\n", "a1": "UsePAM yes\n"}, {"uses_pam": True}),
        ({"": "UsePAM no\nInclude a*\n", "a1": "UsePAM yes\n"}, {"uses_pam": False}),
        (
            {"": "Include a*\n", "a1": "StrictModes no\n", "a2": "StrictModes yes\n"},
            {"strict": False},
        ),
        # A Match block overrides what stands before it, and ends with its file.
        (
            {"": "PasswordAuthentication no\nMatch User ann,bob\nPasswordAuthentication yes\n"},
            {"passwords": True},
        ),
        ({"": "Match User bob\nPasswordAuthentication no\n"}, {"passwords": True}),
        ({"": "Match User *,!ann\nPasswordAuthentication no\n"}, {"passwords": True}),
        ({"": "Match User a?n Group ann\nPasswordAuthentication no\n"}, {"passwords": False}),
        ({"": "Match Group wheel\nPasswordAuthentication no\n"}, {"passwords": True}),
        ({"": "Match all\nPasswordAuthentication no\n"}, {"passwords": False}),
        ({"": "Match Address 10.0.0.0/8\nPasswordAuthentication no\n"}, {"passwords": True}),
        ({"": "Match Address *\nPasswordAuthentication no\n"}, {"passwords": False}),
        ({"": "Match\nPasswordAuthentication no\n"}, {"passwords": True}),
        (
            {"": "Include a\nPasswordAuthentication no\n", "a": "Match User bob\nStrictModes no\n"},
            {"passwords": False, "strict": True},
        ),
        (
            {"": "Match User bob\nInclude a\n", "a": "PasswordAuthentication no\n"},
            {"passwords": True},
        ),
        (
            {"": "Match User ann\nInclude a\n", "a": "PasswordAuthentication no\n"},
            {"passwords": False},
        ),
        ({"": "Include a\n", "a": "Include a\nUsePAM yes\n"}, {"uses_pam": True}),
        ({"": "ChallengeResponseAuthentication no\n"}, {"keyboard_interactive": False}),
        ({"": "AuthorizedKeysFile none\n"}, {"key_files": ()}),
        ({"": "AuthorizedKeysFile /k/%u .k\n"}, {"key_files": ("/k/%u", ".k")}),
        ({"": "AllowUsers a b\nAllowUsers c@h\n"}, {"allow_users": ("a", "b", "c@h")}),
        (
            {"": "AuthenticationMethods publickey,password publickey\n"},
            {"methods": (("publickey", "password"), ("publickey",))},
        ),
    ],
)
def test_what_the_files_make_of_sshd(files: dict[str, str], expected: dict[str, object]) -> None:
    found = server(files)
    assert {name: getattr(found, name) for name in expected} == expected


def test_the_output_of_sshd_is_read_like_a_file() -> None:
    values = sshd_config.dumped(
        "usepam yes\nallowusers a\nallowusers b\nauthenticationmethods any\n"
        "authorizedkeysfile .ssh/authorized_keys /k/%u\n"
    )
    found = sshd_config.server(values)
    assert (found.uses_pam, found.allow_users, found.methods) == (True, ("a", "b"), ())
    assert found.key_files == (".ssh/authorized_keys", "/k/%u")


def test_the_files_of_keys_are_those_of_the_user() -> None:
    found = server({"": "AuthorizedKeysFile .ssh/k %h/k /etc/keys/%u /k/%U/%%u\n"})
    assert sshd_config.key_files(found, "ann", 1000, "/home/ann/") == (
        "/home/ann/.ssh/k",
        "/home/ann//k",
        "/etc/keys/ann",
        "/k/1000/%u",
    )


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        ("", "ssh-rsa ssh-ed25519 ssh-dss"),
        ("PubkeyAcceptedAlgorithms +ssh-dss\n", "ssh-rsa ssh-ed25519 ssh-dss"),
        ("PubkeyAcceptedAlgorithms rsa-sha2-256\n", "ssh-rsa"),
        ("PubkeyAcceptedKeyTypes ssh-*,!ssh-dss\n", "ssh-rsa ssh-ed25519"),
    ],
)
def test_which_types_of_keys_sshd_accepts(config: str, kinds: str) -> None:
    found = server({"": config})
    accepted = [
        kind
        for kind in ("", "ssh-rsa", "ssh-ed25519", "ssh-dss")
        if sshd_config.accepts(found, kind)
    ]
    assert accepted == ["", *kinds.split()]


@pytest.mark.parametrize(
    ("config", "keyword"),
    [
        ("", ""),
        ("DenyUsers bob\nAllowUsers ann\nDenyGroups no\nAllowGroups wheel\n", ""),
        ("DenyUsers a*\n", "DenyUsers"),
        ("DenyUsers ann@10.0.0.1\n", ""),
        ("AllowUsers bob\n", "AllowUsers"),
        ("AllowUsers bob ann@192.0.2.*\n", ""),
        ("AllowUsers * !ann\n", ""),  # each pattern counts for itself
        ("DenyUsers * !ann\n", "DenyUsers"),
        ("DenyUsers ann@*\n", "DenyUsers"),
        ("DenyGroups adm !adm\n", "DenyGroups"),
        ("DenyGroups adm\n", "DenyGroups"),
        ("AllowGroups ssh-users\n", "AllowGroups"),
        ("AllowGroups ssh-* wheel\n", ""),
    ],
)
def test_who_is_kept_out(config: str, keyword: str) -> None:
    groups = ("ann", "adm", "wheel")
    assert sshd_config.refusal(server({"": config}, groups=groups), "ann", groups) == keyword


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("", "", True),
        ("*", "", True),
        ("?", "", False),
        ("a*c", "abbc", True),
        ("a*c", "abcd", False),
        ("*a*b*", "xxaxxbxx", True),
        ("a**", "a", True),
        ("ab", "a", False),
        ("a", "ab", False),
    ],
)
def test_patterns(pattern: str, text: str, fits: bool) -> None:
    assert sshd_config.fits(pattern, text) is fits


def test_without_passwords_pam_does_not_ask_for_one_either() -> None:
    assert sshd_config.password_lines(True) == "PasswordAuthentication yes\n"
    assert sshd_config.settings(sshd_config.password_lines(False).encode()) == [
        ("passwordauthentication", ["no"]),
        ("kbdinteractiveauthentication", ["no"]),
    ]


def test_the_block_goes_to_the_start_and_replaces_an_older_one() -> None:
    first = sshd_config.with_block(b"Port 22\n\xff\n", "A yes\n")
    assert first == b"# azready begin\nA yes\n# azready end\nPort 22\n\xff\n"
    assert sshd_config.with_block(first, "A yes\n") == first
    second = sshd_config.with_block(b"Port 1\n" + first, "A no\n")
    assert second == b"# azready begin\nA no\n# azready end\nPort 1\nPort 22\n\xff\n"


def test_only_the_default_algorithms_may_be_told_besides_what_was_read() -> None:
    read = Server(uses_pam=True)
    assert sshd_config.is_foreseen(read, read)
    assert sshd_config.is_foreseen(read, Server(uses_pam=True, algorithms=("ssh-ed25519",)))
    assert not sshd_config.is_foreseen(read, Server(uses_pam=True, public_keys=False))
    assert not sshd_config.is_foreseen(read, Server())
