"""Account files, keys and authorized_keys: an edit changes what it is about.

Nothing else changes, whatever else the file holds.
"""

import base64
import struct

from hypothesis import given
from hypothesis import strategies as st

from agent.formats import accounts, authorized_keys

LINE = st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))
FILE = st.lists(LINE, max_size=8).map(b"\n".join)
NAME = st.from_regex(r"[a-z_][a-z0-9_.-]{0,8}", fullmatch=True)
FIELD = st.from_regex(r"[a-z0-9/ !*$]{0,6}", fullmatch=True)
ENTRY = st.tuples(NAME, st.lists(FIELD, min_size=3, max_size=8)).map(
    lambda pair: [pair[0], *pair[1]]
)
GROUPS = st.lists(st.tuples(NAME, st.lists(NAME, max_size=3)), max_size=5)


def lines(content: bytes) -> list[bytes]:
    return content.removesuffix(b"\n").split(b"\n") if content else []


@given(FILE, ENTRY)
def test_adding_an_entry_keeps_every_other_line(content: bytes, entry: list[str]) -> None:
    after = accounts.with_entry(content, entry)
    assert accounts.entry(after, entry[0]) == entry
    new = ":".join(entry).encode()
    before, now = lines(content), lines(after)
    if accounts.entry(content, entry[0]):
        assert len(before) == len(now)
        assert sum(old != line for old, line in zip(before, now, strict=True)) <= 1
    else:
        at = now.index(new)
        assert now[:at] + now[at + 1 :] == before
        assert not any(line[:1] in (b"+", b"-") for line in now[:at])
    assert after.endswith(b"\n")


@given(FILE, ENTRY)
def test_an_entry_that_is_there_as_it_is_changes_nothing_twice(
    content: bytes, entry: list[str]
) -> None:
    once = accounts.with_entry(content, entry)
    assert accounts.with_entry(once, entry) == once


@given(FILE, ENTRY)
def test_removing_what_was_added_gives_back_the_lines(content: bytes, entry: list[str]) -> None:
    if accounts.entry(content, entry[0]):
        return
    assert lines(accounts.without_entry(accounts.with_entry(content, entry), entry[0])) == lines(
        content
    )


@given(GROUPS, FILE, NAME, NAME)
def test_membership_touches_one_line(
    groups: list[tuple[str, list[str]]], junk: bytes, group: str, member: str
) -> None:
    text = (
        b"".join(
            f"{name}:x:{number}:{','.join(members)}\n".encode()
            for number, (name, members) in enumerate(groups)
        )
        + junk
    )
    after = accounts.with_member(text, group, member)
    before, now = lines(text), lines(after)
    assert len(before) == len(now)
    assert sum(old != line for old, line in zip(before, now, strict=True)) <= 1
    if len(accounts.entry(text, group)) >= 4:
        assert group in accounts.groups_of(after, member)
        assert accounts.with_member(after, group, member) == after


@given(FILE)
def test_no_file_is_too_strange_to_be_read(content: bytes) -> None:
    for fields in accounts.entries(content):
        assert accounts.number(fields, 2) >= -1
    accounts.groups_of(content, "x")
    assert lines(accounts.without_member(content, "no such member")) == lines(content)


def blob(kind: str, *fields: bytes) -> str:
    return base64.b64encode(
        b"".join(struct.pack(">I", len(field)) + field for field in (kind.encode(), *fields))
    ).decode()


MPINT = st.binary(min_size=1, max_size=40).filter(lambda number: number[0] < 0x80)
KEY = st.one_of(
    st.tuples(st.just("ssh-rsa"), st.tuples(MPINT, MPINT)),
    st.tuples(st.just("ssh-ed25519"), st.tuples(st.binary(min_size=32, max_size=32))),
    st.tuples(
        st.just("ecdsa-sha2-nistp256"),
        st.tuples(st.just(b"nistp256"), st.binary(min_size=65, max_size=65)),
    ),
)


@given(KEY, st.data())
def test_line_breaks_inside_the_base64_are_repaired(
    key: tuple[str, tuple[bytes, ...]], data: st.DataObject
) -> None:
    kind, fields = key
    text = blob(kind, *fields)
    broken = text
    for at in sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=4)), reverse=True):
        broken = broken[:at] + data.draw(st.sampled_from(["\r\n", "\n", "\r"])) + broken[at:]
    (parsed,) = authorized_keys.parse(f"\r\n{kind} {broken} me@host\r\n")
    assert (parsed.kind, parsed.blob, parsed.comment) == (kind, text, "me@host")


@given(KEY, st.data())
def test_a_key_whose_lengths_do_not_agree_is_refused(
    key: tuple[str, tuple[bytes, ...]], data: st.DataObject
) -> None:
    kind, fields = key
    raw = base64.b64decode(blob(kind, *fields))
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    try:
        authorized_keys.parse(f"{kind} {base64.b64encode(cut).decode()}")
    except authorized_keys.KeyRefused:
        return
    raise AssertionError("a key that was cut short passed")


@given(st.text())
def test_any_text_is_keys_or_refused(text: str) -> None:
    try:
        keys = authorized_keys.parse(text)
    except authorized_keys.KeyRefused as error:
        assert "\n" not in str(error)
        return
    for key in keys:
        assert str(key).isprintable()


@given(FILE, st.lists(KEY, max_size=3))
def test_merging_keys_loses_nothing_and_repeats_nothing(
    content: bytes, given_keys: list[tuple[str, tuple[bytes, ...]]]
) -> None:
    keys = [authorized_keys.Key(kind, blob(kind, *fields), "c") for kind, fields in given_keys]
    after = authorized_keys.merged(content, keys)
    assert after.startswith(content)
    assert authorized_keys.merged(after, keys) == after
    for key in keys:
        assert sum(key.blob in line.split() for line in after.decode("latin-1").split("\n")) >= 1
