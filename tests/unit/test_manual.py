"""The manual pages say what is true, without formatting errors, in a form that can be copied."""

import ast
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import tomllib

import pytest
from docutils import core, nodes
from docutils.utils import SystemMessage

from agent import __version__, cli, settings
from agent.commands import check, status
from agent.errors import UsageError
from agent.formats import accounts
from agent.protocol import kvp
from build import manual
from build.cache import BuildError
from build.tables import of_agent
from tests.quotes import TOP, messages, missing

SOURCES = {page.stem: page.read_text() for page in manual.pages()}
PROGRAM = r"(.*/)?azready(-linux-\w+)?"
WRAPPERS = {"sudo", "chroot", "until", "do"}
NAMES = {
    "azready.8",
    "azready.toml.5",
    "azready-image.7",
    "azready-provisioning.7",
    "azready-troubleshooting.7",
}
EXAMPLE = """\
====
page
====

------------
about a page
------------

:Manual section: 7

ONE
===

Text with 'quotes', "more" and a ``literal``::

    x = "$(a)" 'b' `c` \\n -d ~ ^
"""


def rendered(source: str) -> str:
    """A page as a reader sees it. Fails for anything that groff complains of."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed (scripts/test installs it where it can)")
    result = subprocess.run(
        ["groff", "-man", "-t", "-ww", "-T", "utf8", "-P", "-cbou", "-"],
        input=manual.render(source),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    return result.stdout


def parsed(source: str) -> nodes.document:
    """The tree of a page."""
    return core.publish_doctree(source, settings_overrides=manual.STRICT)


def blocks(source: str) -> list[str]:
    """The literal blocks of a page."""
    return [block.astext() for block in parsed(source).findall(nodes.literal_block)]


def commands(text: str) -> list[list[str]]:
    """The words of every command line of azready in a text for a shell."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = []
    words: list[str] = []
    for token in [*lexer, ";"]:
        if not set(token) <= set("();<>|&"):
            words.append(token)
            continue
        if "-c" in words:
            found += commands(words[words.index("-c") + 1])
        while words and (words[0] in WRAPPERS or words[0].endswith("/image")):
            words.pop(0)
        if words[1:] and re.fullmatch(PROGRAM, words[0]):
            found.append(words[1:])
        words = []
    return found


def shown(source: str) -> list[list[str]]:
    """The words of every command line of azready that a page shows."""
    tree = parsed(source)
    texts = [
        quote.astext()
        for kind in (nodes.literal_block, nodes.literal)
        for quote in tree.findall(kind)
    ]
    return [
        words
        for text in texts
        if "azready" in text
        for line in text.replace("\\\n", " ").split("\n")
        for words in commands(line)
    ]


def test_there_is_a_page_for_each_name() -> None:
    assert set(SOURCES) == NAMES


@pytest.mark.parametrize("name", SOURCES)
def test_a_page_has_no_formatting_error_and_names_itself(name: str) -> None:
    text = rendered(SOURCES[name])
    page, _, section = name.rpartition(".")
    assert text.startswith(f"{page}({section})")
    assert f"       {page} - " in text
    assert f"azready {__version__}" in text
    assert "\N{HYPHEN}" not in text


@pytest.mark.parametrize("source", [*SOURCES.values(), EXAMPLE])
def test_what_can_be_copied_is_what_was_written(source: str) -> None:
    text = rendered(source)
    for block in blocks(source):
        for line in block.split("\n"):
            assert line.strip() in text


@pytest.mark.parametrize("name", SOURCES)
def test_no_literal_block_is_wider_than_a_terminal(name: str) -> None:
    assert [
        line for block in blocks(SOURCES[name]) for line in block.split("\n") if len(line) > 68
    ] == []


def test_a_mistake_in_a_page_is_an_error() -> None:
    with pytest.raises(SystemMessage, match="Inline literal start-string without end-string"):
        manual.render(EXAMPLE + "\nAnd ``a mistake.\n")


def test_a_region_is_filled_and_an_unknown_one_is_an_error() -> None:
    region = ".. begin: exit statuses\nformer\n.. end: exit statuses\n"
    filled = manual.filled(region, of_agent())
    assert "former" not in filled
    assert "``0``\n    Done, or nothing to do.\n" in filled
    assert manual.filled(filled, of_agent()) == filled
    for wrong in (region.replace("exit", "else"), region.replace("end: exit", "end: xit")):
        with pytest.raises(BuildError, match="has a region"):
            manual.filled(wrong, of_agent())


@pytest.mark.parametrize("name", SOURCES)
def test_every_command_line_is_one_that_azready_takes(name: str) -> None:
    for words in shown(SOURCES[name]):
        # How not to do it, and a line of a log.
        if words != ["--verbose", "check"] and words[0] != f"{__version__},":
            cli._parse(*cli._command(words))


def test_a_wrong_command_line_is_found() -> None:
    page = EXAMPLE + "\nRun ``sudo azready check --jsn``.\n"
    (words,) = shown(page)
    with pytest.raises(UsageError):
        cli._parse(*cli._command(words))


def test_the_page_of_the_settings_holds_toml_with_the_defaults() -> None:
    text = rendered(SOURCES["azready.toml.5"])
    keys = text.partition("\nKEYS\n")[2].partition("\nEXAMPLES\n")[0]
    lines = re.findall(r"^ {7}([a-z_.]+ = .+)$", keys, re.MULTILINE)
    settings.parse("page", "\n".join(lines).encode())
    assert settings._flat(tomllib.loads("\n".join(lines))) == {
        setting.name: setting.default for setting in settings.SETTINGS
    }


def test_every_example_of_the_settings_is_valid_and_changes_something() -> None:
    source = SOURCES["azready.toml.5"]
    text = rendered(source).partition("\nEXAMPLES\n")[2].partition("\nFILES\n")[0]
    shown = re.split(r"\n\n", re.sub(r"(?m)^ {0,9}\S.*$", "", text))
    examples = ["\n".join(line.strip() for line in part.split("\n")) for part in shown]
    examples = [example for example in examples if example.strip()]
    assert [tomllib.loads(example) for example in examples] == [
        tomllib.loads(block) for block in blocks(source)
    ]
    defaults = {setting.name: setting.default for setting in settings.SETTINGS}
    for block in blocks(source):
        settings.parse("page", block.encode())
        for key, value in settings._flat(tomllib.loads(block)).items():
            assert defaults[key] != value


@pytest.mark.parametrize("name", SOURCES)
def test_every_quoted_message_exists(name: str) -> None:
    """A term of DIAGNOSTICS, REASONS ... or IN THE LOG ... is a message of the agent."""
    quotes = [
        literal.astext()
        for section in parsed(SOURCES[name]).findall(nodes.section)
        if re.match("DIAGNOSTICS|REASONS|IN THE LOG", section.astext())
        for term in section.findall(nodes.term)
        for literal in term.findall(nodes.literal)
        if not literal.astext().startswith("journalctl ")
    ]
    assert {quote: missing(quote) for quote in quotes} == dict.fromkeys(quotes, "")


def templates() -> list[re.Pattern[str]]:
    """Every text in the agent's source that has values inside, as a pattern."""
    found = []
    for file in (TOP / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            if all(text is None or isinstance(text, str) for text in texts):
                pattern = "".join(".+" if text is None else re.escape(str(text)) for text in texts)
                if len("".join(str(text) for text in texts if text)) >= 8:
                    found.append(re.compile(pattern))
    return found


def test_every_line_of_the_example_of_a_first_boot_is_one_of_ours() -> None:
    (block,) = (one for one in blocks(SOURCES["azready-provisioning.7"]) if "report Ready" in one)
    known = templates()
    lines = re.sub(r"\n +", " ", block).split("\n")
    assert len(lines) > 15
    assert [line for line in lines if not any(one.fullmatch(line) for one in known)] == []
    assert lines[0].startswith(f"azready {__version__}, ")


def test_every_request_is_one_of_ours() -> None:
    page = parsed(SOURCES["azready-provisioning.7"])
    (section,) = (one for one in page.findall(nodes.section) if one["names"] == ["requests"])
    requests = [term.astext() for term in section.findall(nodes.term)]
    assert len(requests) == 3
    assert [one for one in requests if one.partition(" ")[2] not in messages()] == []


def test_the_keys_of_json_are_those_that_the_page_names() -> None:
    page = SOURCES["azready.8"]
    for text in check.Findings().as_json(), status.Status("", [], {}).as_json():
        assert [key for key in json.loads(text) if f"``{key}``" not in page] == []


def test_the_record_of_a_failure_is_one_of_ours() -> None:
    (shown,) = (
        block for block in blocks(SOURCES["azready-troubleshooting.7"]) if "result=" in block
    )
    record = re.sub(r"\n ?", lambda found: " " * (len(found[0]) - 1), shown)
    reason, *source, _ = record.removeprefix("result=error|reason=").split("|")
    assert record == kvp.error(reason, tuple(source))
    fields = kvp.source("azready/0.1.0", "2026-11-23T04:00:00Z", source[2].partition("=")[2], "")
    assert tuple(source) == fields
    assert reason == f"the user name 'root' is refused: {accounts.refusal('root')}"


def test_the_disk_becomes_a_fixed_vhd_of_whole_mebibytes(tmp_path: pathlib.Path) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed (scripts/test installs it where it can)")
    (script,) = (block for block in blocks(SOURCES["azready-image.7"]) if "qemu-img" in block)
    (tmp_path / "disk.raw").write_bytes(b"x" * (3 * 2**20 + 1))
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, check=True)
    vhd = (tmp_path / "disk.vhd").read_bytes()
    footer = vhd[-512:]  # Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format"
    assert footer.startswith(b"conectix")
    assert int.from_bytes(footer[48:56], "big") == len(vhd) - 512 == 4 * 2**20
    assert int.from_bytes(footer[60:64], "big") == 2  # fixed


def test_the_terraform_example_is_well_formed() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    (text,) = (block for block in blocks(SOURCES["azready-image.7"]) if "azurerm_image" in block)
    command = ["terraform", "fmt", "-check", "-diff", "-"]
    result = subprocess.run(command, input=text + "\n", capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
