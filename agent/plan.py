"""What a first boot would do, in words, without doing it: for `provision --dry-run` and `check`."""

from agent.errors import GuestError
from agent.guest import accounts, hostname, passwords, programs, sshd, sshkeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.config import Config
    from agent.osprofile import OSProfile
    from agent.root import Root


def plan(root: "Root", config: "Config", profile: "OSProfile") -> "tuple[list[str], list[str]]":
    """(what would be done, each to be read behind "would"; what would make the run fail)."""
    steps: list[str] = []
    problems: list[str] = []
    if config.steps["host_name"]:
        name, _ = hostname.choose(profile.host_names)
        steps.append(f"set the host name to {name}" if name else "leave the host name as it is")
    if profile.user_name and config.steps["user"]:
        _user(root, config, profile, steps, problems)
    if profile.disable_password is not None and config.steps["sshd"] and sshd.is_there(root):
        steps.append(
            f"{'forbid' if profile.disable_password else 'allow'} logins with a password in {sshd.DROP_IN}"
        )
    for step, what, decode in (
        ("custom_data", "customData", profile.custom_data),
        ("user_data", "userData", profile.user_data),
    ):
        if config.steps[step]:
            try:
                data = decode()
            except GuestError as error:
                (problems if step in config.fatal else steps).append(f"warn: {error}")
                continue
            if data:
                runs = step == "custom_data" and config.run_custom_data and data.startswith(b"#!")
                steps.append(
                    f"save {len(data)} bytes of {what} in {config.state_directory}{' and run them' if runs else ''}"
                )
    return steps, problems


def _user(
    root: "Root", config: "Config", profile: "OSProfile", steps: "list[str]", problems: "list[str]"
) -> None:
    name = profile.user_name
    try:
        account = accounts.check(root, name)
        steps.append(
            f"keep the user {name}"
            if account
            else f"create the user {name} with {config.shell or accounts.default_shell(root)}"
        )
        if config.steps["sudo"] and (
            tool := next((tool for tool in ("sudo", "doas") if programs.find(root, tool)), "")
        ):
            steps.append(f"let {name} use {tool}")
        if config.steps["ssh_keys"] and profile.public_keys:
            future = account or accounts.Account([name, "x", "", "", "", f"/home/{name}", ""])
            by_path, remarks = sshkeys.sort(future, profile.public_keys)
            steps += [
                f"authorize {len(keys)} SSH key{'s' * (len(keys) != 1)} in {path}"
                for path, keys in by_path.items()
            ]
            steps += [f"warn: {remark}" for remark in remarks]
        if config.steps["password"]:
            steps.append(f"{'set' if profile.password else 'lock'} the password of {name}")
            passwords.check_login(
                root, name, has_keys=bool(profile.public_keys), password=profile.password
            )
    except GuestError as error:
        problems.append(str(error))
