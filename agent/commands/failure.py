"""How a first boot fails: who is told what, and the last line of the log.

The Hyper-V host is told first and then the platform, because the person at the portal can read
nothing else. Once Ready may have reached the platform, it is told nothing else. What
`azready check` would find wrong follows the reason, as far as it fits. No error on the way, of
whatever kind, keeps one of them from being told.
"""

from agent import init, signals
from agent.azure.retry import Deadline
from agent.azure.wireserver import Wireserver
from agent.errors import EXIT_FAILED, OUT_OF_MEMORY, AzreadyError, GaveUp, Refused, UsageError
from agent.log import printable
from agent.protocol import kvp as records
from agent.steps import kvp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot

_MOST_FINDINGS = 10
_MAX_REASON = 500  # characters; the rest of the last line must fit into one of the log


class ProvisioningFailed(AzreadyError):
    """The run failed. The text says why, who was told, and what happens next."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def fail(boot: "Boot", error: Exception) -> None:
    """Report the failure to host and platform. Always raises ProvisioningFailed."""
    reason = str(error)
    if isinstance(error, MemoryError):
        reason = OUT_OF_MEMORY
    elif not isinstance(error, AzreadyError):
        reason = f"unhandled exception: {type(error).__name__}: {error}"
    if boot.rehearsing:
        raise ProvisioningFailed(f"provisioning would fail: {reason}", _code(error)) from None
    boot.failure = reason
    deadline = boot.deadline if boot.deadline.left() > 0 else Deadline(signals.LAST_WORDS)
    # If the report of Ready has failed, so would another one.
    finish(boot, None if isinstance(error, (GaveUp, Refused)) else deadline, _code(error))


def _code(error: Exception) -> int:
    """Return the exit status: that of the settings or the platform, 1 for a failed step."""
    return error.exit_code if isinstance(error, (UsageError, GaveUp, Refused)) else EXIT_FAILED


def finish(boot: "Boot", deadline: "Deadline | None", code: int) -> None:
    """Tell everybody about `boot.failure`, the platform until `deadline`, if there is one.

    Always raises ProvisioningFailed, whose text is the last line of the log.
    """
    findings = _findings(boot)
    for finding in findings:
        boot.log.warning(f"check: {finding}")
    description = record(boot, "; ".join((boot.failure, *findings)))
    told = "Azure was not told"
    if boot.ready_sent:
        told = "Ready was sent, and Azure has not confirmed it"
    elif deadline:
        try:
            wireserver = Wireserver(boot.wireserver, deadline, boot.log, boot.meanwhile)
            wireserver.report_not_ready("ProvisioningFailed", description)
            told = "Azure was told"
        except Exception as error:
            told = f"Azure was not told: {error}"
    login = "works" if boot.account and "login" in boot.done else "may not work"
    reason = printable(boot.failure)[:_MAX_REASON]
    signals.mute()
    raise ProvisioningFailed(
        f"provisioning failed: {reason}; login {login}; {told}; {_next(boot)}",
        code,
    ) from None


def _next(boot: "Boot") -> str:
    """Return what happens after a failure."""
    try:
        again = init.enabled(boot.root)
    except Exception as error:
        return f"tried again if a boot starts azready: {error}"
    if again:
        return "tried again at the next boot"
    return "no boot tries again: run azready provision, or azready install"


def _findings(boot: "Boot") -> "list[str]":
    """Return what `azready check` finds wrong with this machine, without asking the network."""
    from agent.commands import check

    try:
        return check.after_failure(boot)[:_MOST_FINDINGS]
    except Exception as error:
        return [f"unhandled exception: {type(error).__name__}: {error}"]


def record(boot: "Boot", reason: str) -> str:
    """Record the failure for the Hyper-V host; return the text of the record."""
    text = records.error(reason, kvp.source(boot))
    if boot.config.steps["kvp"] and kvp.has_pool(boot.root):
        try:
            kvp.write(boot.root, text)
        except Exception as error:
            boot.log.warning(str(error))
    return text
