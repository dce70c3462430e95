"""The Instance Metadata Service: one GET, answered with JSON (agent/README.md).

IMDS is a help, not a condition. It has its own budget, at most a quarter of the deadline and 5
minutes, or 10 s if the CD says enough: if it is dead, Ready is still reported. The 10 s begin with
a way to IMDS, for which a late DHCP server has a minute: what only IMDS knows (userData) must not
be lost.
"""

from agent.azure.http import Endpoint, exchange
from agent.azure.retry import Deadline, retry
from agent.errors import Refused, Transient
from agent.protocol import imds
from agent.protocol.http1 import retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.retry import Meanwhile
    from agent.log import Log

DEFAULT_URL = "http://169.254.169.254"
LONGEST_BUDGET = 300.0  # seconds
SHORT_BUDGET = 10.0  # seconds
LATEST = 60.0  # seconds, in which there must be a way to it if the CD says enough
GONE_BUDGET = 70.0  # seconds that a 410 may last, as documented

_TARGETS = (
    "/metadata/instance?api-version=2021-08-01&extended=true",
    "/metadata/instance?api-version=2019-06-01",
)
_HEADERS = {"Metadata": "true"}


def budget(deadline: Deadline, *, is_needed: bool = True) -> Deadline:
    """Return the part of `deadline` that IMDS may use; little if the CD says enough."""
    longest = deadline.within(min(deadline.seconds / 4, LONGEST_BUDGET)).left()
    if is_needed:
        return Deadline(longest)
    return Deadline(min(longest, SHORT_BUDGET), at_most=min(longest, LATEST))


def instance(
    endpoint: Endpoint, deadline: Deadline, log: "Log", meanwhile: "Meanwhile | None" = None
) -> imds.InstanceMetadata:
    """Fetch the instance metadata; `meanwhile` is for the pauses (agent/azure/retry.py).

    Raises GaveUp after `deadline`, and Refused for a final answer (401, 403, 405, other 4xx).
    """
    targets = iter(_TARGETS)
    target = next(targets)
    gone_until: "Deadline | None" = None

    def waiting(before_last: Deadline, no_way: bool) -> bool:
        took_time = meanwhile is not None and meanwhile(before_last, no_way)
        if no_way:
            deadline.put_off()  # nobody could be asked in that time either
        return took_time

    def once() -> imds.InstanceMetadata:
        nonlocal target, gone_until
        try:
            response = exchange(endpoint, "GET", target, _HEADERS, None, deadline)
        except Transient as failure:
            if failure.no_way:
                deadline.put_off()
            raise
        status = response.status
        log.debug(
            f"instance metadata: answered with {status} {response.reason}, "
            f"{len(response.body)} bytes"
        )
        answer = f"http error {status} querying IMDS"
        if status == 200:
            try:
                return imds.parse(response.body)
            except imds.MetadataError as error:
                raise Transient(str(error), exit_code=error.exit_code) from None
        if status == 400:
            older = next(targets, None)
            if older is None:
                raise Refused(answer)
            target = older
            raise Transient(f"{answer}; asking in an older version", wait=0.0)
        if status == 410:
            gone_until = gone_until or deadline.within(GONE_BUDGET)
            if gone_until.left() <= 0:
                raise Refused(f"{answer} for more than {GONE_BUDGET:g} s")
        elif status not in (404, 408, 429) and 300 <= status < 500:
            raise Refused(answer)
        raise Transient(answer, wait=retry_after(response.headers))

    return retry("fetching the instance metadata", once, deadline, log, waiting)
