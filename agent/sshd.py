"""How sshd sees the user: asked of sshd itself where it runs, else read from its files.

To ask takes long on a cold disk, and to read does not: so before the network is there the files are
believed, and sshd is asked meanwhile (commands/early.py).
"""

import posix
from _signal import SIGHUP

from agent import accounts, programs
from agent.change import Change
from agent.errors import GuestError, reason
from agent.formats import sshd_config
from agent.formats.sshd_config import CONFIGS, Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.boot import Boot
    from agent.root import Root

# Where an ordinary user comes from: TEST-NET-1 (RFC 5737), so that no condition on an address fits.
# A Match for address or port of the server needs these, too.
_FROM = "host=client.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
_PID_FILE = "/run/sshd.pid"
_SERVICES = ("ssh", "sshd")  # the names that distributions give to sshd
_RUNIT = ("/etc/service", "/var/service")
_NO_FOLDER = "Missing privilege separation directory: "
# Debian's sshd misses one that its unit makes whenever it starts sshd.
_DEBIANS_UNIT, _DEBIANS_FOLDER = "/lib/systemd/system/ssh.service", "/run/sshd"
_ASKING = "-T"


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
    values = None if boot.rehearsing or boot.foresees else _asked(boot)
    if values is None:
        values = _read(boot.root, written, boot.profile.user_name, lambda: groups(boot))
    return sshd_config.server(values)


def program(root: "Root") -> str:
    """Return the path of an sshd that runs here and has settings, "" without. Raises GuestError."""
    sshd = programs.usable(root, "sshd")
    return sshd if sshd and any(root.exists(path) for path in CONFIGS) else ""


def ask(boot: "Boot") -> None:
    """Start to ask sshd itself beside the work, once, if its files stood for its answer so far."""
    if not boot.foresees or not boot.server or boot.question:
        return
    boot.question = question = programs.Beside()  # before the start, which a signal may end
    try:
        if b"\nRuntimeDirectory=sshd\n" in (boot.root.read(_DEBIANS_UNIT) or b""):
            boot.root.make_folders(_DEBIANS_FOLDER)
        question.start(_ASKING, _question(boot, program(boot.root), _ASKING), nice=None)
    except GuestError as error:
        boot.log.debug(f"sshd is asked later: {error}")


def forget(boot: "Boot") -> None:
    """End a question that nobody waits for any more; no pause asks again."""
    question, boot.question, boot.foresees = boot.question, None, False
    if question:
        question.end()


def confirm(boot: "Boot") -> "bool | None":
    """Tell whether sshd itself does what its files said; None if nobody had to ask it.

    From now on it is asked. Raises GuestError as server().
    """
    read, foresees, boot.foresees = boot.server, boot.foresees, False
    if read is None or not foresees:
        return None
    boot.server = None
    return sshd_config.is_foreseen(read, server(boot))


def groups(boot: "Boot") -> "list[str]":
    """Return the names of the user's groups, with those that the user is about to join."""
    return accounts.group_names(boot.root, boot.profile.user_name, boot.config.groups)


def host_keys(root: "Root") -> "tuple[str, ...]":
    """Return the paths of the host keys that sshd's files name, () for its own choice.

    Raises GuestError.
    """
    return tuple(_read(root, {}, "", list).get("hostkey", ()))


def rereading(boot: "Boot") -> "Iterator[Change]":
    """Yield what has an sshd that runs already read its files again: SIGHUP (sshd(8)).

    Where the init system starts everything at once, sshd does not wait for azready.
    """
    root = boot.root
    number = (root.read(_PID_FILE) or b"").decode("ascii", "replace").strip() * root.is_live
    if number.isdecimal() and root.read(f"/proc/{number}/comm") == b"sshd\n":
        yield Change("have sshd read its settings again", lambda: _hang_up(int(number)))


def starting(boot: "Boot") -> "Iterator[Change]":
    """Yield the start of an sshd that has found no host keys, and will not look again.

    So do Debian's script for runit, and dinit, until the next boot.
    """
    if boot.root.is_live and (words := _start_of_one_that_gave_up(boot.root)):
        yield Change(f"start {words[-1]} again", lambda: _run(words))


def _hang_up(number: int) -> None:
    try:
        posix.kill(number, SIGHUP)
    except OSError as error:
        raise GuestError(
            f"cannot signal sshd, which is process {number}: {reason(error)}"
        ) from None


def _start_of_one_that_gave_up(root: "Root") -> "list[str]":
    """Return what starts an sshd that is down though nobody asked for it, and stays so.

    Supervisors say this in words: "normally up" (sv(8)), or why it stopped (dinitctl(8)).
    """
    sv, dinitctl = programs.find(root, "sv"), programs.find(root, "dinitctl")
    for service in [f"{folder}/{name}" for folder in _RUNIT for name in _SERVICES] if sv else ():
        if root.exists(f"{service}/run"):
            said = programs.run([sv, "status", service]).output
            if said.startswith("down:") and "normally up" in said and "want up" not in said:
                return [sv, "up", service]
    for service in _SERVICES if dinitctl else ():
        if "State: STOPPED (" in programs.run([dinitctl, "status", service]).output:
            return [dinitctl, "start", service]
    return []


def _run(words: "list[str]") -> None:
    result = programs.run(words)
    if result.code:
        raise GuestError(f"{' '.join(words)} {result}")


def _asked(boot: "Boot") -> "sshd_config.Values | None":
    """Return what `sshd -T` says, else -G; None if neither is possible here.

    -T takes host keys, which something else may make later; -G came with OpenSSH 9.3. Raises
    GuestError if sshd cannot use its configuration.
    """
    sshd = program(boot.root)
    if not sshd:
        return None
    # Host keys that are being made are not where sshd looks for them.
    key = boot.keys.first() if boot.keys else ""
    for option in (_ASKING, "-G"):
        words = _question(boot, sshd, option) + (["-h", key] if key else [])
        result = _answer(boot) or programs.run(words)
        if _NO_FOLDER in result.output:
            # sshd's own start would make it. The unit of azready may not, but tmpfiles.d(5) did.
            try:
                boot.root.make_folders(result.output.partition(_NO_FOLDER)[2].split()[0])
                result = programs.run(words)
            except GuestError as error:
                boot.log.debug(str(error))
        if result.code == 0:
            return sshd_config.dumped(result.output)
        # What ends sshd is its last line: "FILE line N: ...", or how many options are bad. It also
        # writes of options that it does without, before it misses a host key.
        last = result.output.rstrip().rpartition("\n")[2]
        if " line " in last or "configuration option" in last:
            raise GuestError(f"sshd cannot use its configuration: {words[0]} {option} {result}")
        boot.log.debug(f"{words[0]} {option} {result}")
    return None


def _question(boot: "Boot", sshd: str, option: str) -> "list[str]":
    """Return the command that asks about the user."""
    return [sshd, option, "-C", f"user={boot.profile.user_name},{_FROM}"]


def _answer(boot: "Boot") -> "programs.Result | None":
    """Return what ask() has started to find out, once; None without. Raises TimeUp."""
    question, boot.question = boot.question, None
    return question.wait(_ASKING) if question and question.knows(_ASKING) else None


def _read(
    root: "Root", written: "dict[str, bytes]", user: str, groups: "Callable[[], list[str]]"
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
