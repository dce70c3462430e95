"""/etc/azready.toml: what the person who builds the image decides. Every key is documented in dist-config/azready.toml.

The file is optional, and the TOML reader is imported only if it is there. A key that is unknown or has a value of the wrong type is refused with file,
key and line: a misspelt key that is passed over in silence would be found out at a customer's first boot.
"""

from agent.azure import imds, wireserver
from agent.errors import UsageError
from agent.root import read_given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.root import Root

DEFAULT_PATH = "/etc/azready.toml"
STEPS = (
    "media",
    "host_name",
    "publish_host_name",
    "user",
    "sudo",
    "ssh_keys",
    "password",
    "sshd",
    "host_keys",
    "custom_data",
    "user_data",
    "kvp",
)
SUDO = ("auto", "nopasswd", "password")

# key -> default; a list is one of strings
_DEFAULTS: "dict[str, object]" = {
    "deadline": 1200,
    "wireserver": wireserver.DEFAULT_URL,
    "imds": imds.DEFAULT_URL,
    "state_directory": "/var/lib/azready",
    "fatal": ["user", "ssh_keys", "password"],
    "run_custom_data": False,
    "step_back": True,
    "user.groups": ["adm", "sudo", "wheel"],
    "user.shell": "",
    "user.sudo": "auto",
    "sshd.edit": False,
    "media.devices": [],
    "media.wait": 10,
    **{f"steps.{step}": True for step in STEPS},
}
_KINDS = {bool: "true or false", int: "a whole number", str: "a text", list: "a list of texts"}


class Config:
    """The settings of a run.

    `deadline` seconds for all of it; `wireserver`, `imds` URLs; `state_directory` absolute path; `steps` name -> whether it is done; `fatal` the steps
    whose failure is the run's; `run_custom_data`; `step_back` for another agent that is enabled; `groups`, `shell` ("" for the image's own), `sudo`
    (one of SUDO) for the user; `edit_sshd_config`; `devices` paths of media ([] to look for them) and `media_wait`, seconds that an expected one may
    take to appear.
    """

    __slots__ = (
        "deadline",
        "devices",
        "edit_sshd_config",
        "fatal",
        "groups",
        "imds",
        "media_wait",
        "run_custom_data",
        "shell",
        "state_directory",
        "step_back",
        "steps",
        "sudo",
        "wireserver",
    )

    def __init__(self, given: "dict[str, object] | None" = None) -> None:
        """Take values by their keys in the file, "user.shell" for one in a table; they must have been checked."""
        values = {**_DEFAULTS, **(given or {})}
        self.deadline = float(str(values["deadline"]))
        self.wireserver = str(values["wireserver"])
        self.imds = str(values["imds"])
        self.state_directory = str(values["state_directory"]).rstrip("/")
        self.steps = {step: bool(values[f"steps.{step}"]) for step in STEPS}
        self.fatal = _texts(values["fatal"])
        self.run_custom_data = bool(values["run_custom_data"])
        self.step_back = bool(values["step_back"])
        self.groups = _texts(values["user.groups"])
        self.shell = str(values["user.shell"])
        self.sudo = str(values["user.sudo"])
        self.edit_sshd_config = bool(values["sshd.edit"])
        self.devices = _texts(values["media.devices"])
        self.media_wait = float(str(values["media.wait"]))


def load(root: "Root", path: str = "") -> Config:
    """The configuration of the system below `root`, or the one in the file `path` (of this machine). Raises UsageError, GuestError."""
    content = read_given(path) if path else root.read(DEFAULT_PATH)
    if content is None:
        if path:
            raise UsageError(f"--config {path!r} cannot be used: no such file")
        return Config()
    return parse(path or root.shown(DEFAULT_PATH), content)


def parse(name: str, content: bytes) -> Config:
    """The configuration in the TOML document `content`; `name` is the file's, for messages. Raises UsageError."""
    import tomllib

    try:
        text = content.decode("utf-8")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 at byte {error.start}: {error.reason}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not TOML: {error}") from None
    given = _flat(document)
    for key, value in given.items():
        if wrong := _wrong(key, value):
            raise UsageError(f"{name}{_line(text, key)}: {key} {wrong}")
    return Config(given)


def _flat(document: "dict[str, object]") -> "dict[str, object]":
    """Keys of tables as "table.key"; only tables that are known are opened, so that an unknown one is refused by its name."""
    tables = {key.partition(".")[0] for key in _DEFAULTS if "." in key}
    flat: dict[str, object] = {}
    for key, value in document.items():
        if key in tables and isinstance(value, dict):
            flat |= {f"{key}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            flat[key] = value
    return flat


def _wrong(key: str, value: object) -> str:
    """What is wrong with a key or its value, "" if nothing is."""
    if key not in _DEFAULTS:
        near = [known for known in _DEFAULTS if known.rpartition(".")[2] == key.rpartition(".")[2]]
        return f"is no known key; {'did you mean ' + near[0] if near else 'known are ' + ', '.join(_DEFAULTS)}"
    default = _DEFAULTS[key]
    if type(value) is not type(default) or (
        isinstance(value, list) and not all(isinstance(item, str) for item in value)
    ):
        return f"is {value!r}; it takes {_KINDS[type(default)]}"
    for allowed, says in _LIMITS.get(key, ()):
        if not allowed(value):
            return f"is {value!r}; {says}"
    return ""


def _is_path(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.startswith("/")
        and value.isprintable()
        and ".." not in value.split("/")
    )


def _is_url(value: object) -> bool:
    from agent.azure.http import Endpoint

    try:
        Endpoint(str(value))
    except UsageError:
        return False
    return True


_LIMITS: "dict[str, list[tuple[Callable[[Any], bool], str]]]" = {
    "deadline": [(lambda value: 1 <= value <= 86400, "it takes seconds from 1 to 86400")],
    "wireserver": [(_is_url, "it takes http://IP, http://IP:PORT or http://IP:PORT/PREFIX")],
    "imds": [(_is_url, "it takes http://IP, http://IP:PORT or http://IP:PORT/PREFIX")],
    "state_directory": [
        (lambda value: _is_path(value) and len(value.strip("/")) > 0, "it takes an absolute path")
    ],
    "fatal": [(lambda value: set(value) <= set(STEPS), f"it takes steps: {', '.join(STEPS)}")],
    "user.shell": [
        (
            lambda value: not value or (_is_path(value) and ":" not in value),
            "it takes an absolute path",
        )
    ],
    "user.groups": [
        (
            lambda value: all(
                item and item.isprintable() and not set(item) & set(":, ") for item in value
            ),
            "it takes names of groups",
        )
    ],
    "user.sudo": [(lambda value: value in SUDO, f"it takes one of {', '.join(SUDO)}")],
    "media.devices": [(lambda value: all(map(_is_path, value)), "it takes absolute paths")],
    "media.wait": [(lambda value: 0 <= value <= 300, "it takes seconds from 0 to 300")],
}


def _line(text: str, key: str) -> str:
    """ " line N", where N is the first line with which the document holds the key: TOML readers do not keep lines."""
    import tomllib

    lines = text.split("\n")
    for count in range(1, min(len(lines), 2000) + 1):
        try:
            if key in _flat(tomllib.loads("\n".join(lines[:count]))):
                return f" line {count}"
        except tomllib.TOMLDecodeError:
            continue
    return ""


def _texts(value: object) -> "tuple[str, ...]":
    return tuple(map(str, value)) if isinstance(value, list) else ()
