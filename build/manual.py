"""What packages ship besides the file, made from the same tables as the command line and from dist-config/azready.toml: man pages and completions."""

import re

from agent import __version__, cli
from build import toolchain

_DATE = "2026-01-01"  # of SOURCE_DATE_EPOCH: the pages of a version do not change
_DESCRIPTION = """\
When a virtual machine boots from an image, Azure waits for someone inside to say that it is ready. azready does, after it has made the machine what the
platform asks for: host name, user, SSH keys, password, customData. Usually the unit runs it once, at the first boot; nothing has to be typed."""
_FILES = (
    ("/etc/azready.toml", "settings; see azready.toml(5)"),
    ("/var/lib/azready/VM-ID.provisioned", "marker: this VM has been provisioned and Ready was accepted"),
    ("/var/lib/azready/customdata, userdata", "what came with the VM, readable by root only"),
    ("/etc/systemd/system/multi-user.target.wants/azready.service", "the link that starts the unit at boot, removed once the work is done"),
    ("/var/lib/azready/disabled", "made instead where the link cannot be removed; the unit depends on its absence"),
)


def _escaped(text: str) -> str:
    """For troff: backslashes and hyphens as they are, no line that begins with a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def _page(name: str, section: int, summary: str, parts: list[tuple[str, str]]) -> str:
    title = f'.TH {name.upper()} {section} {_DATE} "azready {__version__}" "System Administration"\n.SH NAME\n{_escaped(f"{name} - {summary}")}\n'
    return title + "".join(f".SH {heading}\n{body}" for heading, body in parts)


def _paragraph(tag: str, text: str) -> str:
    return f".TP\n.B {_escaped(tag)}\n{_escaped(text)}\n"


def command_page() -> str:
    """azready(8)."""
    synopsis = "".join(f".B azready {_escaped(f'{command} {argument}'.rstrip())}\n.RI [ options ]\n.br\n" for command, (argument, _, _) in cli.COMMANDS.items())
    commands = "".join(_paragraph(f"{command} {argument}".rstrip(), text) for command, (argument, text, _) in cli.COMMANDS.items())
    options = ""
    for name, (value, text) in cli.OPTIONS.items():
        where = ", ".join(command for command, (_, _, allowed) in cli.COMMANDS.items() if name in allowed)
        options += _paragraph(f"{name} {value}".rstrip(), f"{text} ({where})")
    codes = "".join(_paragraph(*line.split(maxsplit=1)) for line in cli.EXIT_CODES.splitlines()[1:])
    files = "".join(_paragraph(path, text) for path, text in _FILES)
    return _page(
        "azready",
        8,
        "make this machine ready for Azure",
        [
            ("SYNOPSIS", synopsis),
            ("DESCRIPTION", _escaped(_DESCRIPTION) + "\n"),
            ("COMMANDS", commands),
            ("OPTIONS", options),
            ('"EXIT STATUS"', codes),
            ("FILES", files),
            ('"SEE ALSO"', ".BR azready.toml (5),\n.BR systemd.unit (5)\n"),
        ],
    )


def settings_page() -> str:
    """azready.toml(5): every key with its comment and its default."""
    text = (toolchain.TOP / "dist-config" / "azready.toml").read_text()
    introduction, _, rest = text.partition("\n\n")
    words = " ".join(line.removeprefix("#").strip() for line in introduction.splitlines())
    table, comment, keys = "", "", ""
    for line in rest.splitlines():
        if line.startswith("#"):
            comment += line.removeprefix("#").strip() + " "
        elif line.startswith("["):
            table, comment = line.strip("[]") + ".", ""
        elif line:
            setting, _, behind = line.partition("  #" if "  #" in line else " # ")
            keys += _paragraph(table + setting.strip(), (comment or behind).strip() or "as above")
        else:
            comment = ""
    return _page(
        "azready.toml",
        5,
        "settings of azready",
        [("DESCRIPTION", _escaped(words.partition(": ")[2]) + "\n"), ("KEYS", keys), ('"SEE ALSO"', ".BR azready (8)\n")],
    )


def bash() -> str:
    """Completions for bash: what stands at the second place, and the options of each command."""
    branches = ""
    for command, (_, _, options) in cli.COMMANDS.items():
        branches += f'        "{command}"*) words="{" ".join(options)}" ;;\n'
    firsts = " ".join(dict.fromkeys(command.split()[0] for command in cli.COMMANDS))
    kinds = _by_kind()
    return f"""\
# Completions of azready for bash.
_azready() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    case $before in
        {"|".join(kinds["DIR"])}) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
        {"|".join(kinds["FILE"])}) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        {"|".join(kinds["other"])}) return ;;
    esac
    if ((COMP_CWORD == 1)); then
        words="{firsts} --help --version"
    elif ((COMP_CWORD == 2)) && [[ ${{COMP_WORDS[1]}} == report ]]; then
        words="{" ".join(command.split()[1] for command in cli.COMMANDS if command.startswith("report "))}"
    else
        case "${{COMP_WORDS[*]:1}} " in
{branches.rstrip()}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -F _azready azready
"""


def _by_kind() -> dict[str, list[str]]:
    """Options that take a value, by what completes it: "DIR", "FILE" (also PATH), "other"."""
    kinds: dict[str, list[str]] = {"DIR": [], "FILE": [], "other": []}
    for name, (value, _) in cli.OPTIONS.items():
        if value:
            kinds["DIR" if value == "DIR" else "FILE" if value in ("FILE", "PATH") else "other"].append(name)
    return kinds


def zsh() -> str:
    """Completions for zsh."""
    commands = "\n".join(f"        '{command.split()[0]}:{text}'" for command, (_, text, _) in cli.COMMANDS.items() if not command.startswith("report"))
    reports = "\n".join(f"        '{command.split()[1]}:{text}'" for command, (_, text, _) in cli.COMMANDS.items() if command.startswith("report"))
    actions = {"DIR": ":directory:_directories", "FILE": ":file:_files", "PATH": ":path:_files"}
    branches = ""
    for first in dict.fromkeys(command.split()[0] for command in cli.COMMANDS):
        allowed = dict.fromkeys(name for command, (_, _, options) in cli.COMMANDS.items() if command.split()[0] == first for name in options)
        words = " ".join(
            f"'{name}[{cli.OPTIONS[name][1]}]{actions.get(cli.OPTIONS[name][0], f':{cli.OPTIONS[name][0]}:' if cli.OPTIONS[name][0] else '')}'"
            for name in allowed
        )
        branches += f"        {first}) _arguments {words} ;;\n"
    return f"""\
#compdef azready
_azready() {{
    local -a commands reports
    commands=(
        'report:tell the platform how it stands'
{commands}
    )
    reports=(
{reports}
    )
    if ((CURRENT == 2)); then
        _describe command commands
        return
    elif ((CURRENT == 3)) && [[ $words[2] == report ]]; then
        _describe report reports
        return
    fi
    case $words[2] in
{branches.rstrip()}
    esac
}}
_azready "$@"
"""


def fish() -> str:
    """Completions for fish."""
    lines = ["# Completions of azready for fish.", "complete -c azready -f"]
    firsts = dict.fromkeys(command.split()[0] for command in cli.COMMANDS)
    for command, (_, text, _) in cli.COMMANDS.items():
        first, _, second = command.partition(" ")
        if second:
            lines.append(f"complete -c azready -n '__fish_seen_subcommand_from {first}' -a {second} -d '{text}'")
        else:
            lines.append(f"complete -c azready -n __fish_use_subcommand -a {first} -d '{text}'")
    lines.append("complete -c azready -n __fish_use_subcommand -a report -d 'tell the platform how it stands'")
    for name, (value, text) in cli.OPTIONS.items():
        where = " ".join(first for first in firsts if any(name in options for command, (_, _, options) in cli.COMMANDS.items() if command.split()[0] == first))
        takes = {"": "", "DIR": " -x -a '(__fish_complete_directories)'", "FILE": " -r -F", "PATH": " -r -F"}.get(value, " -x")
        lines.append(f"complete -c azready -n '__fish_seen_subcommand_from {where}' -l {name.removeprefix('--')}{takes} -d '{text}'")
    return "\n".join(lines) + "\n"
