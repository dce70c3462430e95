"""What can go wrong, as one tree.

Every error carries the one line a person reads (what happened, with what value, what to do) and the exit code of DESIGN.md. Nothing below
`provision.py` and `cli.py` catches these to hide them; what may be tried again derives from `Transient`.
"""

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_NOT_UNDERSTOOD = 4
EXIT_PRIVILEGE = 5


class AzreadyError(Exception):
    """Base of all errors of the agent; `str(error)` is one line for a person."""

    exit_code = EXIT_FAILED


class UsageError(AzreadyError):
    """The command line cannot be carried out as it was given."""

    exit_code = EXIT_USAGE


class PrivilegeError(AzreadyError):
    """The work needs rights that this process does not have."""

    exit_code = EXIT_PRIVILEGE


class GuestError(AzreadyError):
    """A file or a setting of this machine could not be changed."""


class ProtocolError(AzreadyError):
    """Bytes that came from outside are not what the protocol allows (raised by everything in `agent.protocol`)."""

    exit_code = EXIT_NOT_UNDERSTOOD


class Refused(AzreadyError):
    """The platform answered, and the answer is final: trying again cannot help."""

    exit_code = EXIT_NOT_UNDERSTOOD


class Transient(AzreadyError):
    """One try failed and another may succeed.

    `wait` is the pause that this failure asks for, in seconds (from Retry-After, or a rule of the protocol); None leaves it to the backoff.
    `exit_code` is what the program ends with when this was the last try that the deadline allowed.
    """

    def __init__(
        self, message: str, *, wait: "float | None" = None, exit_code: int = EXIT_UNREACHABLE
    ) -> None:
        super().__init__(message)
        self.wait = wait
        self.exit_code = exit_code


class GaveUp(AzreadyError):
    """The time was used up; the text names the last failure, the exit code is that failure's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def reason(error: OSError) -> str:
    """What the system said, as it reads in the middle of a line: "no such file or directory"."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]  # the rest may hold a path
