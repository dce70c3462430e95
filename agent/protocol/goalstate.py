"""The wireserver's goal state: XML in, the three values that a health report repeats out.

Strategy: `xml.texts` picks four paths; unknown elements cost nothing. The elements are in no name
space (agent/README.md), and a name in one is another name. The public description is "Creating
generalized images without a provisioning agent":
https://learn.microsoft.com/en-us/azure/virtual-machines/linux/no-agent
"""

from agent.errors import ProtocolError
from agent.protocol import xml
from agent.record import record

MAX_SIZE = 64 * 1024  # bytes: ten times what is usual

_INCARNATION = "GoalState/Incarnation"
_CONTAINER = "GoalState/Container/ContainerId"
_ROLE_INSTANCE = "GoalState/Container/RoleInstanceList/RoleInstance"
_INSTANCE = _ROLE_INSTANCE + "/InstanceId"
_WANTED = (_INCARNATION, _CONTAINER, _INSTANCE)


class GoalStateError(ProtocolError):
    """The document is not a goal state that can be answered."""


class NoRoleInstance(GoalStateError):
    """A well-formed goal state that lists no role instance yet: fetch it again."""


@record
class GoalState:
    """The values that a health report needs: opaque, never empty, without padding.

    `role_instances` is the number of role instances listed; `instance_id` is the first one's.
    """

    incarnation: str
    container_id: str
    instance_id: str
    role_instances: int


def parse(document: bytes) -> GoalState:
    """Read a goal state document (UTF-8; a BOM, CR LF and padding are allowed).

    Raises NoRoleInstance if no RoleInstance is listed yet, GoalStateError for everything else that
    cannot be used.
    """
    try:
        found = xml.texts(document, "GoalState", _WANTED, (_ROLE_INSTANCE,), most=MAX_SIZE)
    except xml.NotWellFormed as error:
        start = document[:40].decode("latin-1")
        hint = f": {xml.HINT}" if xml.is_page(document) else ""
        raise GoalStateError(f"the goal state {error}; it starts with {start!r}{hint}") from None
    except xml.OtherDocument as error:
        raise GoalStateError(f"the goal state {error}: {xml.HINT}") from None
    except xml.XmlError as error:
        raise GoalStateError(f"the goal state {error}") from None
    role_instances = sum(path == _ROLE_INSTANCE for path, _ in found)
    values = dict(reversed(found))  # the first of several counts
    if not role_instances and values.get(_INCARNATION) and values.get(_CONTAINER):
        raise NoRoleInstance("the goal state lists no RoleInstance yet")
    incarnation, container_id, instance_id = (_value(values, path) for path in _WANTED)
    return GoalState(incarnation, container_id, instance_id, role_instances)


def _value(values: "dict[str, str | None]", path: str) -> str:
    name = path.removeprefix("GoalState/")
    if path not in values:
        raise GoalStateError(f"{name} is missing from the goal state")
    value = values[path]
    if value is None:
        raise GoalStateError(f"{name} holds an element instead of text in the goal state")
    if not value:
        raise GoalStateError(f"{name} is empty in the goal state")
    return value
