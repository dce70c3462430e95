"""Inputs that make a careless parser slow, each in any size; and what counts the work on them.

A cost that grows with the square of the input shows in the instructions of both kinds of code:
callgrind counts those of C (expat, the JSON scanner, memcpy), and lines executed count Python's.
"""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

from agent.errors import AzreadyError
from agent.protocol import goalstate, health, http1, imds, iso9660, kvp, netlink, ovf, udf
from scripts.simulator import media
from scripts.simulator.platform import document
from scripts.simulator.scenario import VM
from tests import udf as maker

Parser = Callable[[bytes], object]
Maker = Callable[[int], bytes]

GOAL_STATE = document("goal-state", VM())
_NAMES = ("ovf-env.xml", "CustomData.bin")
_OVF = b'<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"'
_HEAD = b"HTTP/1.1 200 OK\r\n"


def fed(data: bytes, step: int = 16384) -> object:
    """Read an answer in pieces of `step` bytes, as a socket hands them over."""
    reader = http1.ResponseReader()
    for at in range(0, len(data), step):
        if reader.feed(data[at : at + step]):
            return None
    return reader.end()


def dripped(data: bytes) -> object:
    return fed(data, 1)


def udf_medium(image: bytes) -> object:
    return udf.read_files(_reading(image), len(image), _NAMES)


def iso_medium(image: bytes) -> object:
    return iso9660.read_files(_reading(image), len(image), _NAMES)


def _reading(image: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: image[offset : offset + length]


def _numbered(form: bytes, size: int) -> bytes:
    """As many of `form`, each with another number in it, as fit into `size` bytes."""
    return b"".join(form % number for number in range(size // (len(form) + 2)))


def _in_goal_state(inside: bytes) -> bytes:
    return GOAL_STATE.replace(b"</GoalState>", inside + b"</GoalState>")


def _udf_folder(size: int) -> bytes:
    image = maker.Image(300 + 8 + size // maker.BLOCK)
    image.describe(maker.plain_map(), 1, maker.long(maker.BLOCK, 0))
    image.block(0, image.file_set(0, maker.long(maker.BLOCK, 1)))
    entry = maker.name_entry(2, "", 3)
    names = entry * (size // len(entry))
    image.block(1, maker.file_entry(1, len(names), maker.short(len(names), 2), 0, file_type=4))
    image.block(2, names)
    return bytes(image.data)


def _iso_folder(size: int) -> bytes:
    image = bytearray(media.iso9660({}))
    place = len(image)
    record = struct.pack("<BBI4xI4x7xBBB4xB", 36, 0, 0, 0, 0, 0, 0, 1) + b"ab\0"
    image += (record * 56).ljust(2048, b"\0") * (size // 2048)
    struct.pack_into("<I", image, 16 * 2048 + 156 + 2, place // 2048)
    struct.pack_into("<I", image, 16 * 2048 + 156 + 10, len(image) - place)
    return bytes(image)


def _metadata_extents(size: int) -> bytes:
    """A metadata file of many extents, and a root folder of as many: each read walks through all."""
    many = size // 8
    image = maker.Image(300 + 20 + many)
    rest = struct.pack("<IIIIHB5x", 10, 10, 0xFFFFFFFF, 32, 32, 0)
    image.describe(
        maker.plain_map() + maker.special_map(b"*UDF Metadata Partition", rest),
        2,
        maker.long(maker.BLOCK, 0, 1),
    )
    extents = b"".join(maker.short(maker.BLOCK, 20 + number) for number in range(many))
    image.block(10, maker.file_entry(10, many * maker.BLOCK, extents, 0, file_type=250))
    image.block(20, image.file_set(0, maker.long(maker.BLOCK, 1, 1)))
    last = maker.short(maker.BLOCK, many - 1) * many
    image.block(21, maker.file_entry(1, many * maker.BLOCK, last, 0, file_type=4))
    return bytes(image.data)


def _message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


# name -> (parser, input of about this size, the largest size that is worth trying)
ATTACKS: "dict[str, tuple[Parser, Maker, int]]" = {
    "elements below a long name space": (
        ovf.parse,
        lambda size: _OVF + b' xmlns:p="' + b"u" * (size // 2) + b'">' + b"<p:a/>" * (size // 12),
        1 << 20,
    ),
    "attributes in a long name space": (
        ovf.parse,
        lambda size: (
            _OVF
            + b' xmlns:p="'
            + b"u" * (size // 2)
            + b'" '
            + _numbered(b'p:a%d="" ', size // 2)
            + b"/>"
        ),
        1 << 20,
    ),
    "elements below a long name": (
        ovf.parse,
        lambda size: (
            b'<o:Environment xmlns:o="http://schemas.dmtf.org/ovf/environment/1"><'
            + b"a" * (size // 2)
            + b">"
            + b"<b/>" * (size // 8)
        ),
        1 << 20,
    ),
    "names of 16000 characters": (
        ovf.parse,
        lambda size: _OVF + b">" + (b"<" + b"a" * 16000 + b"/>") * (size // 16003),
        1 << 20,
    ),
    "attributes in the longest name space": (
        ovf.parse,
        lambda size: (
            _OVF
            + b' xmlns:p="'
            + b"u" * 250
            + b'">'
            + (b"<a " + _numbered(b'p:a%d="" ', 1000) + b"/>") * (size // 1000)
        ),
        1 << 18,
    ),
    "elements below the longest names": (
        ovf.parse,
        lambda size: _OVF + b">" + (b"<" + b"a" * 256 + b">") * 60 + b"<b/>" * (size // 4),
        1 << 16,
    ),
    "a tag that does not end": (ovf.parse, lambda size: _OVF + b' a="' + b"x" * size, 1 << 20),
    "a comment that does not end": (ovf.parse, lambda size: _OVF + b"><!--" + b"x" * size, 1 << 20),
    "different attributes": (
        ovf.parse,
        lambda size: _OVF + b" " + _numbered(b'a%d="" ', size) + b"/>",
        1 << 20,
    ),
    "declarations of name spaces": (
        ovf.parse,
        lambda size: _OVF + b" " + _numbered(b'xmlns:a%d="u" ', size) + b"/>",
        1 << 20,
    ),
    "a goal state of many elements": (
        goalstate.parse,
        lambda size: _in_goal_state(_numbered(b"<a%d/>", size)),
        1 << 16,
    ),
    "a goal state of many role instances": (
        goalstate.parse,
        lambda size: GOAL_STATE.replace(b"<RoleInstance>", b"<RoleInstance/>" * (size // 15), 1),
        1 << 16,
    ),
    "a goal state of deep trees": (
        goalstate.parse,
        lambda size: _in_goal_state((b"<a>" * 60 + b"</a>" * 60) * (size // 420)),
        1 << 16,
    ),
    "a text of small pieces": (
        goalstate.parse,
        lambda size: _in_goal_state(
            b"<Incarnation>" + b"a<!---->" * (size // 8) + b"</Incarnation>"
        ),
        1 << 16,
    ),
    "a text of references": (
        goalstate.parse,
        lambda size: _in_goal_state(b"<Incarnation>" + b"&#97;" * (size // 5) + b"</Incarnation>"),
        1 << 16,
    ),
    "objects in objects": (imds.parse, lambda size: b'{"a":' * (size // 5), 1 << 20),
    "arrays in arrays": (imds.parse, lambda size: b"[" * size, 1 << 20),
    "different keys": (imds.parse, lambda size: b"{" + _numbered(b'"a%d":0,', size), 1 << 20),
    "one key again and again": (imds.parse, lambda size: b"{" + b'"a":0,' * (size // 6), 1 << 20),
    "a huge integer": (imds.parse, lambda size: b'{"a":' + b"9" * size + b"}", 1 << 20),
    "large integers": (
        imds.parse,
        lambda size: b'{"a":[' + (b"9" * 4000 + b",") * (size // 4001) + b"0]}",
        1 << 19,
    ),
    "a huge fraction": (imds.parse, lambda size: b'{"a":0.' + b"9" * size + b"}", 1 << 20),
    "a text of escapes": (
        imds.parse,
        lambda size: b'{"a":"' + b"\\u0041" * (size // 6) + b'"}',
        1 << 20,
    ),
    "as many keys as are allowed": (
        imds.parse,
        lambda size: b"{" + _numbered(b'"a%d":0,', min(size, 1 << 16)) + b'"a":0}',
        1 << 17,
    ),
    "SSH keys of nothing": (
        imds.parse,
        lambda size: b'{"compute":{"publicKeys":[' + b"{}," * (size // 3) + b"{}]}}",
        1 << 20,
    ),
    "headers of one name": (fed, lambda size: _HEAD + b"a:\n" * (size // 3) + b"\n", 1 << 16),
    "different headers": (fed, lambda size: _HEAD + _numbered(b"a%d:\n", size) + b"\n", 1 << 16),
    "a header that drips": (dripped, lambda size: _HEAD + b"a:" + b"x" * size, 1 << 14),
    "answers before the answer": (
        fed,
        lambda size: b"HTTP/1.1 100 \n\n" * (size // 15) + _HEAD + b"\n",
        1 << 16,
    ),
    "chunks of one byte": (
        fed,
        lambda size: _HEAD + b"Transfer-Encoding: chunked\n\n" + b"1\nx\n" * (size // 4) + b"0\n\n",
        1 << 15,
    ),
    "a body that drips": (
        dripped,
        lambda size: _HEAD + b"Content-Length: %d\n\n" % size + b"x" * size,
        1 << 14,
    ),
    "small netlink messages": (
        netlink.parse,
        lambda size: struct.pack("=IHHII", 16, 1, 0, 1, 0) * (size // 16),
        1 << 16,
    ),
    "small netlink attributes": (
        netlink.parse,
        lambda size: _message(24, bytes(12) + struct.pack("=HH", 4, 1) * (size // 4)),
        1 << 16,
    ),
    "a large pool": (kvp.parse, lambda size: kvp.record("a", "b") * (size // 2560), 1 << 20),
    "a description to escape": (
        lambda data: health.escape(data.decode()),
        lambda size: b"&\1" * (size // 2),
        1 << 14,
    ),
    "a large folder of UDF": (udf_medium, _udf_folder, 1 << 17),
    "a metadata file of many extents": (udf_medium, _metadata_extents, 1 << 10),
    "a large folder of ISO 9660": (iso_medium, _iso_folder, 1 << 18),
}


PARSERS = list(dict.fromkeys(parse for parse, _, _ in ATTACKS.values()))


def work(parse: Parser, data: bytes) -> "str | None":
    """Parse, and return our own error; every other exception is one of the test."""
    try:
        parse(data)
    except AzreadyError as error:
        return str(error)
    return None


def lines(parse: Parser, data: bytes) -> int:
    """Return how many lines of Python are executed by parsing `data`."""
    count = 0

    def trace(_: object, event: str, __: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]  # a trace function may be any callable
    try:
        work(parse, data)
    finally:
        sys.settrace(before)
    return count


def instructions(inputs: "Sequence[tuple[Parser, bytes]]") -> "list[int]":
    """Return the instructions that each parser, one of ATTACKS, needs for its input, by callgrind.

    All run in one process; it marks the places between two of them by calling umask(2).
    """
    with tempfile.TemporaryDirectory() as folder:
        for number, (_, data) in enumerate(inputs):
            pathlib.Path(folder, f"in.{number}").write_bytes(data)
        out = f"{folder}/out"
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        parsers = [PARSERS.index(parse) for parse, _ in inputs]
        program = f"from tests import attacks; attacks.run({folder!r}, {parsers})"
        subprocess.run(
            [*words, "--dump-before=umask", sys.executable, "-c", program],
            check=True,
            capture_output=True,
            cwd=pathlib.Path(__file__).parents[1],
            env={"PYTHONHASHSEED": "0", "PYTHONPATH": "."},
        )
        # A dump ends before each call, so every second one is that of a run.
        return [_total(f"{out}.{2 + 2 * number}") for number in range(len(inputs))]


def run(folder: str, parsers: "list[int]") -> None:
    """Parse each input in `folder` by its one of PARSERS, between two calls of umask(2)."""
    for number, parser in enumerate(parsers):
        work(PARSERS[parser], b"")  # what happens only once, such as an import
        data = pathlib.Path(folder, f"in.{number}").read_bytes()
        os.umask(0o22)
        work(PARSERS[parser], data)
        os.umask(0o22)


def _total(path: str) -> int:
    with open(path) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("totals:"))
