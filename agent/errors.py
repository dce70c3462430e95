"""Everything that can go wrong, as one tree, and the exit statuses.

Each error carries one line for a person: what happened, with what value, what to do next. It also
carries the exit status of a run that it ends. Errors are raised where they occur and caught where
somebody can act on them: agent/azure/retry.py repeats what raised `Transient`,
agent/commands/provision.py reports a failed step, agent/cli.py prints the line.
"""

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_NOT_UNDERSTOOD = 4
EXIT_PRIVILEGE = 5
EXIT_INTERRUPTED = 130  # as shells report SIGINT: 128 + 2

OUT_OF_MEMORY = "out of memory: raise the limit of this process, or give this machine more"


class AzreadyError(Exception):
    """Base of all errors of the agent; `str(error)` is one line for a person."""

    exit_code = EXIT_FAILED


class UsageError(AzreadyError):
    """The command line or the settings are invalid."""

    exit_code = EXIT_USAGE


class PrivilegeError(AzreadyError):
    """The work needs rights that this process does not have."""

    exit_code = EXIT_PRIVILEGE


class GuestError(AzreadyError):
    """Something of this machine or image could not be read or changed."""


class ProtocolError(AzreadyError):
    """Bytes from outside are not what the protocol allows; agent.protocol raises it."""

    exit_code = EXIT_NOT_UNDERSTOOD


class Refused(AzreadyError):
    """The platform's answer is final; another attempt cannot help."""

    exit_code = EXIT_NOT_UNDERSTOOD


class Transient(AzreadyError):
    """One attempt failed, and another may succeed.

    `wait` is the pause that this failure asks for, in seconds (Retry-After, or a rule of the
    protocol); None leaves it to the backoff. `no_way` tells that the kernel knows no way to the
    platform. `exit_code` is the exit status of the run if the deadline allows no other attempt.
    """

    def __init__(
        self,
        message: str,
        *,
        wait: "float | None" = None,
        no_way: bool = False,
        exit_code: int = EXIT_UNREACHABLE,
    ) -> None:
        super().__init__(message)
        self.wait = wait
        self.no_way = no_way
        self.exit_code = exit_code


class GaveUp(AzreadyError):
    """The deadline has passed. The text names the last failure, the exit status is that one's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def reason(error: OSError) -> str:
    """Return the system's message in lower case: "no such file or directory"."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]  # only the first letter: the rest may hold a path
