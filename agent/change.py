"""Change and Step: everything that alters a machine is told once.

A step is a stream of changes. The stream is lazy and yields only what is not yet as it should be:
performing applies each change before the next one is computed, rehearsing only reads their texts.
So what was rehearsed is what is performed, and a second run is the empty stream.
"""

from agent.errors import GuestError
from agent.log import printable
from agent.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from agent.boot import Boot
    from agent.log import Log
    from agent.root import Root

    Changes = Generator["Change", None, None]


@record
class Change:
    """One alteration: `text` is an imperative ("create the user eve"); `apply` carries it out.

    `apply` raises GuestError, and then nothing has changed.
    """

    text: str
    apply: "Callable[[], object]"


@record
class Step:
    """One step of a first boot.

    `name` is its name in the settings, `summary` what it does, in one sentence. `changes` yields
    what is to be done for a run and raises GuestError. `fatal` tells whether a failure fails the
    run by default.
    """

    name: str
    summary: str
    changes: "Callable[[Boot], Iterator[Change]]"
    fatal: bool = False


def removal(root: "Root", path: str) -> Change:
    """Return the removal of a file, a link, or a folder with its content."""
    return Change(f"remove {printable(path)}", lambda: root.discard_tree(path))


def discarding(root: "Root", *paths: str) -> Change:
    """Return the removal of files and links; a folder in the place of one is an error."""
    text = f"remove {', '.join(map(printable, paths))}"
    return Change(text, lambda: [root.discard(path) for path in paths])


def perform(changes: "Iterator[Change]", log: "Log") -> int:
    """Apply each change and log its text; return how many there were. Raises GuestError.

    The failure of a change is raised in the stream, at its `yield`: a step may catch it and go on.
    """
    count = 0
    change = next(changes, None)
    while change is not None:
        try:
            change.apply()
        except GuestError as error:
            throw = getattr(changes, "throw", None)
            if throw is None:
                raise
            try:
                change = throw(error)
            except StopIteration:
                break
        else:
            log.info(change.text)
            count += 1
            change = next(changes, None)
    return count


def rehearse(changes: "Iterator[Change]", log: "Log") -> int:
    """Log what `perform` would do, and change nothing; return how many changes there are."""
    count = 0
    for change in changes:
        log.info(f"would {change.text}")
        count += 1
    return count
