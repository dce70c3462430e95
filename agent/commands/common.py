"""What commands share: each function reads the options of a command line into one value.

`options` maps an option to its value, "" for a switch, as agent/cli.py has parsed them. Imports are
made where they are needed, because `azready report ready` takes only a few of them.
"""

import posix

from agent.errors import AzreadyError, PrivilegeError, UsageError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.azure.http import Endpoint
    from agent.boot import Boot
    from agent.log import Log
    from agent.root import Root
    from agent.settings import Config

    Options = dict[str, str]

DEFAULT_EXECUTABLE = "/usr/local/bin/azready"
PACKAGED = "/usr/bin/azready"  # where packages put it, and a vendor
DEFAULT_DEADLINE = 1200.0  # seconds: the platform gives up after about 40 minutes
CHECK_DEADLINE = 10.0  # seconds
LEASE_DEADLINE = 60.0  # seconds
_LONGEST = 86400  # seconds
_SPECIAL = " \"'\\%$;"  # characters that some unit or script would read as something else


def tree(options: "Options", *, changes: bool = False) -> "Root":
    """Return the tree of --root.

    `changes` tells that the command changes files there, which takes root on this machine itself.
    Raises UsageError if there is no such folder, PrivilegeError, and Busy while a first boot is at
    work there.
    """
    from agent.root import Root

    given = options.get("--root", "/")
    root = Root(given if given.startswith("/") else f"{posix.getcwd()}/{given}")
    if changes and root.is_live and posix.geteuid() != 0 and "--dry-run" not in options:
        raise PrivilegeError(
            "this command changes the machine and needs root: run it as root, or name another tree "
            "with --root DIR"
        )
    if changes and "--dry-run" not in options:
        from agent.lock import Lock

        with Lock(root) as lock:
            lock.refuse()
    return root


def need_root(what: str) -> None:
    """Raise PrivilegeError unless this is root; `what` is what the command does."""
    if posix.geteuid() != 0:
        raise PrivilegeError(f"this command {what} and needs root: run it as root")


def config(root: "Root", options: "Options") -> "Config":
    """Return the settings in --config, else those of the tree. Raises UsageError, GuestError."""
    from agent.settings import load

    return load(root, options.get("--config", ""))


def boot(root: "Root", options: "Options", config: "Config | None", log: "Log") -> "Boot":
    """Return a run as the command line and the settings describe it; the command line comes first.

    Without `config` the defaults hold. Raises UsageError.
    """
    from agent.azure.retry import Deadline
    from agent.boot import Boot
    from agent.settings import Config

    config = config or Config()
    return Boot(
        root,
        endpoint(options, "--wireserver", config.wireserver),
        endpoint(options, "--imds", config.imds),
        Deadline(seconds(options, config.deadline)),
        config,
        log,
        force="--force" in options or config.platform == "azure",
        rehearsing="--dry-run" in options,
    )


def endpoint(options: "Options", option: str, default: str) -> "Endpoint":
    """Return the address in `option`, else the URL `default`. Raises UsageError."""
    from agent.azure import http

    return http.endpoint(options.get(option, default))


def seconds(options: "Options", default: float = DEFAULT_DEADLINE) -> float:
    """Return the seconds of --deadline, else `default`. Raises UsageError."""
    text = options.get("--deadline", str(default))
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found <= _LONGEST:
        raise UsageError(f"--deadline {text!r} is not a number of seconds from 1 to {_LONGEST}")
    return found


def grace(options: "Options", config: "Config") -> "float | None":
    """Return the seconds before a lease is asked for, None for never. Raises UsageError."""
    from agent.settings import DHCP

    word = options.get("--dhcp", config.dhcp)
    if word not in DHCP:
        raise UsageError(f"--dhcp {word!r} is unknown: use one of {', '.join(DHCP)}")
    return {"never": None, "now": 0.0}.get(word, config.dhcp_grace)


def init_system(options: "Options") -> str:
    """Return the name in --init, "" without it. Raises UsageError for an unknown name."""
    from agent.init import SYSTEMS

    name = options.get("--init", "")
    if name and name not in SYSTEMS:
        raise UsageError(f"unknown init system --init {name!r}: use one of {', '.join(SYSTEMS)}")
    return name


def executable(options: "Options") -> str:
    """Return the path of azready in the image: --exec, else the default. Raises UsageError."""
    path = options.get("--exec", PACKAGED if "--vendor" in options else DEFAULT_EXECUTABLE)
    if not path.startswith("/") or not path.isprintable() or set(path) & set(_SPECIAL):
        raise UsageError(
            f"--exec {path!r} must be an absolute path without spaces, quotes, ;, %, $ and \\"
        )
    # On OSTree, /usr/local is the administrator's, too: a link into /var.
    is_vendors = path.startswith("/usr/") and not path.startswith("/usr/local/")
    if "--vendor" in options and not is_vendors:
        raise UsageError(
            f"--exec {path!r} is not the vendor's: name one below /usr, not /usr/local"
        )
    return path


def write(text: str) -> None:
    """Write `text` to standard output.

    Raises AzreadyError: a unit that a full disk cut off must not pass for a printed one.
    """
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    try:
        while data:
            data = data[posix.write(1, data) :]
    except OSError as error:
        raise AzreadyError(f"cannot write to standard output: {reason(error)}") from None
