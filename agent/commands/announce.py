"""`azready announce`: have the DHCP servers of all leases learn the name of this machine.

A first boot does this by itself, and under systemd has it done outside of the sandbox of its unit
(agent/machine/holder.py).
"""

from agent.azure.retry import Deadline
from agent.commands import common
from agent.errors import EXIT_DONE, GuestError
from agent.machine import holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log


def run(options: "dict[str, str]", log: "Log") -> int:
    """Tell every client that holds a lease; what fails is one error at the end."""
    common.need_root("talks to DHCP clients")
    root = common.tree({})
    deadline = Deadline(common.seconds(options, common.LEASE_DEADLINE))
    if problems := holder.announce(root, holder.addresses(), log, deadline):
        raise GuestError("; ".join(problems))
    return EXIT_DONE
