"""azready.toml: what the author of an image decides. Every setting is declared here, once.

The vendor's file below /usr comes first, then the administrator's, then those in a folder, in the
order of their names. A later file overrides single settings.

dist-config/azready.toml, azready.toml(5) and the table in README.md follow from SETTINGS (see
scripts/generate). Each file is optional, and tomllib is imported only if there is one. An unknown
key, or a value of the wrong type, is an error that names file, key and line: a misspelt key that is
ignored would first be noticed at a customer's first boot.
"""

from agent.azure import imds, wireserver
from agent.errors import UsageError
from agent.files import read_given
from agent.nearness import did_you_mean
from agent.record import record
from agent.steps import STEPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.root import Root

DEFAULT_PATH = "/etc/azready.toml"
VENDOR_PATH = "/usr/lib/azready.toml"
FOLDER = "/etc/azready.toml.d"  # of files *.toml
SUDO = ("auto", "nopasswd", "password")
DHCP = ("never", "auto", "now")
PLATFORMS = ("auto", "azure")

_NAMES = tuple(step.name for step in STEPS)
_URL = "http://IP, http://IP:PORT or http://IP:PORT/PREFIX"
_TYPES = {bool: "true or false", int: "an integer", str: "a string", tuple: "a list of strings"}
_SEARCHED = 2000  # lines


def _is_path(value: str) -> bool:
    return value.startswith("/") and value.isprintable() and ".." not in value.split("/")


def _is_own_folder(value: str) -> bool:
    """Tell whether nobody else can mean the folder: what `generalize` removes there is ours."""
    own = value.rstrip("/").rpartition("/")[2].startswith("azready")
    return own and _is_path(value) and not set(value) & set("*?[")


def _is_shell(value: str) -> bool:
    return not value or (_is_path(value) and ":" not in value)


def _is_group(value: str) -> bool:
    return bool(value) and value.isprintable() and not set(value) & set(":, ")


def _is_url(value: str) -> bool:
    from agent.azure.http import endpoint

    try:
        endpoint(value)
    except UsageError:
        return False
    return True


@record
class Setting:
    """A key of the file.

    `name` is "key" or "table.key"; the type of `default` is the type of its values, a tuple for a
    list of strings. `sentence` says what it decides. `takes` says in words what `allowed` accepts
    of that type, "" for everything.
    """

    name: str
    default: "bool | int | str | tuple[str, ...]"
    sentence: str
    takes: str = ""
    allowed: "Callable[[Any], bool]" = lambda _: True


SETTINGS = (
    Setting(
        "deadline",
        1200,
        "Overall time limit of a first boot. The platform gives up after about 40 minutes.",
        "seconds from 1 to 86400",
        lambda value: 1 <= value <= 86400,
    ),
    Setting(
        "wireserver",
        wireserver.DEFAULT_URL,
        "Address of the wireserver. If you change it, also change IPAddressAllow= of the unit.",
        _URL,
        _is_url,
    ),
    Setting(
        "imds",
        imds.DEFAULT_URL,
        "Address of the metadata service. If you change it, also change IPAddressAllow= of the "
        "unit.",
        _URL,
        _is_url,
    ),
    Setting(
        "state_directory",
        "/var/lib/azready",
        "Directory of the markers, customData and userData; only azready uses it. Outside /etc, "
        "/var/lib and /home, also change ReadWritePaths= of the unit.",
        "an absolute path whose last part begins with azready",
        _is_own_folder,
    ),
    Setting(
        "fatal",
        tuple(step.name for step in STEPS if step.fatal),
        "Steps whose failure fails the run: it is reported to the platform, and the VM does not "
        "become Ready. The failure of any other step is a warning.",
        f"names of steps: {', '.join(_NAMES)}",
        lambda value: set(value) <= set(_NAMES),
    ),
    Setting(
        "run_custom_data",
        False,
        "Run customData if it is a script (starts with #!): once, as root, before Ready, under "
        "systemd outside the sandbox of the unit. Its output is logged. A non-zero status fails "
        "the step custom_data; add custom_data to fatal if the VM must not become Ready then.",
    ),
    Setting(
        "custom_data_limit",
        600,
        "Time limit of customData that runs; less if the deadline is near: a minute, or half of "
        "what is left, is kept for the report. At the limit it is killed with all that it started, "
        "and the step custom_data fails.",
        "seconds from 1 to 86400",
        lambda value: 1 <= value <= 86400,
    ),
    Setting(
        "step_back",
        True,
        "Do nothing if cloud-init, the Azure Linux agent or azure-init is enabled, because two "
        "active agents would conflict. The Azure Linux agent does not count if it has "
        "Provisioning.Agent=disabled, or cloud-init, in /etc/waagent.conf.",
    ),
    Setting(
        "platform",
        "auto",
        "auto: do nothing where DMI does not say that this is Azure. azure: it is Azure, for an "
        "image whose kernel has no DMI.",
        f"one of {', '.join(PLATFORMS)}",
        lambda value: value in PLATFORMS,
    ),
    Setting(
        "dhcp",
        "auto",
        "auto: ask for a lease (DHCP) if nobody else configures the network within dhcp_grace, or, "
        "while a client is at work, within a minute more. now: at once. never: leave it to others.",
        f"one of {', '.join(DHCP)}",
        lambda value: value in DHCP,
    ),
    Setting(
        "dhcp_grace",
        5,
        "Time for another DHCP client, from the first attempt to reach the platform.",
        "seconds from 0 to 300",
        lambda value: 0 <= value <= 300,
    ),
    *(Setting(f"steps.{step.name}", True, step.summary) for step in STEPS),
    Setting(
        "user.groups",
        ("adm", "sudo", "wheel"),
        "Groups that the user joins if they exist.",
        "names of groups",
        lambda value: all(map(_is_group, value)),
    ),
    Setting(
        "user.shell",
        "",
        "Login shell of a new user; empty: bash if the image has it, else sh.",
        "an absolute path",
        _is_shell,
    ),
    Setting(
        "user.sudo",
        "auto",
        "auto: no password for sudo only if the user has none. nopasswd: never ask for a password. "
        "password: always ask for it.",
        f"one of {', '.join(SUDO)}",
        lambda value: value in SUDO,
    ),
    Setting(
        "sshd.edit",
        False,
        "Edit sshd_config itself if it does not include /etc/ssh/sshd_config.d/*.conf.",
    ),
    Setting(
        "media.devices",
        (),
        "Devices or image files to read the provisioning CD from; empty: search for them.",
        "absolute paths",
        lambda value: all(map(_is_path, value)),
    ),
    Setting(
        "media.wait",
        10,
        "Time to wait for a CD that must appear.",
        "seconds from 0 to 300",
        lambda value: 0 <= value <= 300,
    ),
)


class Config:
    """The settings of a run; nothing changes them afterwards.

    `deadline` is in seconds, for the whole run; `wireserver` and `imds` are URLs; `state_directory`
    is an absolute path without a slash at its end. `steps` maps the name of a step to whether it
    runs, `fatal` names those whose failure fails the run. `run_custom_data` and `step_back` are
    switches; `custom_data_limit` is in seconds. `platform` is one of PLATFORMS, `dhcp` of DHCP,
    `dhcp_grace` is in seconds. `groups`, `shell` ("": the image's default) and `sudo` (one of SUDO)
    are for the user. `edit_sshd_config` allows that. `devices` are paths of media (none: search);
    `media_wait` is how long to wait for a medium, in seconds.
    """

    def __init__(self, given: "dict[str, Any] | None" = None) -> None:
        """Take checked values by the names of their settings; the others have their defaults."""
        values: "dict[str, Any]" = {setting.name: setting.default for setting in SETTINGS}
        values |= given or {}
        self.deadline = float(values["deadline"])
        self.wireserver: str = values["wireserver"]
        self.imds: str = values["imds"]
        self.state_directory: str = values["state_directory"].rstrip("/")
        self.steps: "dict[str, bool]" = {name: values[f"steps.{name}"] for name in _NAMES}
        self.fatal: "tuple[str, ...]" = tuple(values["fatal"])
        self.run_custom_data: bool = values["run_custom_data"]
        self.custom_data_limit = float(values["custom_data_limit"])
        self.step_back: bool = values["step_back"]
        self.platform: str = values["platform"]
        self.dhcp: str = values["dhcp"]
        self.dhcp_grace = float(values["dhcp_grace"])
        self.groups: "tuple[str, ...]" = tuple(values["user.groups"])
        self.shell: str = values["user.shell"]
        self.sudo: str = values["user.sudo"]
        self.edit_sshd_config: bool = values["sshd.edit"]
        self.devices: "tuple[str, ...]" = tuple(values["media.devices"])
        self.media_wait = float(values["media.wait"])


def load(root: "Root", path: str = "") -> Config:
    """Return the settings of the tree `root`, or those in the file `path` of this machine alone.

    Raises UsageError, GuestError.
    """
    if path:
        content = read_given(path)
        if content is None:
            raise UsageError(f"--config {path!r} cannot be used: no such file")
        return parse(path, content)
    given: "dict[str, Any]" = {}
    for place in _candidates(root):
        content = root.read(place)
        if content is not None:
            given |= _given(root.shown(place), content)
    return Config(given)


def places(root: "Root") -> "list[str]":
    """Return the paths of the files of settings; later ones win. Raises UsageError, GuestError."""
    return [path for path in _candidates(root) if root.status(path, follow=False) is not None]


def _candidates(root: "Root") -> "list[str]":
    names: "list[str]" = []
    if root.exists(FOLDER):
        if not root.is_folder(FOLDER):
            raise UsageError(f"{root.shown(FOLDER)} is no folder: put {DEFAULT_PATH} in its place")
        names = [name for name in root.names(FOLDER) if name.endswith(".toml")]
    return [VENDOR_PATH, DEFAULT_PATH, *(f"{FOLDER}/{name}" for name in names)]


def parse(name: str, content: bytes) -> Config:
    """Return the settings in a TOML document; `name` is its file's, for messages.

    Raises UsageError.
    """
    return Config(_given(name, content))


def _given(name: str, content: bytes) -> "dict[str, Any]":
    import tomllib

    try:
        text = content.decode("utf-8")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 at byte {error.start}: {error.reason}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not TOML: {error}") from None
    known = {setting.name: setting for setting in SETTINGS}
    given = _flat(document)
    for key, value in given.items():
        wrong = _wrong_value(known[key], value) if key in known else _unknown(key)
        if wrong:
            raise UsageError(f"{name}{_line(text, key)}: {key}{wrong}")
    return given


def _flat(document: "dict[str, Any]") -> "dict[str, Any]":
    """Return keys of known tables as "table.key", and lists as tuples.

    An unknown table stays whole, so that its own name is the unknown key.
    """
    tables = {table for table, dot, _ in (item.name.partition(".") for item in SETTINGS) if dot}
    flat: "dict[str, Any]" = {}
    for key, value in document.items():
        if key in tables and isinstance(value, dict):
            flat |= {f"{key}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            flat[key] = value
    return {key: tuple(value) if isinstance(value, list) else value for key, value in flat.items()}


def _wrong_value(setting: Setting, value: "Any") -> str:
    """Return how a message about the value goes on, "" if nothing is wrong with it."""
    must = ""
    if type(value) is not type(setting.default) or (
        isinstance(value, tuple) and not all(isinstance(item, str) for item in value)
    ):
        must = _TYPES[type(setting.default)]
    elif not setting.allowed(value):
        must = setting.takes
    return f" is {_shown(value)}; must be {must}" if must else ""


def _shown(value: object) -> str:
    """Return a value about as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(list(value) if isinstance(value, tuple) else value)


def _unknown(key: str) -> str:
    """Return how a message about an unknown key goes on."""
    last = key.rpartition(".")[2]
    names = [setting.name for setting in SETTINGS]
    # The wrong table, or a slip.
    meant = did_you_mean(key, names, [name for name in names if name.rpartition(".")[2] == last])
    if meant:
        return f": unknown key{meant}"
    names = [setting.name for setting in SETTINGS if not setting.name.startswith("steps.")]
    return f": unknown key; known keys: {', '.join(names)}, steps.NAME"


def _line(text: str, key: str) -> str:
    """Return " line N": the first with which the document has the key; TOML readers keep none."""
    import tomllib

    lines = text.split("\n")
    for count in range(1, min(len(lines), _SEARCHED) + 1):
        try:
            if key in _flat(tomllib.loads("\n".join(lines[:count]))):
                return f" line {count}"
        except tomllib.TOMLDecodeError:
            continue
    return ""
