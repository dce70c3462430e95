"""The wireserver's goal state: XML in, the three values that a health report repeats out.

Strategy: `xml.texts` picks four paths, unknown elements cost nothing. Elements have no name space (azure-platform.md, from captured goal states); a
prefixed name is another name.
"""

from agent.errors import ProtocolError
from agent.protocol import xml

_INCARNATION = "GoalState/Incarnation"
_CONTAINER = "GoalState/Container/ContainerId"
_ROLE_INSTANCE = "GoalState/Container/RoleInstanceList/RoleInstance"
_INSTANCE = _ROLE_INSTANCE + "/InstanceId"
_WANTED = (_INCARNATION, _CONTAINER, _INSTANCE)


class GoalStateError(ProtocolError):
    """The document is not a goal state that can be answered."""


class NoRoleInstance(GoalStateError):
    """A well-formed goal state that lists no role instance yet: fetch it again."""


class GoalState:
    """What a health report needs to know: `incarnation`, `container_id`, `instance_id` (opaque, never empty, as they came but for padding);
    `role_instances` is how many were listed (the first one counts).
    """

    __slots__ = ("container_id", "incarnation", "instance_id", "role_instances")

    def __init__(
        self, incarnation: str, container_id: str, instance_id: str, role_instances: int
    ) -> None:
        self.incarnation = incarnation
        self.container_id = container_id
        self.instance_id = instance_id
        self.role_instances = role_instances


def parse(document: bytes) -> GoalState:
    """Read a goal state document (UTF-8, with or without BOM, CR LF and padding allowed).

    Raises NoRoleInstance if no RoleInstance is listed yet, GoalStateError for everything else that cannot be used.
    """
    try:
        found = xml.texts(document, "GoalState", _WANTED, (_ROLE_INSTANCE,))
    except xml.NotWellFormed as error:
        raise GoalStateError(f"the goal state {error}; it starts with {_start(document)}") from None
    except xml.XmlError as error:
        raise GoalStateError(f"the goal state {error}") from None
    role_instances = sum(path == _ROLE_INSTANCE for path, _ in found)
    values = dict(reversed(found))  # the first of several counts
    for path in _WANTED:
        if path == _INSTANCE and not role_instances:
            raise NoRoleInstance("the goal state lists no RoleInstance yet")
        if not values.get(path):
            state = (
                "missing from"
                if path not in values
                else "empty in"
                if values[path] == ""
                else "no text, it holds an element, in"
            )
            raise GoalStateError(f"{path.removeprefix('GoalState/')} is {state} the goal state")
    incarnation, container_id, instance_id = (values[path] or "" for path in _WANTED)
    return GoalState(incarnation, container_id, instance_id, role_instances)


def _start(document: bytes) -> str:
    return repr(document[:40].decode("latin-1"))
