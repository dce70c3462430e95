"""No input makes a parser's work grow faster than the input: instructions and lines are counted, not seconds."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import attacks

# A linear cost doubles; a quadratic one is four times as large. What is between is rounding.
MOST = 2.3
FIXED_INSTRUCTIONS, FIXED_LINES = 2_000_000, 1_000
# What an answer of the largest size may cost in all: about a second of a slow processor.
CEILING = 1_200_000_000


@given(st.sampled_from(sorted(attacks.ATTACKS)), st.integers(64, 1536))
@settings(max_examples=100)
def test_twice_the_input_is_at_most_twice_the_lines_of_python(name: str, size: int) -> None:
    parse, make, _ = attacks.ATTACKS[name]
    once, twice = (attacks.lines(parse, make(one)) for one in (size, 2 * size))
    assert twice <= MOST * once + FIXED_LINES


@pytest.mark.skipif(
    shutil.which("valgrind") is None,
    reason="valgrind is not installed (scripts/test installs it where it can)",
)
def test_twice_the_input_is_at_most_twice_the_instructions_up_to_the_caps() -> None:
    # A little less than the caps, which some of them would exceed otherwise.
    sizes = {name: (top * 7 // 16, top * 7 // 8) for name, (_, _, top) in attacks.ATTACKS.items()}
    counted = attacks.instructions(sizes)
    grown = {
        name: (once, twice)
        for name, (once, twice) in counted.items()
        if twice > MOST * once + FIXED_INSTRUCTIONS or twice > CEILING
    }
    assert grown == {}


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_every_attack_ends_in_a_value_or_one_short_line(name: str) -> None:
    parse, make, top = attacks.ATTACKS[name]
    said = attacks.work(parse, make(top * 7 // 8))
    assert said is None or (said.isprintable() and len(said) < 300)
