"""Shell completions of the packages, generated from the agent's own tables."""

from build import tables

_REPORT = "report a state to the platform"
_TABLES = tables.of_agent()


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
