"""Report Ready, write the marker, disable the unit: each only after the one before."""

from agent import __version__, init
from agent.azure.wireserver import Wireserver
from agent.change import Change, Step
from agent.errors import GuestError
from agent.init.systemd import DISABLED
from agent.steps import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes


def report(boot: "Boot") -> "Changes":
    """Yield the report. A rehearsal fetches the goal state, to see that the platform answers.

    Raises GaveUp or Refused.
    """
    wireserver = Wireserver(boot.wireserver, boot.deadline, boot.log, boot.meanwhile)
    if boot.rehearsing:
        wireserver.goal_state()
    yield Change("report Ready", lambda: _report(boot, wireserver))


def _report(boot: "Boot", wireserver: Wireserver) -> None:
    def sending() -> None:
        boot.ready_sent = True

    goal_state = wireserver.report_ready(sending)
    boot.log.info(
        f"Ready was accepted for instance {goal_state.instance_id} "
        f"in container {goal_state.container_id}"
    )


def mark(boot: "Boot") -> "Changes":
    """Yield the marker of this VM."""
    if not boot.vm_id:
        boot.log.warning(
            "the id of this VM is unknown (no DMI, no instance metadata): without a marker, the "
            "next boot may provision again"
        )
        return
    path = state.marker(boot.config.state_directory, boot.vm_id)
    note = f"azready {__version__} reported Ready"
    yield Change(f"write the marker {path}", lambda: state.remember(boot.root, path, note))


def disable(boot: "Boot") -> "Changes":
    """Yield the removal of the links that start azready; if that fails, the file in their place."""
    systems = init.starting(boot.root)
    if not systems:
        return
    text = f"disable azready: remove {', '.join(init.unique(systems.values()))}"
    try:
        yield Change(text, lambda: [system.disable(boot.root) for system in systems])
    except GuestError as error:
        boot.log.warning(str(error))
        # For a read-only /etc: the unit has a condition on this file.
        note = "the links of the unit could not be removed"
        yield Change(
            f"create {DISABLED}, which keeps the unit from running again",
            lambda: state.remember(boot.root, DISABLED, note),
        )


READY = Step("ready", "Report Ready.", report, fatal=True)
MARKER = Step("marker", "Write the marker of this VM.", mark)
DISABLE = Step("disable", "Disable azready.", disable)
