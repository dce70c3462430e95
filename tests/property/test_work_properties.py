"""No input makes a parser's work grow faster than the input: instructions and lines are counted, not seconds."""

import pathlib
import platform
import shutil
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protocol import goalstate, http1, imds, ovf
from scripts.tasks import figures
from tests import attacks

# A linear cost doubles; a quadratic one is four times as large. What is between is rounding.
MOST = 2.3
FIXED_INSTRUCTIONS, FIXED_LINES = 2_000_000, 1_000
# What an answer of the largest size may cost in all: about a second of a slow processor.
CEILING = 1_200_000_000

needs_callgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None,
    reason="valgrind is not installed (scripts/test installs it where it can)",
)

# Parser -> how its documents begin, of what they may consist, and the cap on their size.
LANGUAGES: "dict[attacks.Parser, tuple[list[bytes], list[bytes], int]]" = {
    parse: (
        [
            b"<GoalState>",
            b'<GoalState xmlns:p="u">',
            b"<GoalState xmlns:p='" + b"u" * 200 + b"'><a ",
        ],
        [
            *(
                b"<a>",
                b"</a>",
                b"<p:b>",
                b"</p:b>",
                b"<c/>",
                b'<d e=""/>',
                b"<",
                b">",
                b"'",
                b"&lt;",
            ),
            *(b"<!--", b"-->", b"<?f?>", b"<![CDATA[", b"]]>", b"text ", b"\n", b"\xc3\xa4"),
            *(
                b' p:g="" ',
                b' xmlns:p="u"',
                b"<RoleInstance>",
                b"<Incarnation>",
                b"<p:" + b"h" * 200,
            ),
        ],
        size,
    )
    for parse, size in ((goalstate.parse, goalstate.MAX_SIZE), (ovf.parse, 1 << 18))
} | {
    imds.parse: (
        [b"", b"{", b"[", b'"', b'{"compute":{"publicKeys":[', b'{"compute":'],
        [
            *(b"{", b"}", b"[", b"]", b":", b",", b'"a"', b'"b":', b'"', b"\\u0041", b"\\", b"\n"),
            *(b"1", b"9" * 200, b"-", b"0.", b"1e9", b"true", b"null", b"\xc3\xa4", b" ", b"{},"),
        ],
        1 << 18,
    ),
    attacks.fed: (
        [b"", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n"],
        [
            *(b"\n", b"\r\n", b"a", b"a:", b"b: c\n", b"1\nx\n", b"0\n", b";", b" ", b"\t"),
            *(b"HTTP/1.1 100 \n", b"HTTP/1.1 200 OK\n", b"ff\n" + b"x" * 255 + b"\n"),
        ],
        1 << 16,
    ),
}


@st.composite
def repeated(draw: st.DrawFn) -> "tuple[attacks.Parser, bytes, bytes, int]":
    """A parser, a start, a unit to repeat, and the cap on the size of the whole."""
    parse = draw(st.sampled_from(list(LANGUAGES)))
    starts, words, most = LANGUAGES[parse]
    unit = b"".join(draw(st.lists(st.sampled_from(words), min_size=1, max_size=4)))
    return parse, draw(st.sampled_from(starts)), unit, most


def sized(start: bytes, unit: bytes, size: int) -> bytes:
    return start + unit * (max(0, size - len(start)) // len(unit))


@given(st.sampled_from(sorted(attacks.ATTACKS)), st.integers(64, 1536))
@settings(max_examples=100)
def test_twice_the_input_is_at_most_twice_the_lines_of_python(name: str, size: int) -> None:
    parse, make, _ = attacks.ATTACKS[name]
    once, twice = (attacks.lines(parse, make(one)) for one in (size, 2 * size))
    assert twice <= MOST * once + FIXED_LINES


@given(repeated(), st.integers(512, 8192))
@settings(max_examples=200)
def test_twice_of_anything_is_at_most_twice_the_lines_of_python(
    one: "tuple[attacks.Parser, bytes, bytes, int]", size: int
) -> None:
    parse, start, unit, _ = one
    once, twice = (attacks.lines(parse, sized(start, unit, most)) for most in (size, 2 * size))
    assert twice <= MOST * once + FIXED_LINES


def check_instructions(pairs: "list[tuple[attacks.Parser, bytes, bytes]]") -> None:
    """The second input of each is twice as long as the first."""
    counted = attacks.instructions([(parse, data) for parse, *both in pairs for data in both])
    for (parse, half, _), (once, twice) in zip(
        pairs, zip(counted[::2], counted[1::2], strict=True), strict=True
    ):
        assert twice <= MOST * once + FIXED_INSTRUCTIONS, (parse, half[:300], once, twice)
        assert twice <= CEILING, (parse, half[:300], twice)


@needs_callgrind
def test_twice_the_input_is_at_most_twice_the_instructions_up_to_the_caps() -> None:
    # A little less than the caps, which some of them would exceed otherwise.
    check_instructions(
        [
            (parse, make(top * 7 // 16), make(top * 7 // 8))
            for parse, make, top in attacks.ATTACKS.values()
        ]
    )


# Makes that many strings of one hash, which is field 4 of PyASCIIObject, and keys of them twice: the
# JSON scanner has a table of all keys, and each object has one.
COLLIDING = """
import ctypes, sys
count, tables = map(int, sys.argv[1:])
names = ["k%07d" % number for number in range(count)]
for name in names:
    ctypes.c_ssize_t.from_address(id(name) + 24).value = 1
for _ in range(tables):
    table = {}
    for name in names:
        table.setdefault(name, name)
"""


@needs_callgrind
def test_even_if_all_keys_had_one_hash_a_document_is_no_burden(tmp_path: pathlib.Path) -> None:
    """The key of the hash can be read in the static file."""
    (tmp_path / "colliding.py").write_text(COLLIDING)
    program = [sys.executable, "-I", "-S", str(tmp_path / "colliding.py"), str(imds.MAX_PARTS)]
    none, two = (
        figures.instructions([*program, str(tables)], platform.machine()) for tables in (0, 2)
    )
    assert 1_000_000_000 < two - none < 2_000_000_000
    headers = http1.MAX_HEADERS**2 / imds.MAX_PARTS**2 * (two - none)
    assert headers < 2_000_000


@needs_callgrind
@given(st.lists(repeated(), min_size=6, max_size=6))
@settings(max_examples=3)
def test_twice_of_anything_is_at_most_twice_the_instructions_up_to_the_caps(
    some: "list[tuple[attacks.Parser, bytes, bytes, int]]",
) -> None:
    check_instructions(
        [
            (parse, sized(start, unit, most // 2), sized(start, unit, most))
            for parse, start, unit, most in some
        ]
    )


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_every_attack_ends_in_a_value_or_one_short_line(name: str) -> None:
    parse, make, top = attacks.ATTACKS[name]
    said = attacks.work(parse, make(top * 7 // 8))
    assert said is None or (said.isprintable() and len(said) < 300)
