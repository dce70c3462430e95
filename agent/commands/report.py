"""`azready report`: one report to the platform, for provisioning code of others."""

from agent.azure.retry import Deadline
from agent.azure.wireserver import DEFAULT_URL, Wireserver
from agent.commands import common
from agent.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log


def run(kind: str, positional: "list[str]", options: "dict[str, str]", log: "Log") -> int:
    """Report `kind`: "ready", "provisioning" or "failed", which takes its reason.

    Raises GaveUp or Refused.
    """
    endpoint = common.endpoint(options, "--wireserver", DEFAULT_URL)
    wireserver = Wireserver(endpoint, Deadline(common.seconds(options)), log)
    if kind == "ready":
        reported, goal_state = "Ready", wireserver.report_ready()
    elif kind == "provisioning":
        reported = "Provisioning"
        goal_state = wireserver.report_not_ready(reported, "Starting")
    else:
        reported = "ProvisioningFailed"
        goal_state = wireserver.report_not_ready(reported, positional[0])
    log.info(
        f"{reported} was reported and accepted for instance {goal_state.instance_id} "
        f"after {log.elapsed()}"
    )
    return EXIT_DONE
