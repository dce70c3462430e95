"""passwd and its kin: names, ids, entries and members."""

import pytest

from agent.errors import GuestError
from agent.formats import accounts
from agent.formats.accounts import Account

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n"
GROUP = b"root:x:0:\nsudo:x:27:ann\nann:x:1000:\ntaken:x:1001:\nbroken:x::\n"
SETTINGS = accounts.login_settings(b"")


@pytest.mark.parametrize("name", ["azureuser", "Admin", "a.b-c_d", "x" * 32, "_", "a1"])
def test_names_that_are_allowed(name: str) -> None:
    assert accounts.refusal(name) == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty"),
        ("root", "root must not be the login user"),
        ("a:b", "it contains ':'; only letters"),
        ("a\nb", "it contains '\\n'"),
        ("a b", "it contains ' '"),
        ("a/b", "it contains '/'"),
        ("é", "it contains 'é'"),
        ("a\0", "it contains '\\x00'"),
        ("-rf", "it starts with '-'"),
        (".", "it would be read as a path or a number"),
        ("..", "it would be read as a path or a number"),
        ("1000", "it would be read as a path or a number"),
        ("x" * 33, "it is longer than 32 bytes"),
        ("é" * 17, "it is longer than 32 bytes"),
        ("%sudo", "it contains '%'"),
        ("ALL,b", "it contains ','"),
    ],
)
def test_names_that_are_refused_say_why(name: str, why: str) -> None:
    assert accounts.refusal(name).startswith(why)


def test_a_passwd_line_is_an_account() -> None:
    fields = accounts.entry(PASSWD, "ann")
    assert accounts.account(fields) == Account("ann", 1000, 1000, "/home/ann", "/bin/sh")


def test_a_short_passwd_line_is_an_account_with_empty_fields() -> None:
    assert accounts.account(["ann", "x", "1000"]) == Account("ann", 1000, -1, "", "")


def test_defaults_of_the_shadow_tools_fill_in_for_login_defs() -> None:
    assert accounts.login_settings(b"UID_MIN\t\t5000\nHOME_MODE 0750\n") == {
        "UID_MIN": 5000,
        "UID_MAX": 60000,
        "PASS_MIN_DAYS": 0,
        "PASS_MAX_DAYS": 99999,
        "PASS_WARN_AGE": 7,
        "HOME_MODE": 0o750,
    }


@pytest.mark.parametrize(
    "line", [b"# UID_MIN 1", b"UID_MIN", b"UID_MIN junk", b"HOME_MODE 0999", b"UMASK 022", b"\xff"]
)
def test_lines_that_set_nothing_are_ignored(line: bytes) -> None:
    assert accounts.login_settings(line + b"\n") == accounts.login_settings(b"")


def test_a_new_account_gets_the_first_number_that_is_free_as_both() -> None:
    assert accounts.free_ids(PASSWD, GROUP, [], SETTINGS) == (1002, 1002)


@pytest.mark.parametrize(
    ("gid", "ids"),
    [
        ("1001", (1001, 1001)),
        ("1000", (1001, 1000)),  # ann has that uid
        ("27", (1001, 27)),  # not in the range of users
    ],
)
def test_an_existing_group_of_the_name_gives_the_gid(gid: str, ids: tuple[int, int]) -> None:
    assert accounts.free_ids(PASSWD, GROUP, ["bob", "x", gid, ""], SETTINGS) == ids


def test_a_group_without_a_number_is_an_error() -> None:
    with pytest.raises(GuestError, match="the group broken has no number in /etc/group"):
        accounts.free_ids(PASSWD, GROUP, accounts.entry(GROUP, "broken"), SETTINGS)


def test_a_full_range_is_an_error() -> None:
    settings = SETTINGS | {"UID_MIN": 1000, "UID_MAX": 1001}
    with pytest.raises(GuestError, match="no user id from 1000 to 1001 is free"):
        accounts.free_ids(PASSWD, GROUP, [], settings)


def test_the_first_entry_of_a_name_counts() -> None:
    assert accounts.entry(b"a:1\na:2\n", "a") == ["a", "1"]
    assert accounts.with_entry(b"a:1\na:2\n", ["a", "3"]) == b"a:3\na:2\n"
    assert accounts.entry(b"#a:1\n+a:1\n-a:1\n", "a") == []


@pytest.mark.parametrize(
    ("content", "after"),
    [
        (b"", b"a:1\n"),
        (b"b:1", b"b:1\na:1\n"),
        (b"b:1\n+::\n-c:\n", b"b:1\na:1\n+::\n-c:\n"),
        (b"b:1\n# end\n", b"b:1\n# end\na:1\n"),
    ],
)
def test_a_new_entry_goes_to_the_end_before_the_lines_of_nis(content: bytes, after: bytes) -> None:
    assert accounts.with_entry(content, ["a", "1"]) == after


def test_a_file_without_the_entry_stays_byte_for_byte() -> None:
    assert accounts.without_entry(b"b:1", "a") == b"b:1"
    assert accounts.without_entry(b"b:1\na:1\nc:1", "a") == b"b:1\nc:1\n"


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("sudo", b"sudo:x:27:ann,bob\n"),
        ("taken", b"taken:x:1001:bob\n"),
    ],
)
def test_a_member_joins_the_others(group: str, line: bytes) -> None:
    assert line in accounts.with_member(GROUP, group, "bob")


@pytest.mark.parametrize(("group", "member"), [("sudo", "ann"), ("wheel", "ann")])
def test_members_and_missing_groups_change_nothing(group: str, member: str) -> None:
    assert accounts.with_member(GROUP, group, member) == GROUP


def test_a_group_line_that_is_too_short_is_left_alone() -> None:
    assert accounts.with_member(b"odd:x:5\n", "odd", "ann") == b"odd:x:5\n"
    assert accounts.groups_of(b"odd:x:5\n", "ann") == []


def test_a_member_leaves_every_group() -> None:
    content = b"a:x:1:ann,bob\nb:x:2:ann\nc:x:3:bob\n"
    assert accounts.groups_of(content, "ann") == ["a", "b"]
    assert accounts.without_member(content, "ann") == b"a:x:1:bob\nb:x:2:\nc:x:3:bob\n"


@pytest.mark.parametrize("text", ["", "x", "-1", "\u0661", "1" * 11])
def test_a_field_that_is_not_a_number_is_minus_one(text: str) -> None:
    assert accounts.number(["a", text], 1) == -1
    assert accounts.number(["a"], 1) == -1
    assert accounts.number(["a", "12"], 1) == 12
