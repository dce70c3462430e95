"""`azready unit`: print the unit or init script."""

from agent import init
from agent.commands import common
from agent.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log


def run(options: "dict[str, str]", _: "Log") -> int:
    """Print what the init system of --init, by default systemd, gets."""
    system = init.SYSTEMS[common.init_system(options) or "systemd"]
    common.write(system.unit(common.executable(options)))
    return EXIT_DONE
