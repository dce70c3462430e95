"""Words in, one call out, an exit code back.

The command line is read from two small tables instead of by argparse, which would double the time of a start. All errors end here, as one line.
"""

import posix
import sys

from agent import __version__
from agent.errors import EXIT_DONE, EXIT_FAILED, AzreadyError, PrivilegeError, UsageError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.http import Endpoint
    from agent.config import Config
    from agent.log import Log
    from agent.provision import Job
    from agent.root import Root

DEFAULT_DEADLINE = 1200.0  # seconds: the platform itself gives up after about 40 minutes
CHECK_DEADLINE = 10.0  # seconds
DEFAULT_EXECUTABLE = "/usr/local/bin/azready"

# option -> (value, help); a value of "" makes it a switch
OPTIONS = {
    "--root": ("DIR", "work on the system below DIR instead of /"),
    "--config": ("FILE", "take the settings from FILE instead of /etc/azready.toml"),
    "--wireserver": ("URL", "address of the wireserver (http://168.63.129.16)"),
    "--imds": ("URL", "address of the metadata service (http://169.254.169.254)"),
    "--deadline": (
        "SECONDS",
        f"time for all of it ({DEFAULT_DEADLINE:.0f}; check: {CHECK_DEADLINE:.0f})",
    ),
    "--force": ("", "provision even if this does not look like Azure"),
    "--dry-run": ("", "say what would be done, change and report nothing"),
    "--json": ("", "answer in JSON"),
    "--user": ("NAME", "remove this user, too, with home and mail"),
    "--yes": ("", "do not ask"),
    "--verbose": ("", "say every attempt with its code and time"),
    "--init": (
        "NAME",
        "systemd, openrc, sysvinit, runit, s6, s6-rc, dinit, finit, busybox; dracut, initramfs-tools (unit: systemd; install: found out)",
    ),
    "--file": (
        "FILE",
        "put FILE into the image instead of this very file: one for another processor",
    ),
    "--exec": ("PATH", f"where the file is, or goes ({DEFAULT_EXECUTABLE})"),
}
_TALKS = ("--wireserver", "--deadline", "--verbose")
# command -> (arguments, help, options)
COMMANDS = {
    "provision": (
        "",
        "do all of a first boot, then report Ready",
        ("--root", "--config", "--imds", "--force", "--dry-run", *_TALKS),
    ),
    "check": (
        "",
        "say what stands between this machine and Ready",
        ("--root", "--config", "--imds", "--force", "--json", *_TALKS),
    ),
    "report ready": ("", "report Ready to the platform", _TALKS),
    "report provisioning": ("", "report that provisioning is under way", _TALKS),
    "report failed": ("REASON", "report that provisioning failed, and why", _TALKS),
    "unit": ("", "print the unit or init script", ("--init", "--exec")),
    "install": (
        "",
        "put this file and its unit into an image",
        ("--root", "--init", "--exec", "--file", "--dry-run"),
    ),
    "uninstall": ("", "take them out again", ("--root", "--exec", "--dry-run")),
    "generalize": (
        "",
        "make this machine an image again, for capture",
        ("--root", "--config", "--user", "--dry-run", "--yes"),
    ),
}
EXIT_CODES = """\
exit codes:
  0  done, or nothing to do
  1  provisioning failed and was reported; check: it would not work
  2  the command line or the configuration is wrong
  3  the wireserver could not be reached in time
  4  the platform answered something that cannot be understood, or refused
  5  missing privilege
"""


def main(arguments: list[str]) -> int:
    """Carry out a command line (without the program's name); returns the exit code and never raises."""
    from agent.log import Log

    _occupy_standard_descriptors()
    posix.umask(
        0o022
    )  # what is to be closed is closed by name; a narrow mask of the caller's would close /home
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
    if command.startswith("report"):
        return _report(command, positional, options, log)
    return _ACTIONS[command](options, log)


def _command(arguments: list[str]) -> tuple[str, list[str]]:
    for count in (1, 2):
        command = " ".join(arguments[:count])
        if command in COMMANDS:
            return command, arguments[count:]
    if arguments[0] == "report":
        raise UsageError(
            "what to report is missing or unknown: give report ready, report provisioning or report failed REASON"
        )
    raise UsageError(f"unknown command {arguments[0]!r}; see azready --help")


def _parse(command: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split into arguments and options ("" for a switch that is given), checked against the tables."""
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
                raise UsageError(f"azready {command} has no option {name!r}; see azready --help")
            kind = OPTIONS[name][0]
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
        raise UsageError(
            f"azready {command} has no place for {positional[-1]!r}"
            + ("; quote the reason" if wanted else "")
        )
    if wanted and not "".join(positional).strip():
        raise UsageError(f"azready {command} needs its {wanted}: azready {command} {wanted}")
    return positional, options


def _report(command: str, positional: list[str], options: dict[str, str], log: "Log") -> int:
    from agent.azure.retry import Deadline
    from agent.azure.wireserver import DEFAULT_URL, Wireserver

    wireserver = Wireserver(
        _endpoint(options, "--wireserver", DEFAULT_URL), Deadline(_seconds(options)), log
    )
    if command == "report ready":
        reported, goal_state = "Ready", wireserver.report_ready()
    elif command == "report provisioning":
        reported, goal_state = (
            "Provisioning",
            wireserver.report_not_ready("Provisioning", "Starting"),
        )
    else:
        reported, goal_state = (
            "ProvisioningFailed",
            wireserver.report_not_ready("ProvisioningFailed", positional[0]),
        )
    log.info(
        f"{reported} was reported and accepted for instance {goal_state.instance_id} after {log.elapsed()}"
    )
    return EXIT_DONE


def _provision(options: dict[str, str], log: "Log") -> int:
    from agent import provision
    from agent.config import load

    root = _root(options)
    try:
        config = load(root, options.get("--config", ""))
    except AzreadyError as error:
        if "--config" not in options and "--dry-run" not in options:
            _report_configuration(_job(root, options, None, log), error)
        raise
    provision.provision(_job(root, options, config, log))
    return EXIT_DONE


def _report_configuration(job: "Job", error: AzreadyError) -> None:
    """At a first boot nobody reads this machine's log: that its configuration cannot be used is told to the platform, as any other failure."""
    from agent import provision

    try:
        if provision.is_wanted(job):
            provision.report_failure(job, str(error))
    except AzreadyError as second:
        job.log.error(str(second))


def _check(options: dict[str, str], log: "Log") -> int:
    from agent.check import check
    from agent.config import load
    from agent.log import Quiet

    root = _root(options)
    config = load(root, options.get("--config", ""))
    findings = check(
        _job(
            root,
            {"--deadline": str(CHECK_DEADLINE), **options},
            config,
            log if "--verbose" in options else Quiet(),
        )
    )
    _print(findings.as_json() if "--json" in options else findings.as_text())
    return EXIT_DONE if findings.good else EXIT_FAILED


def _job(root: "Root", options: dict[str, str], config: "Config | None", log: "Log") -> "Job":
    """The work as command line and configuration describe it; the command line counts. Raises UsageError."""
    from agent.azure.retry import Deadline
    from agent.config import Config
    from agent.provision import Job

    config = config or Config()
    return Job(
        root,
        _endpoint(options, "--wireserver", config.wireserver),
        _endpoint(options, "--imds", config.imds),
        Deadline(_seconds(options, config.deadline)),
        config,
        log,
        force="--force" in options,
        dry_run="--dry-run" in options,
    )


def _unit(options: dict[str, str], _: "Log") -> int:
    from agent import init

    return _print(init.load(_init_system(options) or "systemd").unit(_executable(options)))


def _install(options: dict[str, str], log: "Log") -> int:
    from agent import image

    system, file = _init_system(options), options.get("--file", "")
    image.install(
        _root(options, changes=True),
        _executable(options),
        log,
        dry_run="--dry-run" in options,
        system=system,
        file=file,
    )
    return EXIT_DONE


def _uninstall(options: dict[str, str], log: "Log") -> int:
    from agent import image

    image.uninstall(
        _root(options, changes=True), _executable(options), log, dry_run="--dry-run" in options
    )
    return EXIT_DONE


def _generalize(options: dict[str, str], log: "Log") -> int:
    from agent.config import load
    from agent.image import Generalization

    root = _root(options, changes=True)
    actions = Generalization(
        root, load(root, options.get("--config", "")).state_directory, options.get("--user", "")
    ).actions
    _print(
        "".join(f"{'would ' * ('--dry-run' in options)}{text}\n" for text, _ in actions)
        or "nothing is left to do\n"
    )
    if "--dry-run" in options or not actions:
        return EXIT_DONE
    if "--yes" not in options and not _agreed(f"make the system below {root} an image, as listed?"):
        raise UsageError("nothing was changed: generalize asks first, or takes --yes")
    for text, action in actions:
        action()
        log.debug(text)
    log.info(f"done, {len(actions)} changes: shut this machine down and capture it")
    return EXIT_DONE


def _agreed(question: str) -> bool:
    """Ask on the terminal; without one the answer is no."""
    if not posix.isatty(0):
        return False
    _print(f"{question} [y/N] ")
    return posix.read(0, 100).strip().lower() in (b"y", b"yes")


_ACTIONS = {
    "provision": _provision,
    "check": _check,
    "unit": _unit,
    "install": _install,
    "uninstall": _uninstall,
    "generalize": _generalize,
}


def _init_system(options: dict[str, str]) -> str:
    from agent.init import NAMES

    name = options.get("--init", "")
    if name and name not in NAMES:
        raise UsageError(f"--init {name!r} is not known: give one of {', '.join(NAMES)}")
    return name


def _executable(options: dict[str, str]) -> str:
    executable = options.get("--exec", DEFAULT_EXECUTABLE)
    if (
        not executable.startswith("/")
        or not executable.isprintable()
        or set(executable) & set(" \"'\\%$;")
    ):
        raise UsageError(
            f"--exec {executable!r} cannot stand in a unit: give an absolute path without spaces, quotes, %, $ and \\"
        )
    return executable


def _endpoint(options: dict[str, str], option: str, default: str) -> "Endpoint":
    from agent.azure.http import Endpoint

    return Endpoint(options.get(option, default))


def _root(options: dict[str, str], *, changes: bool = False) -> "Root":
    """The tree of --root. `changes` says that the command changes files there, which on this machine itself takes root. Raises UsageError."""
    from agent.root import Root

    given = options.get("--root", "/")
    root = Root(given if given.startswith("/") else f"{posix.getcwd()}/{given}")
    if changes and root.is_live and posix.geteuid() != 0 and "--dry-run" not in options:
        raise PrivilegeError(
            "this changes the machine and needs root: run it as root, or name another tree with --root DIR"
        )
    return root


def _seconds(options: dict[str, str], default: float = DEFAULT_DEADLINE) -> float:
    text = options.get("--deadline", str(default))
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
    for command, (argument, text, _) in COMMANDS.items():
        words = f"{command} {argument}".rstrip()
        lines.append(f"  azready {words:<22} {text}")
    lines += [
        "  azready --version              with --verbose: and all modules inside",
        "  azready --help",
        "",
        "options:",
    ]
    for name, (value, text) in OPTIONS.items():
        commands = [command for command, entry in COMMANDS.items() if name in entry[2]]
        where = "" if name in _TALKS else f" [{', '.join(commands)}]"
        lines.append(f"  {name + ' ' + value:<20} {text}{where}")
    return "\n".join([*lines, "", EXIT_CODES])


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
