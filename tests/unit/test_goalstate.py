"""Goal states as platforms send them, and as they must not be."""

import pytest

from agent.protocol.goalstate import MAX_SIZE, GoalStateError, NoRoleInstance, parse
from scripts.simulator.platform import document
from scripts.simulator.scenario import VM

VM_ = VM()


@pytest.mark.parametrize(
    "name", ["goal-state", "bom", "padded", "two-role-instances", "unknown-elements"]
)
def test_every_usual_shape_gives_the_same_ids(name: str) -> None:
    goal_state = parse(document(name, VM_))
    assert (goal_state.incarnation, goal_state.container_id, goal_state.instance_id) == (
        VM_.incarnation,
        VM_.container_id,
        VM_.instance_id,
    )
    assert goal_state.role_instances == (2 if name == "two-role-instances" else 1)


def test_ids_are_unescaped_and_opaque() -> None:
    odd = VM(container_id="a&b<c>", instance_id="0123.Ünïcode_IN_0", incarnation="007")
    goal_state = parse(document("goal-state", odd))
    assert (goal_state.container_id, goal_state.instance_id, goal_state.incarnation) == (
        "a&b<c>",
        "0123.Ünïcode_IN_0",
        "007",
    )


def test_no_role_instance_yet_is_told_apart() -> None:
    with pytest.raises(NoRoleInstance, match="lists no RoleInstance yet"):
        parse(document("no-role-instance", VM_))


GOOD = (
    "<GoalState><Incarnation>1</Incarnation><Container><ContainerId>c</ContainerId>"
    "<RoleInstanceList><RoleInstance><InstanceId>i</InstanceId></RoleInstance></RoleInstanceList></Container></GoalState>"
)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "<ContainerId>c</ContainerId>",
            "<ContainerId> \r\n </ContainerId>",
            "Container/ContainerId is empty",
        ),
        ("<ContainerId>c</ContainerId>", "<ContainerId/>", "Container/ContainerId is empty"),
        ("<ContainerId>c</ContainerId>", "", "Container/ContainerId is missing"),
        ("<InstanceId>i</InstanceId>", "", "InstanceId is missing"),
        ("<InstanceId>i</InstanceId>", "<InstanceId/>", "InstanceId is empty"),
        ("<Incarnation>1</Incarnation>", "", "Incarnation is missing"),
        ("<ContainerId>c</ContainerId>", "<ContainerId>c<b/></ContainerId>", "holds an element"),
        ("<ContainerId>c</ContainerId>", "<ContainerId>c<b/>d</ContainerId>", "holds an element"),
        (
            "<ContainerId>c</ContainerId>",
            f"<ContainerId>{'c' * 5000}</ContainerId>",
            "has 5000 characters",
        ),
        ("<GoalState>", "<!DOCTYPE GoalState><GoalState>", "holds a DTD: a web page"),
        ("<GoalState>", '<!DOCTYPE x [<!ENTITY a "aaaa">]><GoalState>', "DTD"),
        ("<GoalState>", "<GoalState>&undefined;", "not well-formed"),
        ("</GoalState>", "", "not well-formed"),
        ("</GoalState>", "</GoalState><GoalState/>", "not well-formed"),
        ("GoalState>", "Health>", "has the root element 'Health', not 'GoalState'"),
        ("<GoalState>", '<GoalState xmlns="urn:x">', "root element 'urn:x}GoalState'"),
        ("<GoalState>", "<GoalState>" + "<a>" * 70 + "</a>" * 70, "64 levels"),
        ("<GoalState>", '<?xml version="1.0" encoding="utf-16"?><GoalState>', ""),
    ],
)
def test_what_cannot_be_used_says_why(old: str, new: str, says: str) -> None:
    text = GOOD.replace(old, new)
    if not says:
        assert parse(text.encode()).container_id == "c"  # the declared encoding is not asked
        return
    with pytest.raises(GoalStateError, match=says):
        parse(text.encode())


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xfe<\0", b"<html>", b"not xml"])
def test_anything_but_xml_is_a_goal_state_error(data: bytes) -> None:
    with pytest.raises(GoalStateError):
        parse(data)


def test_size_is_capped() -> None:
    with pytest.raises(GoalStateError, match="the limit is 65536"):
        parse(GOOD.encode().replace(b"<Incarnation>", b" " * MAX_SIZE + b"<Incarnation>"))


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"<!doctype html><p>", b" <HTML><br>"])
def test_a_web_page_asks_for_a_proxy(page: bytes) -> None:
    with pytest.raises(GoalStateError, match="is a proxy or captive portal in the way"):
        parse(page)
