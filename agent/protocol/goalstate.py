"""The wireserver's goal state: XML in, the three values that a health report repeats out.

Strategy: expat (the parser in CPython itself) walks the document once; we look at four paths and skip all the rest, so unknown elements cost nothing.
DTDs are refused, which rules out entity tricks; size and depth are capped. Elements have no namespace (azure-platform.md, from captured goal states).
"""

from pyexpat import ExpatError, ParserCreate

from agent.errors import ProtocolError

MAX_SIZE = 1024 * 1024  # bytes
MAX_DEPTH = 64
MAX_VALUE = 4096  # characters of an id; the ones observed have fewer than 100

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

    def __init__(self, incarnation: str, container_id: str, instance_id: str, role_instances: int) -> None:
        self.incarnation = incarnation
        self.container_id = container_id
        self.instance_id = instance_id
        self.role_instances = role_instances


def parse(document: bytes) -> GoalState:
    """Read a goal state document (UTF-8, with or without BOM, CR LF and padding allowed).

    Raises NoRoleInstance if no RoleInstance is listed yet, GoalStateError for everything else that cannot be used.
    """
    if len(document) > MAX_SIZE:
        raise GoalStateError(f"the goal state has {len(document)} bytes; the limit is {MAX_SIZE}")
    reader = _Reader()
    try:
        reader.read(document.removeprefix(b"\xef\xbb\xbf").strip())
    except ExpatError as error:
        raise GoalStateError(f"the goal state is not well-formed XML ({error}); it starts with {_start(document)}") from None
    values = reader.values
    for path in _WANTED:
        if path == _INSTANCE and not reader.role_instances:
            raise NoRoleInstance("the goal state lists no RoleInstance yet")
        if not values.get(path):
            state = "missing from the goal state" if path not in values else "empty in the goal state"
            raise GoalStateError(f"{path.removeprefix('GoalState/')} is {state}")
    return GoalState(values[_INCARNATION], values[_CONTAINER], values[_INSTANCE], reader.role_instances)


class _Reader:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.role_instances = 0
        self._path: list[str] = []
        self._wanted = ""  # the wanted path whose text is being collected
        self._text: list[str] = []

    def read(self, document: bytes) -> None:
        # The encoding is given, so that a document cannot choose one of Python's codecs; the separator turns name spaces on: a prefixed name is another name.
        parser = ParserCreate("utf-8", "}")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(document, True)

    def _doctype(self, *_: object) -> None:
        raise GoalStateError("the goal state holds a DTD, which is never accepted")

    def _start(self, name: str, _: object) -> None:
        if self._wanted:
            raise GoalStateError(f"{self._wanted.removeprefix('GoalState/')} holds an element where text belongs")
        if len(self._path) == MAX_DEPTH:
            raise GoalStateError(f"the goal state is nested more than {MAX_DEPTH} levels deep")
        if not self._path and name != "GoalState":
            raise GoalStateError(f"the document is no goal state: its root element is {name[:80]!r}")
        self._path.append(name)
        path = "/".join(self._path)
        if path == _ROLE_INSTANCE:
            self.role_instances += 1
        elif path in _WANTED and path not in self.values:
            self._wanted = path
            self._text = []

    def _end(self, _: str) -> None:
        self._path.pop()
        if self._wanted:
            value = "".join(self._text).strip()
            if len(value) > MAX_VALUE:
                raise GoalStateError(f"{self._wanted.removeprefix('GoalState/')} has {len(value)} characters; the limit is {MAX_VALUE}")
            self.values[self._wanted] = value
            self._wanted = ""

    def _characters(self, text: str) -> None:
        if self._wanted:
            self._text.append(text)


def _start(document: bytes) -> str:
    return repr(document[:40].decode("latin-1"))
