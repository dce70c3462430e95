"""`azready uninstall`: remove azready and its unit from an image; markers and settings stay."""

from agent import init
from agent.change import Change, discarding, perform, rehearse
from agent.commands import common
from agent.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.change import Changes
    from agent.init.scripts import Scripts
    from agent.log import Log
    from agent.root import Root


def run(options: "dict[str, str]", log: "Log") -> int:
    """Uninstall from the tree of the command line, or only print what that would remove."""
    root, executable = common.tree(options, changes=True), common.executable(options)
    act = rehearse if "--dry-run" in options else perform
    vendors = init.vendors(root)
    is_vendors = "--vendor" in options
    if vendors and not is_vendors:
        log.warning("a vendor's azready is below /usr: uninstall --vendor removes it")
    if is_vendors and not vendors:
        log.info("nothing to do: no vendor's azready is installed")
        return EXIT_DONE
    systems = vendors if is_vendors else ()
    if not act(changes(root, executable, systems), log):
        log.info("nothing to do: azready is not installed")
    return EXIT_DONE


def changes(root: "Root", executable: str, systems: "Sequence[Scripts]" = ()) -> "Changes":
    """Yield the removal of links, units (of all init systems, or these) and the file.

    Raises GuestError.
    """
    systems = systems or tuple(init.SYSTEMS.values())
    if links := init.unique(system.entries(root) for system in systems):
        text = f"disable azready: remove {', '.join(links)}"
        yield Change(text, lambda: [root.discard(link) for link in links])
    for system in systems:
        yield from system.removing(root)
    if root.status(executable, follow=False) is not None:
        yield discarding(root, executable)
