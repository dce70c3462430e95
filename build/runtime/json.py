"""Replaces json and json.decoder inside the static file: its error, and dumps() with an indent.

The standard package compiles regular expressions and imports all codecs. `_json`, which does the
work, takes the error from json.decoder.
"""

import sys

from _json import encode_basestring_ascii


class JSONDecodeError(ValueError):
    """A document is not JSON: `msg` says why, `pos` where in `doc`, also as line and column."""

    def __init__(self, msg, doc, pos):
        self.msg, self.doc, self.pos = msg, doc, pos
        self.lineno = doc.count("\n", 0, pos) + 1
        self.colno = pos - doc.rfind("\n", 0, pos)
        super().__init__(f"{msg}: line {self.lineno} column {self.colno} (char {pos})")


_CONSTANTS = {None: "null", True: "true", False: "false"}


def dumps(value, *, indent):
    """Return a document of dict, list, tuple, str, int, bool and None, as the standard one does."""
    return _text(value, " " * indent, "\n")


def _text(value, step, start):
    inner = start + step
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, dict):
        rows = [
            f"{encode_basestring_ascii(name)}: {_text(item, step, inner)}"
            for name, item in value.items()
        ]
        return "{" + inner + f",{inner}".join(rows) + start + "}" if rows else "{}"
    if isinstance(value, (list, tuple)):
        rows = [_text(item, step, inner) for item in value]
        return "[" + inner + f",{inner}".join(rows) + start + "]" if rows else "[]"
    raise TypeError(f"{type(value).__name__} is not JSON")


sys.modules["json.decoder"] = sys.modules[__name__]
