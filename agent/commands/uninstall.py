"""`azready uninstall`: remove azready and its unit from an image; markers and settings stay."""

from agent import init
from agent.change import Change, discarding, perform, rehearse
from agent.commands import common
from agent.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.change import Changes
    from agent.log import Log
    from agent.root import Root


def run(options: "dict[str, str]", log: "Log") -> int:
    """Uninstall from the tree of the command line, or only print what that would remove."""
    root, executable = common.tree(options, changes=True), common.executable(options)
    act = rehearse if "--dry-run" in options else perform
    if not act(changes(root, executable), log):
        log.info("nothing to do: azready is not installed")
    return EXIT_DONE


def changes(root: "Root", executable: str) -> "Changes":
    """Yield the removal of links, units and the file. Raises GuestError."""
    if links := init.entries(root):
        text = f"disable azready: remove {', '.join(links)}"
        yield Change(text, lambda: [root.discard(link) for link in links])
    for system in init.SYSTEMS.values():
        yield from system.removing(root)
    if root.status(executable, follow=False) is not None:
        yield discarding(root, executable)
