"""The configuration file: every key works, is documented, and a wrong one is named with its line."""

import pathlib
import re
import tomllib

import pytest

from agent import config
from agent.cli import DEFAULT_DEADLINE
from agent.config import Config, load, parse
from agent.errors import UsageError
from agent.root import Root

EXAMPLE = pathlib.Path(__file__).parents[2] / "dist-config/azready.toml"


def values(settings: Config) -> dict[str, object]:
    return {name: getattr(settings, name) for name in Config.__slots__}


def test_the_documented_file_holds_every_key_with_its_default() -> None:
    assert values(parse("azready.toml", EXAMPLE.read_bytes())) == values(Config())
    documented = config._flat(tomllib.loads(EXAMPLE.read_text()))
    assert documented == config._DEFAULTS


def test_the_command_line_and_the_file_have_the_same_defaults() -> None:
    assert Config().deadline == DEFAULT_DEADLINE


def test_every_key_is_explained() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z_]+ = ", line):
            above = lines[number - 1]
            assert "#" in line or above.startswith("#") or re.match(r"[a-z_]+ = ", above), line


def test_every_key_has_an_effect() -> None:
    text = """
deadline = 60
wireserver = "http://127.0.0.1:1"
imds = "http://127.0.0.1:2"
state_directory = "/var/lib/other/"
fatal = ["kvp"]
run_custom_data = true
step_back = false
steps.sudo = false
[user]
groups = ["a"]
shell = "/bin/zsh"
sudo = "password"
[sshd]
edit = true
[media]
devices = ["/dev/sr1"]
wait = 0
"""
    given, default = values(parse("f", text.encode())), values(Config())
    assert [name for name in given if given[name] == default[name]] == []
    assert given["state_directory"] == "/var/lib/other"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("deadlin = 5", "f line 1: deadlin is no known key; known are deadline, wireserver"),
        ("\n[user]\n\nshell = '/bin/sh'\ngroup = []", "f line 5: user.group is no known key"),
        ("shell = '/bin/sh'", "f line 1: shell is no known key; did you mean user.shell"),
        ("[users]\nshell = '/bin/sh'", "f line 1: users is no known key"),
        ("deadline = '5'", "f line 1: deadline is '5'; it takes a whole number"),
        ("deadline = true", "f line 1: deadline is True; it takes a whole number"),
        ("deadline = 0", "f line 1: deadline is 0; it takes seconds from 1 to 86400"),
        (
            "# comment\nrun_custom_data = 1",
            "f line 2: run_custom_data is 1; it takes true or false",
        ),
        ("user.groups = ['a', 1]", "f line 1: user.groups is ['a', 1]; it takes a list of texts"),
        ("user.groups = ['a:b']", "f line 1: user.groups is ['a:b']; it takes names of groups"),
        ("user.shell = 'sh'", "f line 1: user.shell is 'sh'; it takes an absolute path"),
        ("user.shell = '/bin/sh:x'", "it takes an absolute path"),
        ("user.sudo = 'maybe'", "it takes one of auto, nopasswd, password"),
        ("fatal = ['users']", "f line 1: fatal is ['users']; it takes steps: media, host_name"),
        ("state_directory = '/'", "it takes an absolute path"),
        ("state_directory = '/var/../etc'", "it takes an absolute path"),
        (
            "wireserver = 'http://example.com'",
            "it takes http://IP, http://IP:PORT or http://IP:PORT/PREFIX",
        ),
        ("media.devices = ['sr0']", "it takes absolute paths"),
        ("steps = true", "f line 1: steps is no known key"),
        ("[steps]\nuser = false\nsud = false", "f line 3: steps.sud is no known key"),
        (
            "user.groups = [\n 'a',\n 'b'\n]\nmedia.wait = 999",
            "f line 5: media.wait is 999; it takes seconds from 0 to 300",
        ),
        ("a = = 1", "f is not TOML: Invalid value (at line 1, column 5)"),
        ("deadline = 5\ndeadline = 6", "f is not TOML: Cannot overwrite a value"),
        ("\ufeffdeadline = 5", "f is not TOML: "),
    ],
)
def test_what_is_wrong_is_named_with_file_key_and_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("f", text.encode())
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UsageError, match="f is not UTF-8 at byte 3"):
        parse("f", b"# a\xff")


def test_without_a_file_the_defaults_count_and_no_reader_is_loaded(tmp_path: pathlib.Path) -> None:
    assert values(load(Root(str(tmp_path)))) == values(Config())


def test_a_file_that_was_named_must_be_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load(Root(str(tmp_path)), str(tmp_path / "none.toml"))
    other = tmp_path / "other.toml"
    other.write_text("deadline = 77\n")
    assert load(Root(), str(other)).deadline == 77
