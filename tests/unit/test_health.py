"""Health documents."""

from xml.etree import ElementTree

import pytest

from agent.protocol import health
from agent.protocol.goalstate import GoalState

GOAL_STATE = GoalState("3", "con&tainer", "<instance>", 1)


def test_ready_names_what_the_goal_state_said() -> None:
    root = ElementTree.fromstring(health.ready(GOAL_STATE))
    role = "Container/RoleInstanceList/Role/"
    assert [
        root.findtext(path)
        for path in (
            "GoalStateIncarnation",
            "Container/ContainerId",
            f"{role}InstanceId",
            f"{role}Health/State",
        )
    ] == [
        "3",
        "con&tainer",
        "<instance>",
        "Ready",
    ]
    assert root.find(f"{role}Health/Details") is None


def test_not_ready_carries_substatus_and_description() -> None:
    details = "Container/RoleInstanceList/Role/Health/"
    root = ElementTree.fromstring(
        health.not_ready(GOAL_STATE, "ProvisioningFailed", "disk <full> & more")
    )
    assert root.findtext(details + "State") == "NotReady"
    assert root.findtext(details + "Details/SubStatus") == "ProvisioningFailed"
    assert root.findtext(details + "Details/Description") == "disk <full> & more"


@pytest.mark.parametrize("character", ["a", "&", "\U0001f600", "\r"])
def test_description_is_cut_before_escaping_and_stays_under_the_platforms_limit(
    character: str,
) -> None:
    document = health.not_ready(GOAL_STATE, "ProvisioningFailed", character * 5000)
    description = ElementTree.fromstring(document).findtext(".//Description")
    assert description == character * 512
    start, end = document.index(b"<Description>") + 13, document.index(b"</Description>")
    assert end - start <= 4096


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\0b", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("\uffff", "\ufffd"),
        ("a\tb\nc", "a\tb\nc"),
        ("]]>", "]]&gt;"),
        ("\r\n", "&#13;\n"),
    ],
)
def test_what_xml_cannot_carry_is_replaced(text: str, escaped: str) -> None:
    assert health.escape(text) == escaped
