"""The allocator of the static file (build/snapshot/heap.c), against what malloc(3) promises.

It is compiled under other names into a program (heap.c here) that carries out calls and checks the
contents of all blocks; where the blocks are is compared with a reference.
"""

import functools
import pathlib
import re
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from build import toolchain, zig
from build.cache import key, made
from build.snapshot.make import HERE

FUNCTIONS = ("malloc", "calloc", "realloc", "free", "aligned_alloc", "malloc_usable_size")
ENOMEM, EINVAL = 12, 22
LIMIT = 256 << 20
ARENA = 16 << 20

Call = tuple[str, int, int]


@functools.cache
def program() -> pathlib.Path:
    """The harness, compiled for this machine."""
    compiler = [str(zig.tools(toolchain.native()) / "cc"), "-O2", "-static", f"-I{HERE}"]
    renamed = [f"-D{name}=heap_{name}" for name in (*FUNCTIONS, "pthread_create")]
    sources = [HERE / "heap.h", HERE / "heap.c", pathlib.Path(__file__).with_name("heap.c")]

    def build(place: pathlib.Path) -> None:
        heap = str(place / "heap")
        for words in (
            [*compiler, *renamed, "-c", f"{HERE}/heap.c", "-o", f"{heap}.o"],
            [*compiler, str(sources[-1]), f"{heap}.o", "-o", heap],
        ):
            subprocess.run(words, env=zig.environment(), check=True)

    return made("test-heap", key(*compiler, *renamed, *sources), build) / "heap"


def carry_out(calls: "list[Call]") -> "subprocess.CompletedProcess[str]":
    lines = "".join(f"{what} {slot} {size}\n" for what, slot, size in calls)
    return subprocess.run([program()], input=lines, capture_output=True, text=True, timeout=60)


def check(calls: "list[Call]") -> None:
    """Compare with the reference: every block has its size, its place to itself, and alignment."""
    done = carry_out(calls)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    *answers, last = done.stdout.splitlines()
    assert last == "intact"
    blocks: dict[int, tuple[int, int]] = {}
    sealed = range(0)
    for (what, slot, size), answer in zip(calls, answers, strict=True):
        address, has, *_ = map(int, answer.split())
        if what == "s":
            sealed = range(address, has)
            continue
        before = blocks.get(slot)
        if what == "f":
            blocks.pop(slot, None)
        elif address == 0:
            assert has == ENOMEM
            assert size > LIMIT - sum(size for _, size in blocks.values()) - ARENA or not sealed
            if what != "r":
                blocks.pop(slot, None)
        else:
            assert address % 16 == 0
            assert has >= size
            for other, (start, length) in blocks.items():
                assert other == slot or address + has <= start or start + length <= address
            if sealed and (before is None or before[0] != address):
                assert address not in sealed, "a page of the snapshot would be copied"
            blocks[slot] = (address, has)


SIZES = st.one_of(
    st.integers(0, 600),
    st.sampled_from([511, 512, 513, 1007, 1008, 1009, 1016, 1017, 4096, 131071, 131072, 131073]),
    st.integers(0, 300_000),
    st.integers(0, 12).map(lambda power: (1 << power * 5) - 9 if power else 0),
)
CALLS = st.lists(
    st.tuples(st.sampled_from("mmmcrrf"), st.integers(0, 40), SIZES), min_size=1, max_size=120
)


def without_leaks(calls: "list[Call]") -> "list[Call]":
    """The same calls, but no block is forgotten: another in its slot resizes it instead."""
    used: set[int] = set()
    result = []
    for what, slot, size in calls:
        kind = "r" if what in "mc" and slot in used else what
        (used.discard if what == "f" else used.add)(slot)
        result.append((kind, slot, size))
    return result


@given(CALLS, CALLS)
@example([("m", 0, 1 << 40)], [("m", 0, 1 << 40), ("r", 1, (1 << 64) - 1)])
@example([("m", 0, ARENA - 64), ("m", 1, 100)], [("m", 2, LIMIT), ("m", 3, LIMIT // 2)])
def test_blocks_are_where_they_may_be_and_keep_what_is_in_them(
    built: "list[Call]", started: "list[Call]"
) -> None:
    check(without_leaks([*built, ("s", 0, 0), *started]))


def test_a_process_holds_no_more_than_the_limit() -> None:
    """In mappings, in chunks, and by growing."""
    for size in (1 << 20, 100_000):
        done = carry_out([("s", 0, 0), *[("m", at % 256, size) for at in range(LIMIT // size + 1)]])
        assert f"0 {ENOMEM}" in done.stdout.splitlines()
    done = carry_out([("s", 0, 0), ("m", 0, 200_000), ("r", 0, LIMIT - 1000), ("r", 0, 1000)])
    first, grown, shrunk = done.stdout.splitlines()[1:4]
    assert not first.startswith("0 ")
    assert grown == f"0 {ENOMEM}"
    assert not shrunk.startswith("0 ")


def test_what_is_freed_is_used_again() -> None:
    """A loop may run for as long as it likes."""
    for seal in ([], [("s", 0, 0)]):
        for size in (24, 700, 5000, 1 << 20):
            calls: list[Call] = [*seal]
            for at in range(2000):
                calls += [("m", at % 7, size), ("f", at % 7, 0)]
            lines = carry_out(calls).stdout.splitlines()[len(seal) : -1]
            assert f"0 {ENOMEM}" not in lines
            assert size == 1 << 20 or len(set(lines) - {"0 0"}) == 1


def test_neighbouring_holes_are_joined_while_the_file_is_built() -> None:
    calls: list[Call] = [("m", at, 3000) for at in range(8)]
    calls += [("f", at, 0) for at in (0, 2, 1, 5, 4, 3)]
    before = int(carry_out(calls).stdout.split()[0])
    assert int(carry_out([*calls, ("m", 9, 17_000)]).stdout.splitlines()[-2].split()[0]) == before


def test_what_is_sealed_holds_no_remnant() -> None:
    """Of what was freed, nothing gets into the file."""
    calls: list[Call] = [("m", at, 100 + at * 40) for at in range(100)]
    calls += [("f", at, 0) for at in range(100)]
    assert carry_out([*calls, ("s", 0, 0)]).stdout.splitlines()[-2].split()[2] == "0"


@pytest.mark.parametrize("size", [10, 5000, 1 << 20])
def test_a_block_that_is_given_back_twice_ends_the_process_with_one_line(size: int) -> None:
    done = carry_out([("s", 0, 0), ("m", 1, size), ("d", 1, 0), ("d", 1, 0)])
    assert done.returncode != 0
    if size < 1 << 17:  # a mapping is gone by then
        assert done.returncode == 1
        assert re.fullmatch(r"azready: error: memory is damaged: .+\n", done.stderr)


def test_no_alignment_beyond_16_is_promised() -> None:
    assert carry_out([("a", 100, 0)]).stdout.splitlines()[0] == f"0 {EINVAL}"
