"""Health reports: the XML that tells the wireserver how provisioning goes.

Built as text, because the documents are fixed but for four values, and those are escaped. Mind the
asymmetry: the goal state says RoleInstance, the health report says Role. The elements are those of
https://learn.microsoft.com/en-us/azure/virtual-machines/linux/no-agent
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocol.goalstate import GoalState

MAX_DESCRIPTION = 512  # characters before escaping; at 5 bytes each within the platform's 4096


def ready(goal_state: "GoalState") -> bytes:
    """Return the report that provisioning succeeded. UTF-8."""
    return _document(goal_state, "<State>Ready</State>")


def not_ready(goal_state: "GoalState", substatus: str, description: str) -> bytes:
    """Return the report of a failure ("ProvisioningFailed") or of progress ("Provisioning"). UTF-8.

    `description` is any text. It is cut at MAX_DESCRIPTION characters; characters that XML cannot
    carry are replaced.
    """
    return _document(
        goal_state,
        "<State>NotReady</State>"
        f"<Details><SubStatus>{escape(substatus)}</SubStatus>"
        f"<Description>{escape(description[:MAX_DESCRIPTION])}</Description></Details>",
    )


def _document(goal_state: "GoalState", health: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<Health><GoalStateIncarnation>{escape(goal_state.incarnation)}</GoalStateIncarnation>"
        f"<Container><ContainerId>{escape(goal_state.container_id)}</ContainerId>"
        f"<RoleInstanceList><Role><InstanceId>{escape(goal_state.instance_id)}</InstanceId>"
        f"<Health>{health}</Health></Role></RoleInstanceList></Container></Health>"
    ).encode()


def escape(text: str) -> str:
    """Return `text` as XML character data.

    Markup is escaped, a carriage return is kept, and characters that XML 1.0 does not allow become
    U+FFFD.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(character if _allowed(ord(character)) else "\ufffd" for character in text)
    for character, reference in _REFERENCES:
        text = text.replace(character, reference)
    return text


_REFERENCES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))


def _allowed(code: int) -> bool:
    """XML 1.0, production 2 (Char)."""
    return (
        code in (0x9, 0xA, 0xD)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or code >= 0x10000
    )
