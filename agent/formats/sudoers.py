"""The rule that lets a user become root: for sudo (sudoers(5)) or doas (doas.conf(5)).

User names are validated before (`accounts.refusal`): none of their characters has a meaning here.
But whole names have one: to sudo, `ALL` is everybody, and `Defaults`, `ROLE`, `sudoedit`, `sha256`
or an IPv4 address break the file; so do `nopass` or `as` for doas. Between quotes a word is only a
name, to both, and to sudo-rs. A number (`#1000`) would be safe, too, but it would pass the rule on
to whoever gets the number after this user.
"""

SUDO_FILE = "/etc/sudoers.d/90-azready"
DOAS_FILE = "/etc/doas.d/azready.conf"
DOAS_CONF = "/etc/doas.conf"


def sudo_line(name: str, without_password: bool) -> str:
    """Return the sudoers rule for the user `name`, with its line end."""
    return f'"{name}" ALL=(ALL:ALL) {"NOPASSWD: " if without_password else ""}ALL\n'


def doas_line(name: str, without_password: bool) -> str:
    """Return the doas.conf rule for the user `name`, with its line end."""
    return f'permit {"nopass " if without_password else ""}"{name}"\n'


def includes_drop_ins(content: bytes) -> bool:
    """Return whether this sudoers file reads /etc/sudoers.d."""
    lines = [line.split() for line in content.decode("utf-8", "replace").splitlines()]
    folder = SUDO_FILE.rpartition("/")[0]
    return any(line in (["@includedir", folder], ["#includedir", folder]) for line in lines)
