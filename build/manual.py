"""Manual pages and shell completions of the packages, generated from the agent's own tables."""

import re

from agent import __version__
from build import tables

_DATE = "2026-01-01"  # that of SOURCE_DATE_EPOCH: the pages of a version never change
_DESCRIPTION = """\
When a virtual machine boots from an image, Azure waits until something inside reports Ready.
azready does so after it has configured the machine as the platform asks: host name, user, SSH keys,
password, customData. The unit runs it once, at the first boot; nobody has to type a command."""
_SETTINGS = """\
The settings of azready are in /etc/azready.toml. The file is optional, and so is every key. An
unknown key, or a value of the wrong type, is an error."""
_FILES = (
    ("/etc/azready.toml", "settings; see azready.toml(5)"),
    (
        "/var/lib/azready/VM-ID.provisioned",
        "marker: this VM has been provisioned, and Ready was accepted",
    ),
    (
        "/var/lib/azready/customdata, userdata",
        "customData and userData of the VM, readable by root only",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/azready.service",
        "link that starts the unit at boot; removed once the VM is provisioned",
    ),
    (
        "/var/lib/azready/disabled",
        "created if the link cannot be removed; the unit starts only if this file is missing",
    ),
)
_REPORT = "report a state to the platform"
_TABLES = tables.of_agent()


def _escaped(text: str) -> str:
    """Escape a text for troff: backslashes, hyphens, and lines that look like a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def _page(name: str, section: int, summary: str, parts: list[tuple[str, str]]) -> str:
    title = (
        f'.TH {name.upper()} {section} {_DATE} "azready {__version__}" "System Administration"\n'
    )
    title += f".SH NAME\n{_escaped(f'{name} - {summary}')}\n"
    return title + "".join(f".SH {heading}\n{body}" for heading, body in parts)


def _paragraph(tag: str, text: str) -> str:
    return f".TP\n.B {_escaped(tag)}\n{_escaped(text)}\n"


def command_page() -> str:
    """Return azready(8)."""
    synopsis = commands = options = ""
    for command, (argument, text, _) in _TABLES.commands.items():
        words = f"{command} {argument}".rstrip()
        synopsis += f".B azready {_escaped(words)}\n.RI [ options ]\n.br\n"
        commands += _paragraph(words, text)
    for name, (value, text) in _TABLES.options.items():
        where = ", ".join(
            command for command, (_, _, allowed) in _TABLES.commands.items() if name in allowed
        )
        names = f": {', '.join(_TABLES.systems)}" if name == "--init" else ""
        options += _paragraph(f"{name} {value}".rstrip(), f"{text}{names} ({where})")
    examples = "".join(
        _paragraph(line, f"{meaning[0].upper()}{meaning[1:].rstrip('.')}.")
        for lines in _TABLES.examples.values()
        for line, meaning in lines
    ).replace("?.\n", "?\n")
    return _page(
        "azready",
        8,
        "make this machine ready for Azure",
        [
            ("SYNOPSIS", synopsis),
            ("DESCRIPTION", _escaped(_DESCRIPTION) + "\n"),
            ("COMMANDS", commands),
            ("OPTIONS", options),
            ("EXAMPLES", examples),
            (
                '"EXIT STATUS"',
                "".join(_paragraph(str(status), text) for status, text in _TABLES.exit_statuses),
            ),
            ("FILES", "".join(_paragraph(path, text) for path, text in _FILES)),
            ('"SEE ALSO"', ".BR azready.toml (5),\n.BR systemd.unit (5)\n"),
        ],
    )


def settings_page() -> str:
    """Return azready.toml(5): every key with its default and its meaning."""
    keys = ""
    for setting in _TABLES.settings:
        takes = f" Takes {setting.takes}." if setting.takes else ""
        keys += _paragraph(
            f"{setting.name} = {tables.toml(setting.default)}", setting.sentence + takes
        )
    return _page(
        "azready.toml",
        5,
        "settings of azready",
        [
            ("DESCRIPTION", _escaped(_SETTINGS) + "\n"),
            ("KEYS", keys),
            ('"SEE ALSO"', ".BR azready (8)\n"),
        ],
    )


def bash() -> str:
    """Return the completions for bash: commands, and the options of each."""
    branches = ""
    for command, (_, _, options) in _TABLES.commands.items():
        branches += f'        "{command}"*) words="{" ".join(options)}" ;;\n'
    firsts = " ".join(_firsts())
    reports = " ".join(name.split()[1] for name in _TABLES.commands if name.startswith("report "))
    kinds = _by_kind()
    choices = "".join(
        f'        {name}) mapfile -t COMPREPLY < <(compgen -W "{" ".join(values)}" -- "$word")'
        "; return ;;\n"
        for name, values in _TABLES.choices.items()
    )
    return f"""\
# Completions of azready for bash.
_azready() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    case $before in
        {"|".join(kinds["DIR"])}) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
        {"|".join(kinds["FILE"])}) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
{choices.rstrip()}
        {"|".join(kinds["other"])}) return ;;
    esac
    if ((COMP_CWORD == 1)); then
        words="{firsts} help version --help --version"
    elif ((COMP_CWORD == 2)) && [[ ${{COMP_WORDS[1]}} == report ]]; then
        words="{reports}"
    elif ((COMP_CWORD == 2)) && [[ ${{COMP_WORDS[1]}} == help ]]; then
        words="{firsts}"
    else
        case "${{COMP_WORDS[*]:1}} " in
{branches.rstrip()}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -F _azready azready
"""


def _firsts() -> dict[str, list[str]]:
    """Return the first words of commands, with the options of all commands that start so."""
    found: dict[str, list[str]] = {}
    for command, (_, _, options) in _TABLES.commands.items():
        first = found.setdefault(command.split()[0], [])
        first += [name for name in options if name not in first]
    return found


def _by_kind() -> dict[str, list[str]]:
    """Return options that take a value, by what completes it: "DIR", "FILE" (or PATH), "other"."""
    kinds = {"DIR": "DIR", "FILE": "FILE", "PATH": "FILE"}
    found: dict[str, list[str]] = {"DIR": [], "FILE": [], "other": []}
    for name, (value, _) in _TABLES.options.items():
        if value and name not in _TABLES.choices:
            found[kinds.get(value, "other")].append(name)
    return found


def _quoted(text: str) -> str:
    """Escape a text for single quotes of a shell."""
    return text.replace("'", "'\\''")


def zsh() -> str:
    """Return the completions for zsh."""
    commands = reports = branches = ""
    for command, (_, text, _) in _TABLES.commands.items():
        first, _, second = command.partition(" ")
        if second:
            reports += f"        '{second}:{_quoted(text)}'\n"
        else:
            commands += f"        '{first}:{_quoted(text)}'\n"
    actions = {"DIR": ":directory:_directories", "FILE": ":file:_files", "PATH": ":path:_files"}
    for first, options in _firsts().items():
        words = []
        for name in options:
            value, text = _TABLES.options[name]
            action = actions.get(value, f":{value}:" if value else "")
            if name in _TABLES.choices:
                action = f":{value}:({' '.join(_TABLES.choices[name])})"
            words.append(f"'{name}[{_quoted(text)}]{action}'")
        branches += f"        {first}) _arguments {' '.join(words)} ;;\n"
    return f"""\
#compdef azready
_azready() {{
    local -a commands reports
    commands=(
        'report:{_REPORT}'
{commands.rstrip()}
    )
    reports=(
{reports.rstrip()}
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
    """Return the completions for fish."""
    lines = ["# Completions of azready for fish.", "complete -c azready -f"]
    top = "complete -c azready -n __fish_use_subcommand"
    after = "complete -c azready -n '__fish_seen_subcommand_from"
    for command, (_, text, _) in _TABLES.commands.items():
        first, _, second = command.partition(" ")
        start = f"{after} {first}' -a {second}" if second else f"{top} -a {first}"
        lines.append(f"{start} -d '{_quoted(text)}'")
    lines.append(f"{top} -a report -d '{_REPORT}'")
    files = {
        "": "",
        "DIR": " -x -a '(__fish_complete_directories)'",
        "FILE": " -r -F",
        "PATH": " -r -F",
    }
    for name, (value, text) in _TABLES.options.items():
        where = " ".join(first for first, options in _firsts().items() if name in options)
        takes = files.get(value, " -x")
        if name in _TABLES.choices:
            takes += f" -a '{' '.join(_TABLES.choices[name])}'"
        option = f"-l {name.removeprefix('--')}{takes}"
        lines.append(f"{after} {where}' {option} -d '{_quoted(text)}'")
    return "\n".join(lines) + "\n"
