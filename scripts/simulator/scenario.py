"""Reads scenarios, which say what the simulated platform answers, from TOML.

A scenario lists answers per endpoint: `[[goalstate]]`, `[[health]]`, `[[imds]]`, `[[versions]]`,
`[[config]]`. They are used in order, each for one request or for several (`times`). After the last
one, the endpoint answers as a healthy platform does. `[vm]` changes what the healthy platform says
about the machine. `scenarios/README.md` lists every key.
"""

import dataclasses
import pathlib
import tomllib
from typing import Any

FOLDER = pathlib.Path(__file__).with_name("scenarios")
ENDPOINTS = ("goalstate", "health", "imds", "versions", "config")
FOREVER = 1 << 30
# The public half of a key that was made for this purpose and thrown away.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICQP7u66/ERJgBYWOwiKcB2ZCaZlJlR/IPqvZXbWigkN azureuser"


class ScenarioError(Exception):
    """The scenario cannot be used; `str(error)` names the file, the place and the reason."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A scripted answer.

    Times are seconds, sizes bytes. Without `body` and `document`, the body is the healthy
    platform's.
    """

    times: int = 1
    delay: float = 0.0
    status: int = 0  # 0: as the healthy platform
    reason: str = ""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: str | None = None
    document: str = ""
    size: int = 0
    header_size: int = 0
    chunked: int = 0
    drip: float = 0.0
    truncate: int = -1
    connection: str = ""
    raw: str = ""
    length: str = ""
    close: bool = False


@dataclasses.dataclass(frozen=True)
class VM:
    """What the healthy platform says about the machine."""

    computer_name: str = "web-1"
    name: str = "web-1"
    vm_id: str = "6e1b6b2c-1f0a-4d55-9c4b-0a1b2c3d4e5f"
    mac: str = "000D3A123456"  # of the first NIC, as the boot lab gives it to its machines
    admin_username: str = "azureuser"
    public_keys: tuple[str, ...] = (KEY,)
    key_path: str = ""  # "": where Azure puts them, in the user's home
    disable_password: str = "true"  # IMDS writes it as text
    password: str = ""  # on the provisioning CD only
    custom_data: str = ""  # on the CD, as base64 of this text
    user_data: str = ""
    media: str = ""  # in the drive: "" nothing, "cd" a provisioning CD, "junk", "blank"
    incarnation: str = "1"
    container_id: str = "7b324f53-983a-43bc-b919-1775d6077608"
    instance_id: str = "fbb84507-46cd-4f4e-bd78-a2edaa9d059b._web-1"
    # Goal states after which container and incarnation change, as after service healing; 0: never.
    moves_after: int = 0


@dataclasses.dataclass(frozen=True)
class Expectation:
    """How `azready` must end under this scenario; the tests read it."""

    command: tuple[str, ...] = ("report", "ready")
    deadline: float = 20.0
    exit: int = 0
    says: str = ""
    reports: tuple[str, ...] = ("Ready",)
    host_name: str = ""
    config: str = ""  # lines of the configuration file


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A scenario: `answers` maps an endpoint to its scripted answers, in order."""

    name: str
    description: str
    answers: dict[str, tuple[Answer, ...]]
    vm: VM
    expect: Expectation


def names() -> list[str]:
    """Return the names of the included scenarios."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_path: str) -> Scenario:
    """Return a scenario by its name or from a file.

    Raises ScenarioError.
    """
    path = FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        path = pathlib.Path(name_or_path)
    try:
        return parse(path.stem, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScenarioError(
            f"unknown scenario {name_or_path!r}: not a name (see --list) and not a file"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None


def parse(name: str, text: str) -> Scenario:
    """Return a scenario from its text.

    Raises ScenarioError for unknown keys and wrong types, TOMLDecodeError for text that is not
    TOML.
    """
    data = tomllib.loads(text)
    description = data.pop("description", "")
    vm = _build(VM, data.pop("vm", {}), f"{name}: [vm]")
    if vm.moves_after and not vm.incarnation.isdigit():
        raise ScenarioError(
            f"{name}: [vm]: moves_after increments the incarnation, which is {vm.incarnation!r}"
        )
    expect = _build(Expectation, data.pop("expect", {}), f"{name}: [expect]")
    answers = {}
    for endpoint in ENDPOINTS:
        entries = data.pop(endpoint, [])
        if not isinstance(entries, list):
            raise ScenarioError(f"{name}: {endpoint} must be a list of tables: [[{endpoint}]]")
        answers[endpoint] = tuple(
            _answer(entry, f"{name}: [[{endpoint}]] number {number}")
            for number, entry in enumerate(entries, 1)
        )
    if data:
        raise ScenarioError(
            f"{name}: unknown key {next(iter(data))!r}; "
            f"known are description, vm, expect, {', '.join(ENDPOINTS)}"
        )
    return Scenario(name, description, answers, vm, expect)


def _answer(entry: dict[str, Any], where: str) -> Answer:
    if entry.get("times") == "forever":
        entry = {**entry, "times": FOREVER}
    answer: Answer = _build(Answer, entry, where)
    if answer.connection not in ("", "reset", "close", "hang"):
        raise ScenarioError(
            f"{where}: connection is {answer.connection!r}; known are reset, close, hang"
        )
    return answer


def _build(kind: type, entries: dict[str, Any], where: str) -> Any:
    """Return an instance of a dataclass whose defaults tell the type of each key."""
    defaults = dataclasses.asdict(kind())
    values: dict[str, Any] = {}
    for name, given in entries.items():
        if name not in defaults:
            raise ScenarioError(f"{where}: unknown key {name!r}; known are {', '.join(defaults)}")
        value = tuple(given) if isinstance(given, list) else given
        if type(value) is int and type(defaults[name]) is float:
            value = float(value)
        if type(value) is not (str if defaults[name] is None else type(defaults[name])):
            raise ScenarioError(f"{where}: {name} is {value!r}, which has the wrong type")
        values[name] = value
    return kind(**values)
