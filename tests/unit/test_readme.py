"""README.md quotes only messages that the agent has."""

import ast
import functools
import pathlib
import re

import pytest

from agent.protocol import kvp

TOP = pathlib.Path(__file__).parents[2]
README = (TOP / "README.md").read_text()
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


def troubles() -> list[str]:
    table = README.partition("| the reason starts with |")[2].partition("\n\n")[0]
    return [
        quote for row in table.split("\n")[2:] for quote in re.findall("`(.+?)`", row.split("|")[1])
    ]


@pytest.mark.parametrize("quote", troubles())
def test_every_reason_in_its_table_exists(quote: str) -> None:
    assert missing(quote) == ""


def test_its_record_is_one_of_ours() -> None:
    record = next(line for line in README.split("\n") if line.startswith("result=error|"))
    reason, *source, _ = record.removeprefix("result=error|reason=").split("|")
    assert record == kvp.error(reason, tuple(source))
    fields = kvp.source("azready/0.1.0", "2026-11-23T04:00:00Z", source[2].partition("=")[2], "")
    assert tuple(source) == fields
    for part in ("nobody could log in as ", " SSH keys is usable by sshd: ", " is left out: "):
        assert part in reason
        assert part in messages()
