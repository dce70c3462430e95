"""`azready lease`: ask for a lease (DHCP), unless somebody else has configured the network.

A first boot does this by itself, and under systemd has it done outside of the sandbox of its unit
(agent/machine/dhcp.py).
"""

from agent.azure.retry import Deadline
from agent.commands import common
from agent.errors import EXIT_DONE, EXIT_FAILED
from agent.machine.dhcp import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log


def run(options: "dict[str, str]", log: "Log") -> int:
    """Get one lease; no lease is a failure, but not where the network is configured."""
    common.need_root("configures the network")
    client = Client(common.tree({}), log)
    deadline = Deadline(common.seconds(options, common.LEASE_DEADLINE))
    while client.turn(deadline, no_way=True) and not client.lease and deadline.left():
        pass
    return EXIT_DONE if client.lease or client.is_left else EXIT_FAILED
