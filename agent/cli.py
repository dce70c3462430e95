"""The command line: words in, one command, an exit status out.

COMMANDS, OPTIONS and EXIT_STATUSES describe it. The parser, --help (agent/usage.py), the manual
pages, the shell completions and README.md follow from these tables. argparse is not used: it would
double the time of a start. Each command is a module of agent.commands, imported when it is called.
All errors end here, as one line.
"""

import posix
import sys

from agent import __version__
from agent.commands import common
from agent.commands.common import (
    CHECK_DEADLINE,
    DEFAULT_DEADLINE,
    DEFAULT_EXECUTABLE,
    LEASE_DEADLINE,
)
from agent.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOT_UNDERSTOOD,
    EXIT_PRIVILEGE,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    OUT_OF_MEMORY,
    AzreadyError,
    UsageError,
)
from agent.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COMMANDS", "COMMON", "DEFAULT_EXECUTABLE", "EXIT_STATUSES", "OPTIONS", "main"]

_HELP = ("--help", "-h")
# option -> (value, help); an option with the value "" is a switch
OPTIONS = {
    "--root": ("DIR", "work on the system below DIR instead of /; run none of its programs"),
    "--config": ("FILE", "read the settings from FILE alone, not from those of the image"),
    "--wireserver": ("URL", "address of the wireserver (http://168.63.129.16)"),
    "--imds": ("URL", "address of the metadata service (http://169.254.169.254)"),
    "--deadline": (
        "SECONDS",
        f"overall time limit ({DEFAULT_DEADLINE:.0f}; check: {CHECK_DEADLINE:.0f}; "
        f"lease, announce: {LEASE_DEADLINE:.0f})",
    ),
    "--force": ("", "provision even if this does not look like Azure"),
    "--dhcp": ("WHEN", "ask for a lease if nobody does: never, auto (default), now"),
    "--dry-run": ("", "print what would be done; change and report nothing"),
    "--json": ("", "print JSON"),
    "--user": ("NAME", "also remove this user, with home and mail"),
    "--yes": ("", "do not ask"),
    "--verbose": ("", "log every attempt with its status and time"),
    "--init": ("NAME", "init system (unit: systemd; install: detected)"),
    "--vendor": ("", "put everything below /usr, nothing into /etc (bootc, OSTree)"),
    "--file": ("FILE", "install FILE instead of the running file, for another architecture"),
    "--exec": ("PATH", f"path of the file in the image ({DEFAULT_EXECUTABLE})"),
}
# What most commands take.
COMMON = ("--wireserver", "--deadline", "--verbose")
# command -> (argument, help, options)
COMMANDS = {
    "provision": (
        "",
        "carry out a first boot, then report Ready",
        ("--root", "--config", "--imds", "--force", "--dhcp", "--dry-run", *COMMON),
    ),
    "check": (
        "",
        "diagnose why this VM is not Ready, without changing anything",
        ("--root", "--config", "--imds", "--force", "--json", *COMMON),
    ),
    "status": (
        "",
        "tell whether this VM has been provisioned, from its marker and record alone",
        ("--root", "--config", "--json"),
    ),
    "report ready": ("", "report Ready to the platform", COMMON),
    "report provisioning": ("", "report that provisioning is in progress", COMMON),
    "report failed": ("REASON", "report that provisioning failed, and why", COMMON),
    "lease": (
        "",
        "ask for a lease (DHCP), unless the network is configured",
        ("--deadline", "--verbose"),
    ),
    "announce": (
        "",
        "have the DHCP servers learn the host name, with the leases as they are",
        ("--deadline", "--verbose"),
    ),
    "unit": ("", "print the unit or init script", ("--init", "--exec")),
    "install": (
        "",
        "install this file and its unit into an image, and enable it",
        ("--root", "--init", "--exec", "--file", "--vendor", "--dry-run"),
    ),
    "uninstall": ("", "remove them", ("--root", "--exec", "--vendor", "--dry-run")),
    "generalize": (
        "",
        "remove what makes this machine unique, before its capture as an image",
        ("--root", "--config", "--user", "--dry-run", "--yes"),
    ),
}
EXIT_STATUSES = (
    (EXIT_DONE, "done, or nothing to do"),
    (
        EXIT_FAILED,
        "provisioning failed, and the platform was told; check: it would fail; lease: none; "
        "status: not provisioned",
    ),
    (EXIT_USAGE, "the command line or the settings are invalid"),
    (EXIT_UNREACHABLE, "the wireserver could not be reached before the deadline"),
    (EXIT_NOT_UNDERSTOOD, "the platform refused, or its answer was invalid"),
    (EXIT_PRIVILEGE, "missing privilege"),
    (EXIT_INTERRUPTED, "interrupted by Ctrl-C"),
)


def main(arguments: list[str]) -> int:
    """Carry out a command line, without the name of the program; return the exit status.

    No exception leaves this function.
    """
    _occupy_standard_descriptors()
    # Files that must be private get their mode by name; the caller's umask would only make others,
    # such as /home, too private.
    posix.umask(0o022)
    log = Log(verbose="--verbose" in arguments)
    try:
        return _run(arguments, log)
    except UsageError as error:
        log.complain(str(error))
        return error.exit_code
    except AzreadyError as error:
        log.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        log.error("interrupted: nothing was reported after this point; run it again")
        return EXIT_INTERRUPTED
    except MemoryError:
        log.error(OUT_OF_MEMORY)
        return EXIT_FAILED
    except Exception as error:
        log.error(f"unhandled exception, please report it: {type(error).__name__}: {error}")
        return EXIT_FAILED


def _run(arguments: list[str], log: Log) -> int:
    if not arguments:
        raise UsageError("missing command; see azready --help")
    first = arguments[0]
    if first in ("--version", "-V", "version"):
        return _print(_version() + (_modules() if "--verbose" in arguments else ""))
    if first in ("help", *_HELP):
        return _help(" ".join(arguments[1:]))
    if first.startswith("-"):
        raise UsageError(_misplaced(first))
    if arguments == ["report", arguments[-1]] and arguments[-1] in _HELP:
        return _help("report")
    command, rest = _command(arguments)
    if set(_HELP) & set(rest[: rest.index("--")] if "--" in rest else rest):
        return _help(command)
    positional, options = _parse(command, rest)
    return _dispatch(command, positional, options, log)


def _help(command: str) -> int:
    from agent import usage

    if not command:
        return _print(usage.everything())
    return _print(usage.about(command if command == "report" else _command(command.split())[0]))


def _misplaced(word: str) -> str:
    name = word.partition("=")[0]
    if name not in OPTIONS:
        return f"unknown option {name!r}{_meant(name, OPTIONS)}"
    shown = f"{name} {OPTIONS[name][0]}".rstrip()
    return f"options stand after the command: azready COMMAND {shown}"


def _dispatch(command: str, positional: list[str], options: dict[str, str], log: Log) -> int:
    """Import the module of a command and run it; freezers find the modules by these statements."""
    name, _, kind = command.partition(" ")
    if name == "report":
        from agent.commands import report

        return report.run(kind, positional, options, log)
    if name == "provision":
        from agent.commands import provision

        return provision.run(options, log)
    if name == "check":
        from agent.commands import check

        return check.run(options, log)
    if name == "status":
        from agent.commands import status

        return status.run(options, log)
    if name == "lease":
        from agent.commands import lease

        return lease.run(options, log)
    if name == "announce":
        from agent.commands import announce

        return announce.run(options, log)
    if name == "unit":
        from agent.commands import unit

        return unit.run(options, log)
    if name == "install":
        from agent.commands import install

        return install.run(options, log)
    if name == "uninstall":
        from agent.commands import uninstall

        return uninstall.run(options, log)
    from agent.commands import generalize

    return generalize.run(options, log)


def _command(arguments: list[str]) -> tuple[str, list[str]]:
    for count in (1, 2):
        command = " ".join(arguments[:count])
        if command in COMMANDS:
            return command, arguments[count:]
    if arguments[0] == "report":
        kind = f"unknown report {arguments[1]!r}" if arguments[1:] else "missing kind of report"
        raise UsageError(f"{kind}: use report ready, report provisioning or report failed REASON")
    commands = dict.fromkeys(name.partition(" ")[0] for name in COMMANDS)
    raise UsageError(f"unknown command {arguments[0]!r}{_meant(arguments[0], commands)}")


def _meant(word: str, known: "Iterable[str]") -> str:
    """Return how a message about an unknown word goes on."""
    from agent.nearness import did_you_mean

    return did_you_mean(word, known) or "; see azready --help"


def _parse(command: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return arguments and options ("" for a switch), checked against the tables."""
    wanted, _, allowed = COMMANDS[command]
    positional: list[str] = []
    options: dict[str, str] = {}
    queue = iter(words)
    for word in queue:
        if word == "--":
            positional += queue
        elif not word.startswith("-") or word == "-":
            positional.append(word)
        else:
            name, equals, value = word.partition("=")
            if name not in allowed:
                hint = _meant(name, allowed)
                raise UsageError(f"azready {command} has no option {name!r}{hint}")
            kind = OPTIONS[name][0]
            if kind and not equals:
                value = next(queue, "")
            if kind and (not value or (value.startswith("--") and not equals)):
                raise UsageError(f"{name} needs a value: {name} {kind}")
            if equals and not kind:
                raise UsageError(f"{name} takes no value, but {value!r} was given")
            if name in options:
                raise UsageError(f"{name} is given twice")
            options[name] = value
    if len(positional) > (1 if wanted else 0):
        raise UsageError(
            f"azready {command}: unexpected argument {positional[-1]!r}"
            + ("; quote the reason" if wanted else "")
        )
    if wanted and not "".join(positional).strip():
        raise UsageError(f"azready {command}: missing {wanted}")
    return positional, options


def _version() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    freezer = getattr(sys, "frozen", "not frozen")
    return f"azready {__version__} (Python {python}, {posix.uname().machine}, {freezer})\n"


def _modules() -> str:
    """Return the modules inside the static file, as the runtime itself lists them."""
    import _imp

    frozen: list[str] = getattr(_imp, "_frozen_module_names", list)()
    return f"builtin: {' '.join(sys.builtin_module_names)}\nfrozen: {' '.join(sorted(frozen))}\n"


def _print(text: str) -> int:
    common.write(text)
    return EXIT_DONE


def _occupy_standard_descriptors() -> None:
    """Open 0, 1 and 2 if they are closed, or log lines would go to the next socket opened."""
    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            # "/" exists even without /dev; writing to it fails, as to a closed descriptor.
            posix.open("/", posix.O_RDONLY)
