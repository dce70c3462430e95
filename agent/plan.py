"""What a first boot would do, in words, without doing it: for `provision --dry-run` and `check`."""

from agent.errors import GuestError
from agent.guest import accounts, hostname, passwords, programs, sshd, sshkeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.config import Config
    from agent.osprofile import OSProfile


def plan(root: str, config: "Config", profile: "OSProfile") -> "tuple[list[str], list[str]]":
    """(what would be done, each to be read behind "would"; what would make the run fail)."""
    steps: list[str] = []
    problems: list[str] = []
    if config.steps["host_name"]:
        name, _ = hostname.choose(profile.host_names)
        steps.append(f"set the host name to {name}" if name else "leave the host name as it is")
    if profile.user_name and config.steps["user"]:
        _user(root, config, profile, steps, problems)
    if profile.disable_password is not None and config.steps["sshd"] and sshd.is_there(root):
        steps.append(f"{'forbid' if profile.disable_password else 'allow'} logins with a password in {sshd.DROP_IN}")
    for step, what, decode in (("custom_data", "customData", profile.custom_data), ("user_data", "userData", profile.user_data)):
        if config.steps[step]:
            try:
                data = decode()
            except GuestError as error:
                (problems if step in config.fatal else steps).append(f"warn: {error}")
                continue
            if data:
                runs = step == "custom_data" and config.run_custom_data and data.startswith(b"#!")
                steps.append(f"save {len(data)} bytes of {what} in {config.state_directory}{' and run them' if runs else ''}")
    return steps, problems


def _user(root: str, config: "Config", profile: "OSProfile", steps: "list[str]", problems: "list[str]") -> None:
    name = profile.user_name
    try:
        if why := accounts.refusal(name):
            raise GuestError(f"the user name {name!r} is refused: {why}")
        account = accounts.find(root, name)
        if account and not accounts.is_person(root, account):
            raise GuestError(f"the user name {name!r} is refused: it belongs to the system, with uid {account.uid}")
        steps.append(f"keep the user {name}" if account else f"create the user {name} with {config.shell or accounts.default_shell(root)}")
        if config.steps["sudo"] and (tool := next((tool for tool in ("sudo", "doas") if programs.find(root, tool)), "")):
            steps.append(f"let {name} use {tool}")
        usable = sum(_is_usable(key.key_data) for key in profile.public_keys)
        if config.steps["ssh_keys"] and profile.public_keys:
            if not usable:
                raise GuestError(f"none of the {len(profile.public_keys)} SSH keys for {name} is a key that sshd could use")
            steps.append(f"authorize {usable} of {len(profile.public_keys)} SSH keys")
        if config.steps["password"]:
            steps.append(f"{'set' if profile.password else 'lock'} the password of {name}")
            can_log_in = usable or profile.password or passwords.is_set(root, name) or sshkeys.any_authorized(root, name)
            if not can_log_in:
                raise GuestError(f"neither an SSH key nor a password came for the user {name}: nobody could log in")
    except GuestError as error:
        problems.append(str(error))


def _is_usable(key_data: str) -> bool:
    try:
        return bool(sshkeys.parse(key_data))
    except sshkeys.KeyRefused:
        return False
