"""Quotes of the agent's messages in pages for people, against its source."""

import ast
import functools
import pathlib
import re

TOP = pathlib.Path(__file__).parents[1]
# What stands for a value in a quote, and where another text follows.
VALUES = re.compile(
    r"\.\.\.|\bN\b|SIG[A-Z]+|/etc/(?:azready\.toml|nologin|passwd|shadow)|'|;|(?<=cannot)|(?<=gave up)|(?<=script)"
)


@functools.cache
def messages() -> str:
    """Every text in the agent's source, one a line; values inside are line breaks."""
    texts: list[str] = []
    for file in (TOP / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts += [
                part.value
                for part in parts
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
    return "\n".join(texts)


def missing(quote: str) -> str:
    """The first part of a quote that no text of the agent holds, "" if there is none."""
    parts = (part.strip(" :") for part in VALUES.split(quote))
    return next((part for part in parts if part not in messages()), "")
