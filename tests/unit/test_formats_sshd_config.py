"""sshd_config: drop-ins, PAM and the block of azready."""

import pytest

from agent.formats import sshd_config


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        (b"Port 22", [("port", ["22"])]),
        (b"  UsePAM = yes # always", [("usepam", ["yes"])]),
        (b'Include "a" b', [("include", ["a", "b"])]),
        (b"UsePAM", [("usepam", [])]),
        (b"# Port 22", []),
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


@pytest.mark.parametrize(
    ("contents", "uses"),
    [
        ([b"UsePAM yes\n"], True),
        ([b"usepam=YES\n"], True),
        ([b"UsePAM no\n", b"UsePAM yes\n"], False),
        ([b"Port 22\n", b"UsePAM yes\nUsePAM no\n"], True),
        ([b"UsePAM\nUsePAM yes\n"], True),
        ([b"Match User ann\nUsePAM yes\n"], False),
        ([b"Match User ann\nUsePAM no\n", b"UsePAM yes\n"], True),
        ([b"#UsePAM yes\n"], False),
        ([], False),
    ],
)
def test_the_first_value_of_use_pam_wins(contents: list[bytes], uses: bool) -> None:
    assert sshd_config.uses_pam(contents) is uses


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
