"""Words in, one call out, an exit code back.

The command line is read from two small tables instead of by argparse, which would double the time of a start. All errors end here, as one line.
"""

import posix
import sys

from agent import __version__
from agent.errors import EXIT_DONE, EXIT_FAILED, AzreadyError, UsageError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.http import Endpoint
    from agent.log import Log

DEFAULT_DEADLINE = 1200.0  # seconds: the platform itself gives up after about 40 minutes
DEFAULT_EXECUTABLE = "/usr/local/bin/azready"

# option -> (value, help); a value of "" makes it a switch
_OPTIONS = {
    "--root": ("DIR", "work on the system below DIR instead of /"),
    "--wireserver": ("URL", "address of the wireserver (http://168.63.129.16)"),
    "--imds": ("URL", "address of the metadata service (http://169.254.169.254)"),
    "--deadline": ("SECONDS", f"time for all of it ({DEFAULT_DEADLINE:.0f})"),
    "--force": ("", "provision even if this does not look like Azure"),
    "--dry-run": ("", "ask, say what would be done, change and report nothing"),
    "--verbose": ("", "say every attempt with its code and time"),
    "--exec": ("PATH", f"the file that the unit runs ({DEFAULT_EXECUTABLE})"),
}
_TALKS = ("--wireserver", "--deadline", "--verbose")
# command -> (arguments, help, options)
_COMMANDS = {
    "provision": ("", "do all of a first boot, then report Ready", ("--root", "--imds", "--force", "--dry-run", *_TALKS)),
    "report ready": ("", "report Ready to the platform", _TALKS),
    "report provisioning": ("", "report that provisioning is under way", _TALKS),
    "report failed": ("REASON", "report that provisioning failed, and why", _TALKS),
    "unit": ("", "print the systemd unit", ("--exec",)),
}
_EXIT_CODES = """\
exit codes:
  0  done, or nothing to do
  1  provisioning failed and was reported
  2  the command line is wrong
  3  the wireserver could not be reached in time
  4  the platform answered something that cannot be understood, or refused
  5  missing privilege
"""


def main(arguments: list[str]) -> int:
    """Carry out a command line (without the program's name); returns the exit code and never raises."""
    from agent.log import Log

    _occupy_standard_descriptors()
    log = Log(verbose="--verbose" in arguments)
    try:
        return _run(arguments, log)
    except AzreadyError as error:
        log.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        log.error("interrupted: nothing was reported after this point; run it again")
        return 130
    except Exception as error:
        log.error(f"unhandled exception, please report it: {type(error).__name__}: {error}")
        return EXIT_FAILED


def _run(arguments: list[str], log: "Log") -> int:
    if not arguments:
        raise UsageError("no command was given; see azready --help")
    if arguments[0] in ("--help", "-h", "help"):
        return _print(_help())
    if arguments[0] == "--version":
        return _print(_version() + (_modules() if "--verbose" in arguments else ""))
    command, rest = _command(arguments)
    if "--help" in rest:
        return _print(_help())
    positional, options = _parse(command, rest)
    if command == "unit":
        return _unit(options)
    if command == "provision":
        return _provision(options, log)
    return _report(command, positional, options, log)


def _command(arguments: list[str]) -> tuple[str, list[str]]:
    for count in (1, 2):
        command = " ".join(arguments[:count])
        if command in _COMMANDS:
            return command, arguments[count:]
    if arguments[0] == "report":
        raise UsageError("what to report is missing or unknown: give report ready, report provisioning or report failed REASON")
    raise UsageError(f"unknown command {arguments[0]!r}; see azready --help")


def _parse(command: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split into arguments and options ("" for a switch that is given), checked against the tables."""
    wanted, _, allowed = _COMMANDS[command]
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
                raise UsageError(f"azready {command} has no option {name!r}; see azready --help")
            kind = _OPTIONS[name][0]
            if kind and not equals:
                value = next(queue, "")
            if kind and not value:
                raise UsageError(f"{name} needs a value: {name} {kind}")
            if equals and not kind:
                raise UsageError(f"{name} takes no value, but {value!r} was given")
            if name in options:
                raise UsageError(f"{name} is given twice")
            options[name] = value
    if len(positional) > (1 if wanted else 0):
        raise UsageError(f"azready {command} has no place for {positional[-1]!r}" + ("; quote the reason" if wanted else ""))
    if wanted and not "".join(positional).strip():
        raise UsageError(f"azready {command} needs its {wanted}: azready {command} {wanted}")
    return positional, options


def _report(command: str, positional: list[str], options: dict[str, str], log: "Log") -> int:
    from agent.azure.retry import Deadline
    from agent.azure.wireserver import Wireserver

    wireserver = Wireserver(_wireserver(options), Deadline(_seconds(options)), log)
    if command == "report ready":
        reported, goal_state = "Ready", wireserver.report_ready()
    elif command == "report provisioning":
        reported, goal_state = "Provisioning", wireserver.report_not_ready("Provisioning", "Starting")
    else:
        reported, goal_state = "ProvisioningFailed", wireserver.report_not_ready("ProvisioningFailed", positional[0])
    log.info(f"{reported} was reported and accepted for instance {goal_state.instance_id} after {log.elapsed()}")
    return EXIT_DONE


def _provision(options: dict[str, str], log: "Log") -> int:
    from agent.azure.http import Endpoint
    from agent.azure.imds import DEFAULT_URL
    from agent.azure.retry import Deadline
    from agent.provision import Job, provision

    job = Job(
        _root(options),
        _wireserver(options),
        Endpoint(options.get("--imds", DEFAULT_URL)),
        Deadline(_seconds(options)),
        log,
        force="--force" in options,
        dry_run="--dry-run" in options,
    )
    provision(job)
    return EXIT_DONE


def _unit(options: dict[str, str]) -> int:
    from agent.init import systemd

    executable = options.get("--exec", DEFAULT_EXECUTABLE)
    if not executable.startswith("/") or not executable.isprintable() or set(executable) & set(" \"'\\%$;"):
        raise UsageError(f"--exec {executable!r} cannot stand in a unit: give an absolute path without spaces, quotes, %, $ and \\")
    return _print(systemd.unit(executable))


def _wireserver(options: dict[str, str]) -> "Endpoint":
    from agent.azure.http import Endpoint
    from agent.azure.wireserver import DEFAULT_URL

    return Endpoint(options.get("--wireserver", DEFAULT_URL))


def _root(options: dict[str, str]) -> str:
    given = options.get("--root", "/")
    root = given if given.startswith("/") else f"{posix.getcwd()}/{given}"
    try:
        posix.close(posix.open(root, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC))
    except OSError as error:
        raise UsageError(f"--root {given!r} cannot be used: {reason(error)}") from None
    return "/" + root.strip("/")


def _seconds(options: dict[str, str]) -> float:
    text = options.get("--deadline", str(DEFAULT_DEADLINE))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise UsageError(f"--deadline {text!r} is not a number of seconds from 1 to 86400")
    return seconds


def _version() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return f"azready {__version__} (Python {python}, {posix.uname().machine}, {getattr(sys, 'frozen', 'not frozen')})\n"


def _modules() -> str:
    """What is inside the static file, as the runtime itself knows it."""
    import _imp

    frozen: list[str] = getattr(_imp, "_frozen_module_names", list)()
    return f"builtin: {' '.join(sys.builtin_module_names)}\nfrozen: {' '.join(sorted(frozen))}\n"


def _help() -> str:
    lines = ["azready: makes a Linux image ready for Azure", "", "usage:"]
    for command, (argument, text, _) in _COMMANDS.items():
        words = f"{command} {argument}".rstrip()
        lines.append(f"  azready {words:<22} {text}")
    lines += ["  azready --version              with --verbose: and all modules inside", "  azready --help", "", "options:"]
    for name, (value, text) in _OPTIONS.items():
        commands = [command for command, entry in _COMMANDS.items() if name in entry[2]]
        where = "" if name in _TALKS else f" [{', '.join(commands)}]"
        lines.append(f"  {name + ' ' + value:<20} {text}{where}")
    return "\n".join([*lines, "", _EXIT_CODES])


def _print(text: str) -> int:
    """Write to standard output; an error there is an error of the run (a full disk must not pass for a printed unit)."""
    data = memoryview(text.encode())
    try:
        while data:
            data = data[posix.write(1, data) :]
    except OSError as error:
        raise AzreadyError(f"cannot write to standard output: {reason(error)}") from None
    return EXIT_DONE


def _occupy_standard_descriptors() -> None:
    """Make sure that 0, 1 and 2 are open, or the next socket would get one of their numbers and log lines would go to the wireserver."""
    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            # "/" is there even without /dev; writing to it fails, which is what writing to a closed descriptor did.
            posix.open("/", posix.O_RDONLY)
