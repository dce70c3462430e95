"""`azready --help`, and of one command; EXAMPLES are in the manual pages, too."""

from agent.cli import COMMANDS, COMMON, EXIT_STATUSES, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDEST = 34  # characters of the first column

# command -> (command line, what it does); below /mnt is the root of an image
EXAMPLES = {
    "provision": (
        ("azready provision", "what the unit runs at the first boot"),
        ("azready provision --dry-run", "what it would do to this machine"),
    ),
    "check": (
        ("azready check", "why is this VM not Ready?"),
        ("azready check --json", "the same for programs"),
    ),
    "status": (("azready status", "has this VM been provisioned, and when?"),),
    "report ready": (
        ("azready report ready --deadline 60", "for an image that provisions otherwise"),
    ),
    "report provisioning": (("azready report provisioning", "work that takes long has begun"),),
    "report failed": (("azready report failed 'no disk'", "the reason is shown at the portal"),),
    "lease": (("azready lease", "for a service of an image without a DHCP client"),),
    "announce": (("azready announce", "after hostnamectl hostname NAME"),),
    "unit": (
        ("azready unit", "the systemd unit"),
        ("azready unit --init openrc --exec /usr/bin/azready", "the script of a package"),
    ),
    "install": (
        ("azready install", "into this machine"),
        ("azready install --root /mnt", "into an image"),
        (
            "azready install --root /mnt --file azready-linux-aarch64",
            "into an image for another architecture",
        ),
        (
            "azready install --root /mnt --vendor",
            "into a vendor's image, whose /etc stays as it is",
        ),
    ),
    "uninstall": (("azready uninstall --dry-run", "what is there"),),
    "generalize": (
        ("azready generalize --dry-run", "what would be removed"),
        ("azready generalize --yes --user packer", "as the last command of an image build"),
    ),
}


def everything() -> str:
    """Return the help about all commands."""
    rows = [(f"{name} {argument}", text) for name, (argument, text, _) in COMMANDS.items()]
    rows += [
        ("version", "print the version; with --verbose, also every module inside"),
        ("help COMMAND", "print the options of a command, and examples"),
    ]
    text = "azready: make a Linux image ready for Azure\n\nusage: azready COMMAND [OPTION ...]\n"
    text += f"\ncommands:\n{_columns(rows)}\noptions:\n"
    rows = []
    for name in OPTIONS:
        taking = [command for command, (_, _, allowed) in COMMANDS.items() if name in allowed]
        where = "" if name in COMMON else f" [{', '.join(taking)}]"
        left, meaning = _option(name)
        rows.append((left, meaning + where))
    return f"{text}{_columns(rows)}\n{_exit_statuses()}"


def about(command: str) -> str:
    """Return the help about one of COMMANDS, or about those that begin with the word."""
    names = [name for name in COMMANDS if command in (name, name.partition(" ")[0])]
    return "\n".join(map(_about, names)) + f"\n{_exit_statuses()}"


def _about(command: str) -> str:
    argument, text, allowed = COMMANDS[command]
    words = f"{command} {argument}".rstrip()
    text = f"azready {words}: {text}\n\nusage: azready {words} [OPTION ...]\n\n"
    return (
        f"{text}options:\n{_columns([_option(name) for name in allowed])}\n"
        f"examples:\n{_columns(EXAMPLES[command])}"
    )


def _option(name: str) -> "tuple[str, str]":
    from agent.init import SYSTEMS

    value, meaning = OPTIONS[name]
    names = f": {', '.join(SYSTEMS)}" if name == "--init" else ""
    return f"{name} {value}", meaning + names


def _exit_statuses() -> str:
    rows = [(f"{status:>3}", meaning) for status, meaning in EXIT_STATUSES]
    return f"exit status:\n{_columns(rows)}"


def _columns(rows: "Iterable[tuple[str, str]]") -> str:
    """Return two columns of text, the second wrapped at 80 characters.

    Where the first leaves too little room for the second, that begins on the next line.
    """
    rows = [(left.rstrip(), right) for left, right in rows]
    width = min(max(len(left) for left, _ in rows), _WIDEST)
    text = ""
    for left, right in rows:
        line = f"  {left:<{width}} "
        if len(left) > width:
            text += line.rstrip() + "\n"
            line = " " * (width + 3)
        for word in right.split():
            if len(line) + len(word) >= 80:
                text += line + "\n"
                line = " " * (width + 3)
            line += f" {word}"
        text += line + "\n"
    return text
