"""How sshd sees the user: asked of sshd itself where it runs, else read from its files."""

from agent import accounts, programs
from agent.errors import GuestError
from agent.formats import sshd_config
from agent.formats.sshd_config import CONFIGS, Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.boot import Boot
    from agent.root import Root

# Where an ordinary user comes from: TEST-NET-1 (RFC 5737), so that no condition on an address fits.
# A Match for address or port of the server needs these, too.
_FROM = "host=client.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
_NO_FOLDER = "Missing privilege separation directory: "


def config(root: "Root") -> "tuple[str, bytes] | None":
    """Return (path, content) of sshd_config, None without. Raises GuestError."""
    for path in CONFIGS:
        content = root.read(path)
        if content is not None:
            return path, content
    return None


def server(boot: "Boot") -> Server:
    """Return what sshd does for the user, found out once. Raises GuestError."""
    if boot.server is None:
        boot.server = look(boot, {})
    return boot.server


def look(boot: "Boot", written: "dict[str, bytes]") -> Server:
    """Return what sshd does for the user, with the contents `written` in the place of files.

    Where nothing is rehearsed these have been written by now. Raises GuestError.
    """
    values = None if boot.rehearsing else _asked(boot)
    if values is None:
        values = _read(boot.root, written, boot.profile.user_name, groups(boot))
    return sshd_config.server(values)


def groups(boot: "Boot") -> "list[str]":
    """Return the names of the user's groups, with those that the user is about to join."""
    return accounts.group_names(boot.root, boot.profile.user_name, boot.config.groups)


def _asked(boot: "Boot") -> "sshd_config.Values | None":
    """Return what `sshd -T` says, else -G; None if neither is possible here.

    -T takes host keys, which something else may make later; -G came with OpenSSH 9.3. Raises
    GuestError if sshd cannot use its configuration.
    """
    sshd = programs.usable(boot.root, "sshd")
    if not sshd or config(boot.root) is None:
        return None
    who = f"user={boot.profile.user_name},{_FROM}"
    for option in ("-T", "-G"):
        result = programs.run([sshd, option, "-C", who])
        if _NO_FOLDER in result.output:
            # sshd's own start would make it. The unit of azready may not, but tmpfiles.d(5) did.
            try:
                boot.root.make_folders(result.output.partition(_NO_FOLDER)[2].split()[0])
                result = programs.run([sshd, option, "-C", who])
            except GuestError as error:
                boot.log.debug(str(error))
        if result.code == 0:
            return sshd_config.dumped(result.output)
        # What ends sshd is its last line: "FILE line N: ...", or how many options are bad. It also
        # writes of options that it does without, before it misses a host key.
        last = result.output.rstrip().rpartition("\n")[2]
        if " line " in last or "configuration option" in last:
            raise GuestError(f"sshd cannot use its configuration: {sshd} {option} {result}")
        boot.log.debug(f"{sshd} {option} {result}")
    return None


def _read(
    root: "Root", written: "dict[str, bytes]", user: str, groups: "list[str]"
) -> "sshd_config.Values":
    def included(pattern: str) -> "Iterator[bytes]":
        folder, _, name = sshd_config.absolute(pattern).rpartition("/")
        there = {path.rpartition("/") for path in written}
        names = {last for first, _, last in there if first == folder} | set(root.names(folder))
        for last in sorted(names):
            if sshd_config.fits(name, last):
                path = f"{folder}/{last}"
                yield written[path] if path in written else root.read(path) or b""

    found = config(root)
    if found is None:
        return {}
    path, content = found
    return sshd_config.effective(written.get(path, content), included, user, groups)
