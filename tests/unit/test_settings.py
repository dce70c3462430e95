"""/etc/azready.toml: every key has an effect and a sentence; errors name file, key and line."""

import pathlib
import tomllib

import pytest

from agent import settings
from agent.commands.common import DEFAULT_DEADLINE
from agent.errors import GuestError, UsageError
from agent.root import Root
from agent.settings import SETTINGS, Config, load, parse
from agent.steps import STEPS

EXAMPLE = pathlib.Path(__file__).parents[2] / "dist-config/azready.toml"


def test_the_documented_file_has_every_key_with_its_default_in_order() -> None:
    assert vars(parse("azready.toml", EXAMPLE.read_bytes())) == vars(Config())
    documented = settings._flat(tomllib.loads(EXAMPLE.read_text()))
    assert list(documented.items()) == [(item.name, item.default) for item in SETTINGS]


def test_every_setting_has_a_name_of_its_own_a_sentence_and_an_acceptable_default() -> None:
    assert len({item.name for item in SETTINGS}) == len(SETTINGS)
    for item in SETTINGS:
        assert item.sentence.endswith("."), item.name
        assert item.allowed(item.default), item.name


def test_each_step_has_a_switch_and_fatal_names_those_that_are_fatal() -> None:
    assert list(Config().steps.items()) == [(step.name, True) for step in STEPS]
    assert Config().fatal == tuple(step.name for step in STEPS if step.fatal)
    for step in STEPS:
        assert parse("f", f"fatal = ['{step.name}']".encode()).fatal == (step.name,)
        assert not parse("f", f"steps.{step.name} = false".encode()).steps[step.name]


def test_the_command_line_and_the_file_have_the_same_defaults() -> None:
    assert Config().deadline == DEFAULT_DEADLINE


def test_every_key_has_an_effect() -> None:
    text = """
deadline = 60
wireserver = "http://127.0.0.1:1"
imds = "http://127.0.0.1:2"
state_directory = "/var/lib/azready-other/"
fatal = ["kvp"]
run_custom_data = true
custom_data_limit = 5
step_back = false
platform = "azure"
dhcp = "never"
dhcp_grace = 0
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
    given, default = vars(parse("f", text.encode())), vars(Config())
    assert [name for name in given if given[name] == default[name]] == []
    assert given["state_directory"] == "/var/lib/azready-other"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("deadlin = 5", "f line 1: deadlin: unknown key; did you mean deadline?"),
        (
            "\n[user]\n\nshell = '/bin/sh'\ngroup = []",
            "f line 5: user.group: unknown key; did you mean user.groups?",
        ),
        ("shell = '/bin/sh'", "f line 1: shell: unknown key; did you mean user.shell?"),
        ("sudo = 'auto'", "sudo: unknown key; did you mean steps.sudo or user.sudo?"),
        ("[users]\nshell = '/bin/sh'", "f line 1: users: unknown key; known keys: deadline, wire"),
        ("disks = true", "media.devices, media.wait, steps.NAME"),
        ("deadline = '5'", "f line 1: deadline is '5'; must be an integer"),
        ("deadline = true", "f line 1: deadline is true; must be an integer"),
        ("deadline = 0", "f line 1: deadline is 0; must be seconds from 1 to 86400"),
        (
            "# comment\nrun_custom_data = 1",
            "f line 2: run_custom_data is 1; must be true or false",
        ),
        ("user.groups = ['a', 1]", "f line 1: user.groups is ['a', 1]; must be a list of strings"),
        ("user.groups = ['a:b']", "f line 1: user.groups is ['a:b']; must be names of groups"),
        ("user.shell = 'sh'", "f line 1: user.shell is 'sh'; must be an absolute path"),
        ("user.shell = '/bin/sh:x'", "must be an absolute path"),
        ("user.sudo = 'maybe'", "must be one of auto, nopasswd, password"),
        (
            "fatal = ['users']",
            "f line 1: fatal is ['users']; must be names of steps: media, profile, host_name",
        ),
        ("state_directory = '/'", "must be an absolute path"),
        ("state_directory = '/var/../etc/azready'", "must be an absolute path"),
        (
            "state_directory = '/etc'",
            "must be an absolute path whose last part begins with azready",
        ),
        ("state_directory = '/azready*'", "whose last part begins with azready"),
        ("state_directory = 'azready'", "must be an absolute path"),
        (
            "wireserver = 'http://example.com'",
            "must be http://IP, http://IP:PORT or http://IP:PORT/PREFIX",
        ),
        ("media.devices = ['sr0']", "must be absolute paths"),
        ("steps = true", "f line 1: steps: unknown key"),
        (
            "[steps]\nuser = false\nsud = false",
            "f line 3: steps.sud: unknown key; did you mean steps.sudo?",
        ),
        (
            "user.groups = [\n 'a',\n 'b'\n]\nmedia.wait = 999",
            "f line 5: media.wait is 999; must be seconds from 0 to 300",
        ),
        ("a = = 1", "f is not TOML: Invalid value (at line 1, column 5)"),
        ("deadline = 5\ndeadline = 6", "f is not TOML: Cannot overwrite a value"),
        ("\ufeffdeadline = 5", "f is not TOML: "),
    ],
)
def test_an_error_names_file_key_and_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("f", text.encode())
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


def test_bytes_that_are_not_utf_8_are_an_error() -> None:
    with pytest.raises(UsageError, match="f is not UTF-8 at byte 3"):
        parse("f", b"# a\xff")


def test_without_a_file_the_defaults_hold(tmp_path: pathlib.Path) -> None:
    assert vars(load(Root(str(tmp_path)))) == vars(Config())


def test_a_file_named_by_config_must_exist(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load(Root(str(tmp_path)), str(tmp_path / "none.toml"))
    other = tmp_path / "other.toml"
    other.write_text("deadline = 77\n")
    assert load(Root(), str(other)).deadline == 77


# Files in layers


def put(root: pathlib.Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_later_files_override_single_settings(tmp_path: pathlib.Path) -> None:
    put(
        tmp_path, "usr/lib/azready.toml", "deadline = 60\nuser.sudo = 'password'\nfatal = ['kvp']\n"
    )
    root = Root(str(tmp_path))
    assert (load(root).deadline, load(root).sudo, load(root).fatal) == (60, "password", ("kvp",))
    put(tmp_path, "etc/azready.toml", "deadline = 70\n[user]\ngroups = ['a', 'b']\n")
    put(tmp_path, "etc/azready.toml.d/90-last.toml", "[user]\ngroups = ['c']\n")
    put(tmp_path, "etc/azready.toml.d/9-first.toml", "deadline = 90\n[user]\ngroups = []\n")
    put(tmp_path, "etc/azready.toml.d/99-other.conf", "nonsense\n")
    found = load(root)
    assert (found.deadline, found.sudo, found.fatal) == (90, "password", ("kvp",))
    assert found.groups == ("c",), "in the order of bytes, 9- comes before 90-"
    assert settings.places(root) == [
        "/usr/lib/azready.toml",
        "/etc/azready.toml",
        "/etc/azready.toml.d/9-first.toml",
        "/etc/azready.toml.d/90-last.toml",
    ]


@pytest.mark.parametrize(
    "path", ["usr/lib/azready.toml", "etc/azready.toml", "etc/azready.toml.d/x.toml"]
)
def test_a_mistake_is_named_by_its_file(tmp_path: pathlib.Path, path: str) -> None:
    for place in ("usr/lib/azready.toml", "etc/azready.toml", "etc/azready.toml.d/x.toml"):
        put(tmp_path, place, "deadline = 5\n")
    put(tmp_path, path, "\ndeadlin = 5\n")
    with pytest.raises(UsageError, match=f"{path} line 2: deadlin: unknown key; did you mean"):
        load(Root(str(tmp_path)))


def test_a_file_that_is_named_counts_alone(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "etc/azready.toml.d/x.toml", "nonsense")
    put(tmp_path, "mine.toml", "deadline = 7\n")
    assert load(Root(str(tmp_path)), str(tmp_path / "mine.toml")).deadline == 7


def test_a_file_that_cannot_be_read_is_never_skipped(tmp_path: pathlib.Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/azready.toml").symlink_to("azready.toml")
    with pytest.raises(GuestError, match="too many levels of symbolic links"):
        load(Root(str(tmp_path)))


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "etc/azready.toml.d", "deadline = 5\n")
    with pytest.raises(UsageError, match=r"etc/azready\.toml\.d is no folder: put"):
        load(Root(str(tmp_path)))
