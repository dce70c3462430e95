"""customData and userData: what the person who made the VM sends along. Saved for root's eyes only, and run only if the configuration says so."""

import posix

from agent.errors import GuestError
from agent.guest import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log
    from agent.root import Root


def save(root: "Root", path: str, data: bytes) -> None:
    """Keep `data` in the file `path`, 0600. Raises GuestError."""
    root.replace(path, data, 0o600, (0, 0) if root.is_live else None, like_old=False)


def run_once(root: "Root", path: str, vm_id: str, limit: float, log: "Log") -> "int | None":
    """Run the saved script `path` as root and log what it says; returns its exit code, None if there was nothing to run.

    It is run once for a VM: that it was started is remembered before, so a run that was killed does not start it again. Raises GuestError if it cannot
    be run or does not end within `limit` seconds.
    """
    directory, _, name = path.rpartition("/")
    script = root.read(path) or b""
    if not script.startswith(b"#!"):
        log.info(f"{name} is no script, it does not start with #!: it was not run")
        return None
    if not root.is_live:
        raise GuestError(f"{name} cannot be run below {root}: only on the machine itself")
    started = f"{directory}/{vm_id or 'unknown'}.{name}"
    earlier = root.read(started)
    if earlier is not None:
        return _earlier(name, earlier, log)
    root.replace(started, b"started\n", 0o600, like_old=False)
    interpreter = (
        script[2:].partition(b"\n")[0].decode("utf-8", "surrogateescape").strip().split(None, 1)
    )
    if not interpreter:
        raise GuestError(f"{name} names no interpreter behind #!")
    # By its interpreter, because the state directory may be on a file system that is mounted noexec.
    words = [*interpreter, root.resolve(path)]
    lines = _Lines(name, log)
    result = programs.run([*_outside(root, name), *words], limit=limit, on_output=lines)
    lines.end()
    root.replace(started, f"ended with {result.code}\n".encode(), 0o600, like_old=False)
    log.info(f"{name} ended with {result.code}")
    return result.code


def _outside(root: "Root", name: str) -> "list[str]":
    """The words that start a program outside the sandbox of our own unit, where systemd is there to do that; a script may install packages."""
    run = programs.usable(root, "systemd-run")
    if (
        not run
        or not root.is_folder("/run/systemd/system")
        or posix.environ.get(b"INVOCATION_ID") is None
    ):
        return []
    return [run, "--quiet", "--wait", "--pipe", "--collect", f"--unit=azready-{name}", "--"]


def _earlier(name: str, note: bytes, log: "Log") -> "int | None":
    words = note.decode("ascii", "replace").split()
    if words[:2] == ["ended", "with"]:
        log.info(f"{name} was run before and {' '.join(words)}: it is not run again")
        return int(words[2])
    log.warning(
        f"{name} was started by an earlier run that did not see its end: it is not run again"
    )
    return None


class _Lines:
    """Logs whole lines of output as they come."""

    def __init__(self, name: str, log: "Log") -> None:
        self._name = name
        self._log = log
        self._rest = b""

    def __call__(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._log.info(f"{self._name}: {line.decode('utf-8', 'replace')[:1000]}")
        self._rest = self._rest[-4096:]

    def end(self) -> None:
        """Log what came behind the last line break."""
        if self._rest:
            self(b"\n")
