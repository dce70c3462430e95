"""The wireserver: fetch the goal state, report health (agent/README.md).

A report is one unit of work that is retried as a whole, a fresh goal state and then the POST: a
goal state can go stale between two tries.
"""

from agent.azure.http import Endpoint, exchange
from agent.azure.retry import Deadline, retry
from agent.errors import EXIT_NOT_UNDERSTOOD, EXIT_UNREACHABLE, Refused, Transient
from agent.protocol import goalstate, health
from agent.protocol.http1 import Response, retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.azure.retry import Meanwhile
    from agent.log import Log

DEFAULT_URL = "http://168.63.129.16"

_VERSION = {"x-ms-version": "2012-11-30"}
_REPORT = {**_VERSION, "x-ms-agent-name": "azready", "Content-Type": "text/xml;charset=utf-8"}
_STALE = b"InvalidContainerConfiguration"
_EARLY_TRIES = 6  # while no role instance is listed yet, the platform needs moments, not seconds
_EARLY_PAUSE = 0.5  # seconds


class Wireserver:
    """The service at `endpoint`, used until `deadline`.

    `meanwhile` is for the pauses (agent/azure/retry.py).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        deadline: Deadline,
        log: "Log",
        meanwhile: "Meanwhile | None" = None,
    ) -> None:
        self._endpoint = endpoint
        self._deadline = deadline
        self._log = log
        self._meanwhile = meanwhile
        self._early = 0
        self._stale = False

    def goal_state(self) -> goalstate.GoalState:
        """Fetch the goal state, with retries. Raises GaveUp or Refused."""
        return retry(
            "fetching the goal state", self._fetch, self._deadline, self._log, self._meanwhile
        )

    def report_ready(self, sending: "Callable[[], object]" = bool) -> goalstate.GoalState:
        """Report Ready; return the goal state after the wireserver accepted the report (2xx).

        `sending` is called right before each time that it is sent. Raises GaveUp or Refused.
        """

        def document(goal_state: goalstate.GoalState) -> bytes:
            sending()
            return health.ready(goal_state)

        return self._report("reporting Ready", document)

    def report_not_ready(self, substatus: str, description: str) -> goalstate.GoalState:
        """Report a failure ("ProvisioningFailed") or work in progress ("Provisioning").

        Raises GaveUp or Refused.
        """
        return self._report(
            f"reporting {substatus}",
            lambda goal_state: health.not_ready(goal_state, substatus, description),
        )

    def _report(
        self, what: str, document: "Callable[[goalstate.GoalState], bytes]"
    ) -> goalstate.GoalState:
        def once() -> goalstate.GoalState:
            goal_state = self._fetch()
            response = exchange(
                self._endpoint,
                "POST",
                "/machine?comp=health",
                _REPORT,
                document(goal_state),
                self._deadline,
            )
            self._log.debug(
                f"health report of {goal_state.instance_id}: "
                f"answered with {response.status} {response.reason}"
            )
            self._check(response, "the health report", response.status < 300)
            return goal_state

        return retry(what, once, self._deadline, self._log, self._meanwhile)

    def _fetch(self) -> goalstate.GoalState:
        response = exchange(
            self._endpoint, "GET", "/machine?comp=goalstate", _VERSION, None, self._deadline
        )
        self._log.debug(
            f"goal state: answered with {response.status} {response.reason}, "
            f"{len(response.body)} bytes"
        )
        self._check(response, "the goal state", response.status == 200)
        try:
            goal_state = goalstate.parse(response.body)
        except goalstate.NoRoleInstance as error:
            self._early += 1
            wait = _EARLY_PAUSE if self._early <= _EARLY_TRIES else None
            raise Transient(str(error), wait=wait, exit_code=error.exit_code) from None
        except goalstate.GoalStateError as error:
            raise Transient(str(error), exit_code=error.exit_code) from None
        if goal_state.role_instances > 1:
            self._log.debug(
                f"the goal state lists {goal_state.role_instances} role instances; "
                f"using the first, {goal_state.instance_id}"
            )
        return goal_state

    def _check(self, response: Response, what: str, accepted: bool) -> None:
        """Sort the answer: accepted, worth another try (Transient), or final (Refused)."""
        status = response.status
        if accepted:
            self._stale = False
            return
        answer = f"the wireserver answered {what} with {status} {response.reason}".rstrip()
        wait: "float | None" = retry_after(response.headers)
        if status == 410 or (status == 400 and _STALE in response.body):
            # Each try fetches the goal state anew, so the first one needs no pause.
            wait = wait if self._stale or wait else 0.0
            self._stale = True
            raise Transient(f"{answer}: the goal state is stale", wait=wait)
        if status in (404, 408, 409, 429) or status >= 500:
            raise Transient(answer, wait=wait, exit_code=EXIT_UNREACHABLE)
        if status == 403:
            raise Transient(
                f"{answer} (throttled, or a firewall rule lets only root talk to it)",
                wait=wait,
                exit_code=EXIT_NOT_UNDERSTOOD,
            )
        if status < 400:
            raise Transient(
                f"{answer}, which is not an answer to this request", exit_code=EXIT_NOT_UNDERSTOOD
            )
        raise Refused(f"{answer}: trying again cannot help")
