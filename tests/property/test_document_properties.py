"""Goal states, health documents, instance metadata and hosts files, for any input.

They are compared with the standard library's slow twins.
"""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ProtocolError
from agent.formats import hosts
from agent.protocol import goalstate, health, http1, imds
from agent.protocol.goalstate import GoalState, GoalStateError

_NAMES = st.sampled_from(
    [
        "GoalState",
        "Incarnation",
        "Container",
        "ContainerId",
        "RoleInstanceList",
        "RoleInstance",
        "InstanceId",
        "Machine",
        "x",
        "{urn:a}InstanceId",
    ]
)
_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8
) | st.sampled_from([" \r\n ", "\t", "a&b", "]]>", ""])


def _element(name: str, text: str, children: list[ElementTree.Element]) -> ElementTree.Element:
    element = ElementTree.Element(name)
    element.text = text
    element.extend(children)
    return element


_LEAVES = st.builds(_element, _NAMES, _TEXT, st.just([]))
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.builds(_element, _NAMES, _TEXT, st.lists(inner, max_size=4)),
    max_leaves=12,
)


@st.composite
def goal_states(draw: st.DrawFn) -> ElementTree.Element:
    """Goal states with an element missing, doubled or out of place now and then."""

    def some(name: str, *children: ElementTree.Element) -> list[ElementTree.Element]:
        number = draw(st.sampled_from([1, 1, 1, 1, 1, 0, 2]))
        return [_element(name, draw(_TEXT) or "v", list(children)) for _ in range(number)]

    extra = draw(st.lists(_TREES, max_size=2))
    roles = some("RoleInstance", *some("InstanceId"), *extra[:1])
    container = some("Container", *some("ContainerId"), *some("RoleInstanceList", *roles))
    return _element("GoalState", draw(_TEXT), [*some("Incarnation"), *extra[1:], *container])


def parsed(document: bytes) -> GoalState | None:
    try:
        return goalstate.parse(document)
    except GoalStateError:
        return None


@given(
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_give_a_goal_state_or_our_own_error(data: bytes) -> None:
    parsed(data)
    parsed(b"<GoalState>" + data + b"</GoalState>")
    parsed(b'<?xml version="1.0" encoding="' + data)


@given(goal_states() | _TREES, st.sampled_from(["utf-8", "utf-8-sig"]))
def test_goal_state_reader_agrees_with_elementtree_on_what_it_accepts(
    tree: ElementTree.Element, encoding: str
) -> None:
    """Known differences, all of them refusals here.

    They are a DTD, an element inside an id, more than 64 levels, an empty or very long id.
    """
    document = ElementTree.tostring(tree, encoding="unicode").encode(encoding)
    mine = parsed(document)
    if mine is None:
        return
    root = ElementTree.fromstring(document)
    paths = (
        "Incarnation",
        "Container/ContainerId",
        "Container/RoleInstanceList/RoleInstance/InstanceId",
    )
    assert [(root.findtext(path) or "").strip() for path in paths] == [
        mine.incarnation,
        mine.container_id,
        mine.instance_id,
    ]
    assert len(root.findall("Container/RoleInstanceList/RoleInstance")) == mine.role_instances


@given(goal_states())
def test_whatever_elementtree_finds_whole_is_accepted(tree: ElementTree.Element) -> None:
    document = ElementTree.tostring(tree, encoding="utf-8")
    root = ElementTree.fromstring(document)
    paths = (
        "Incarnation",
        "Container/ContainerId",
        "Container/RoleInstanceList/RoleInstance/InstanceId",
    )
    found = [root.find(path) for path in paths]
    if all(
        element is not None and (element.text or "").strip() and not len(element)
        for element in found
    ):
        assert parsed(document) is not None


@given(
    st.text(min_size=1),
    st.text(min_size=1),
    st.text(min_size=1),
    st.text(),
    st.sampled_from(["Provisioning", "ProvisioningFailed"]),
)
def test_health_documents_survive_an_xml_parser_for_any_text(
    incarnation: str, container: str, instance: str, description: str, substatus: str
) -> None:
    def carried(text: str) -> str:
        return "".join(
            character if health._allowed(ord(character)) else "\ufffd" for character in text
        )

    root = ElementTree.fromstring(
        health.not_ready(GoalState(incarnation, container, instance, 1), substatus, description)
    )
    assert root.findtext("GoalStateIncarnation") == carried(incarnation)
    assert root.findtext("Container/ContainerId") == carried(container)
    assert root.findtext(".//InstanceId") == carried(instance)
    assert root.findtext(".//SubStatus") == substatus
    assert root.findtext(".//Description") == carried(description[:512])


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "compute",
                    "osProfile",
                    "computerName",
                    "name",
                    "publicKeys",
                    "keyData",
                    "extended",
                    "vmId",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    _JSON.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=200)
    | st.just({}).map(lambda _: b"{}")
)
def test_any_bytes_give_instance_metadata_or_our_own_error(data: bytes) -> None:
    for document in (
        data,
        b'{"compute": ' + data + b"}",
        b'{"compute": {"osProfile": ' + data + b"}}",
    ):
        try:
            metadata = imds.parse(document)
        except imds.MetadataError:
            continue
        texts = (
            metadata.computer_name,
            metadata.name,
            metadata.vm_id,
            metadata.admin_username,
            metadata.user_data,
            metadata.pps_type,
        )
        assert all(isinstance(text, str) for text in texts)
        assert metadata.disable_password in (None, True, False)


@given(
    _JSON.map(json.dumps)
    | st.text(max_size=30)
    | st.text('[]{}",:0123456789.eE+- \n\\untfalsr', max_size=12)
)
def test_json_is_read_as_the_json_module_reads_it(text: str) -> None:
    """The known difference: NaN and Infinity, which are not JSON (RFC 8259 6), are refused here."""
    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(ValueError):
            imds._decode(text.strip(" \t\r\n"))
    else:
        assert imds._decode(text.strip(" \t\r\n")) == expected


def refuse(constant: str) -> None:
    raise ValueError(constant)


@given(st.text(max_size=80))
def test_sanitised_names_are_legal_or_empty_and_stay_the_same(name: str) -> None:
    legal = hosts.sanitise(name)
    assert hosts.sanitise(legal) == legal
    assert len(legal) <= 64
    for label in legal.split(".") if legal else []:
        assert 0 < len(label) <= 63
        assert label.isascii()
        assert label.replace("-", "a").isalnum()
        assert not label.startswith("-")
        assert not label.endswith("-")


@given(
    st.binary(max_size=200), st.sampled_from(["web", "web.example"]), st.sampled_from(["", "old"])
)
def test_hosts_files_keep_every_line_but_the_own_one(content: bytes, name: str, old: str) -> None:
    after = hosts.with_name(content, name, old)
    lines = after.split(b"\n")
    for line in content.split(b"\n"):
        assert line in lines or line.split()[:1] == [b"127.0.1.1"]
    assert hosts.with_name(after, name, old) == after


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_retry_after_is_a_number_or_nothing(value: str, date: str) -> None:
    seconds = http1.retry_after({"retry-after": value, "date": date})
    assert seconds is None or seconds >= 0


def test_errors_of_the_parsers_share_one_root() -> None:
    for kind in (GoalStateError, goalstate.NoRoleInstance, imds.MetadataError, http1.HttpError):
        assert issubclass(kind, ProtocolError)
        assert kind.exit_code == 4
