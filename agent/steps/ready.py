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
    from agent.init.scripts import Scripts
    from agent.root import Root


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
    """Yield the removal of what starts azready; if that fails or something stays, a file instead.

    A vendor's link, below /usr, stays.
    """
    systems = init.starting(boot.root)
    own = {
        system: [link for link in links if link not in system.others]
        for system, links in systems.items()
    }
    removed = init.unique(own.values())
    keeps = len(removed) < len(init.unique(systems.values()))
    if removed:
        text = f"disable azready: remove {', '.join(removed)}"
        try:
            yield Change(text, lambda: _disable(boot.root, own))
        except GuestError as error:
            boot.log.warning(str(error))
            keeps = True  # a read-only /etc
    if keeps:
        note = "the links of the unit could not be removed, or are a vendor's"
        yield Change(
            f"create {DISABLED}, which keeps the unit from running again",
            lambda: state.remember(boot.root, DISABLED, note),
        )


def _disable(root: "Root", systems: "dict[Scripts, list[str]]") -> None:
    for system, links in systems.items():
        system.disable(root, links)


READY = Step("ready", "Report Ready.", report, fatal=True)
MARKER = Step("marker", "Write the marker of this VM.", mark)
DISABLE = Step("disable", "Disable azready.", disable)
