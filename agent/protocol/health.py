"""Health reports: the XML that tells the wireserver how provisioning goes.

Built as text, because the documents are fixed but for four values, and those are escaped. Mind the asymmetry: the goal state says RoleInstance, the
health report says Role (azure-platform.md; element names as in Microsoft's page on images without an agent).
"""

from agent.protocol.goalstate import GoalState

MAX_DESCRIPTION = (
    512  # characters before escaping: five bytes each at worst, within the platform's 4096
)


def ready(goal_state: GoalState) -> bytes:
    """The report that ends provisioning well. UTF-8."""
    return _document(goal_state, "<State>Ready</State>")


def not_ready(goal_state: GoalState, substatus: str, description: str) -> bytes:
    """The report of a failure (`substatus` "ProvisioningFailed") or of work under way ("Provisioning"). UTF-8.

    `description` is any text; it is cut at MAX_DESCRIPTION characters, and what XML cannot carry is replaced.
    """
    return _document(
        goal_state,
        "<State>NotReady</State>"
        f"<Details><SubStatus>{escape(substatus)}</SubStatus>"
        f"<Description>{escape(description[:MAX_DESCRIPTION])}</Description></Details>",
    )


def _document(goal_state: GoalState, health: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<Health><GoalStateIncarnation>{escape(goal_state.incarnation)}</GoalStateIncarnation>"
        f"<Container><ContainerId>{escape(goal_state.container_id)}</ContainerId>"
        f"<RoleInstanceList><Role><InstanceId>{escape(goal_state.instance_id)}</InstanceId>"
        f"<Health>{health}</Health></Role></RoleInstanceList></Container></Health>"
    ).encode()


def escape(text: str) -> str:
    """`text` as XML character data: markup escaped, a carriage return kept, characters that XML 1.0 does not allow replaced by U+FFFD."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(character if _allowed(ord(character)) else "\ufffd" for character in text)
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    )


def _allowed(code: int) -> bool:
    """XML 1.0, production 2 (Char)."""
    return (
        code in (0x9, 0xA, 0xD)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or code >= 0x10000
    )
