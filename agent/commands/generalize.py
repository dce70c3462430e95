"""`azready generalize`: remove what makes a machine unique, before its disk is captured.

Nothing is changed before everything is listed and agreed to. See agent/commands/departure.py for
the user of --user.
"""

import posix
from stat import S_ISDIR, S_ISREG

from agent import init
from agent.change import Change, removal
from agent.commands import common, departure
from agent.errors import EXIT_DONE, UsageError
from agent.formats import hosts, sshd_config, sudoers
from agent.log import printable
from agent.steps import state
from agent.steps.host_name import HOSTNAME, HOSTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.log import Log
    from agent.root import Root

_LOGS = "/var/log"
_DEEPEST_LOG = 16  # parts of a path
_ROTATED = (".gz", ".xz", ".old", ".1")
_MACHINE_ID = "/etc/machine-id"
_DBUS_ID = "/var/lib/dbus/machine-id"
# Each with at most one * in a part; missing ones are skipped.
_REMOVED = (
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssh/ssh_host_*_key.pub",
    "/etc/ssh/.ssh_host_*",  # unfinished
    _DBUS_ID,
    sudoers.SUDO_FILE,
    sudoers.DOAS_FILE,
    sshd_config.DROP_IN,
    # leases
    "/var/lib/dhcp/*.leases",
    "/var/lib/dhclient/*",
    "/var/lib/dhcpcd/*",
    "/var/lib/dhcpcd5/*",
    "/var/lib/NetworkManager/*.lease",
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/systemd/network/*",
    # random seeds, systemd's credential key
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/urandom/random-seed",
    "/var/lib/random-seed",
    "/var/lib/seedrng/*",
    "/boot/loader/random-seed",
    "/boot/efi/loader/random-seed",
    "/efi/loader/random-seed",
    "/var/log/journal/*",
    # shell histories
    "/root/.*_history",
    "/home/*/.*_history",
    "/root/.lesshst",
    "/home/*/.lesshst",
    # files of other agents
    "/var/lib/cloud/*",
    "/var/log/cloud-init*",
    "/etc/sudoers.d/90-cloud-init-users",
    "/etc/ssh/sshd_config.d/50-cloud-init.conf",
    "/var/lib/waagent/*",
    "/var/log/azure/*",
    "/etc/sudoers.d/waagent",
    "/var/lib/azure-init/*",
)


def run(options: "dict[str, str]", log: "Log") -> int:
    """List what will be changed, ask, and change it."""
    root = common.tree(options, changes=True)
    directory = common.config(root, options).state_directory
    listed = changes(root, directory, options.get("--user", ""))
    would = "would " * ("--dry-run" in options)
    lines = [f"{would}{printable(change.text)}\n" for change in listed]
    common.write("".join(lines) or "nothing to do\n")
    if "--dry-run" in options or not listed:
        return EXIT_DONE
    if "--yes" not in options and not _agreed(f"generalize the system below {root} as listed?"):
        raise UsageError("nothing was changed: generalize asks first, or needs --yes")
    for change in listed:
        change.apply()
        log.debug(change.text)
    then = ": shut this machine down and capture it" if root.is_live else ""
    log.info(f"done, {len(listed)} changes{then}")
    return EXIT_DONE


def _agreed(question: str) -> bool:
    """Ask on the terminal; without one the answer is no."""
    if not posix.isatty(0):
        return False
    common.write(f"{question} [y/N] ")
    return posix.read(0, 100).strip().lower() in (b"y", b"yes")


def changes(root: "Root", state_directory: str, user: str) -> "list[Change]":
    """Return what makes the system below `root` an image again; `user` is removed, "" for nobody.

    Raises UsageError if the user cannot be removed, and GuestError.
    """
    removed = list(dict.fromkeys(_removed(root, state_directory)))
    listed = [removal(root, path) for path in removed]
    listed += _logs(root, removed)
    if root.read(_MACHINE_ID):
        # Empty, not missing and not "uninitialized": machine-id(5) on images.
        listed.append(_emptying(root, _MACHINE_ID))
    listed += _host_name(root)
    if user:
        listed += departure.changes(root, user)
    # Some of it may be listed already. Removals are not compared by text: different names may read
    # the same when they are printed.
    known = {change.text for change in listed}
    for name in init.installed(root):
        listed += [
            change for change in init.SYSTEMS[name].enabling(root) if change.text not in known
        ]
    return listed


def _removed(root: "Root", state_directory: str) -> "Iterator[str]":
    own = (f"{state_directory}/{name}" for name in state.NAMES)
    for pattern in (*own, *_REMOVED):
        for path in sorted(_glob(root, pattern)):
            if path == _DBUS_ID and root.is_link(path):
                continue  # to /etc/machine-id, which is emptied
            yield path


def _logs(root: "Root", removed: "list[str]") -> "Iterator[Change]":
    """Yield the emptying of logs that are written to, and the removal of rotated ones.

    A folder nested too deep to hold logs is removed, and a file with a second name, which may be
    another's. Nothing below `removed` needs either.
    """
    waiting = [_LOGS]
    while waiting:
        folder = waiting.pop()
        for name in root.names(folder):
            path = f"{folder}/{name}"
            status = root.status(path, follow=False)
            if status is None or path in removed:
                continue
            if S_ISDIR(status.st_mode) and path.count("/") < _DEEPEST_LOG:
                waiting.append(path)
            elif S_ISDIR(status.st_mode) or (
                S_ISREG(status.st_mode) and (name.endswith(_ROTATED) or status.st_nlink != 1)
            ):
                yield removal(root, path)
            elif S_ISREG(status.st_mode) and status.st_size:
                yield _emptying(root, path)


def _host_name(root: "Root") -> "Iterator[Change]":
    old = root.read(HOSTNAME)
    if old is None:
        return
    name = old.decode("utf-8", "replace").strip()
    content = root.read(HOSTS) or b""
    cleaned = hosts.without_name(content, name)
    if cleaned != content:
        text = f"remove {printable(name)} from {HOSTS}"
        yield Change(text, lambda: root.replace(HOSTS, cleaned))
    yield removal(root, HOSTNAME)


def _emptying(root: "Root", path: str) -> Change:
    return Change(f"empty {printable(path)}", lambda: root.empty(path))


def _glob(root: "Root", pattern: str) -> "list[str]":
    """Return the paths that match; links on the way are followed inside the root."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        before, star, after = part.partition("*")
        step = []
        for folder in found:
            if not star:
                names = [part]
            else:
                names = [
                    name
                    for name in root.names(folder or "/")
                    if len(name) >= len(before + after)
                    and name.startswith(before)
                    and name.endswith(after)
                ]
            step += [f"{folder}/{name}" for name in names]
        found = step
    return [path for path in found if root.status(path, follow=False) is not None]
