"""Save the customData, and run it if it is a script and the settings say so.

It runs once for a VM: that it was started is recorded before, so that no later run starts it again.
What it starts in the background stays, unless the script runs into its limit: then all of it ends.
"""

import posix

from agent import programs
from agent.change import Change, Step
from agent.errors import AzreadyError, GuestError
from agent.steps import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.boot import Boot
    from agent.change import Changes
    from agent.log import Log
    from agent.root import Root

NAME = "customdata"
_MODE = 0o600
_ENDED = "exited with status"
_STOPPED = "stopped after"
_UNIT = f"azready-{NAME}.service"
_KEPT = 60.0  # seconds of the deadline that a script must leave to the report
_MAX_LOGGED = 1 << 20  # bytes of a script's output


def changes(boot: "Boot") -> "Changes":
    """Yield the saving and the run, and leave the script's status in `boot.notes`.

    Raises GuestError if the customData is missing, or if the script failed, now or in an earlier
    run for this VM.
    """
    data = boot.profile.custom_data()
    if not data:
        if boot.metadata and boot.metadata.has_custom_data:
            raise GuestError(f"this VM has customData, which is not saved: {_missing(boot)}")
        return
    path = f"{boot.config.state_directory}/{NAME}"
    yield from payload.saving(boot, "customData", path, data)
    if not boot.config.run_custom_data:
        return
    if not data.startswith(b"#!"):
        boot.log.info("the customData is not run: it is not a script, which starts with #!")
        return
    if not boot.root.is_live:
        raise GuestError(f"the customData cannot be run below {boot.root}, only on the machine")
    started = f"{boot.config.state_directory}/{boot.vm_id or 'unknown'}.{NAME}"
    earlier = boot.root.read(started)
    if earlier is None:
        yield Change(f"run {path}", lambda: _run(boot, path, data, started))
    _judge(boot, boot.root.read(started), ran_before=earlier is not None)


def _missing(boot: "Boot") -> str:
    """Return why there is no customData although IMDS knows of some: only the CD holds it."""
    if boot.medium:
        return f"{boot.medium.device} holds none"
    if boot.config.steps["media"]:
        return "no provisioning CD could be read"
    return "steps.media is off, so the provisioning CD is not read"


def _judge(boot: "Boot", note: "bytes | None", *, ran_before: bool) -> None:
    """Read the note about the run; None in a rehearsal. Raises GuestError for a failed script."""
    if note is None:
        return
    text = note.decode("ascii", "replace").strip()
    if text.startswith(_STOPPED):
        raise GuestError(
            f"the customData script was {text}: custom_data_limit and deadline allow no more"
        )
    words = text.split()
    if not words or not words[-1].lstrip("-").isdigit():
        boot.log.warning(
            "an earlier run started the customData and did not see its end: it is not run again"
        )
        return
    if ran_before:
        boot.log.info(f"the customData ran before and {_ENDED} {words[-1]}: it is not run again")
    boot.notes = (f"custom_data_exit_code={words[-1]}",)
    if words[-1] != "0":
        raise GuestError(f"the customData script {_ENDED} {words[-1]}")


def _run(boot: "Boot", path: str, script: bytes, started: str) -> None:
    root = boot.root
    line = script[2:].partition(b"\n")[0].decode("utf-8", "surrogateescape")
    interpreter = line.strip().split(None, 1)
    if not interpreter:
        raise GuestError("the customData names no interpreter after #!")
    left = boot.deadline.left()
    limit = min(boot.config.custom_data_limit, max(left - _KEPT, left / 2))
    if not limit:
        raise GuestError("the customData is not run: the deadline leaves no time")
    root.replace(started, b"started\n", _MODE, like_old=False)
    # By its interpreter, because the state directory may be mounted noexec.
    outside = _outside(root, limit)
    words = [*outside, *interpreter, root.resolve(path)]
    lines = _Lines(boot.log)
    try:
        # The unit's priority is high, and what a script starts would keep it.
        result = programs.run(words, limit=limit, on_output=lines, nice=0)
        ended = f"{_ENDED} {result.code}"
    except (AzreadyError, KeyboardInterrupt) as error:  # of agent/signals.py
        if outside:
            _stop_unit(boot)
        if not isinstance(error, programs.TimeUp):
            raise
        ended = f"{_STOPPED} {limit:.0f} s"
    lines.end()
    root.replace(started, f"{ended}\n".encode(), _MODE, like_old=False)
    boot.log.info(f"{NAME} {ended}")


def _outside(root: "Root", limit: float) -> "list[str]":
    """Return the words that start a program outside the sandbox of the unit, under systemd.

    A script may install packages, and may start daemons, which KillMode= lets live on. systemd ends
    it after `limit` seconds, should nobody be here then to do it.
    """
    run = programs.usable(root, "systemd-run")
    is_unit = posix.environ.get(b"INVOCATION_ID") is not None
    if not run or not is_unit or not root.is_folder("/run/systemd/system"):
        return []
    options = ["--quiet", "--wait", "--pipe", "--collect", f"--unit={_UNIT}"]
    # A second more, because systemd-run cannot tell this end from a failure of the script.
    properties = [f"--property=RuntimeMaxSec={limit + 1:.0f}", "--property=KillMode=process"]
    return [run, *options, *properties, "--"]


def _stop_unit(boot: "Boot") -> None:
    """End the script and all that it started, which systemd-run does not do when it is killed."""
    for words in (["kill", "--signal=SIGKILL"], ["stop"]):
        try:
            programs.run([programs.find(boot.root, "systemctl"), *words, _UNIT], limit=5)
        except GuestError as error:
            boot.log.warning(str(error))


class _Lines:
    """Logs whole lines of output as they come."""

    def __init__(self, log: "Log") -> None:
        self._log = log
        self._rest = b""
        self._room = _MAX_LOGGED

    def __call__(self, piece: bytes) -> None:
        if self._room < 0:
            return
        self._room -= len(piece)
        if self._room < 0:
            piece = f"\nno more than {_MAX_LOGGED} bytes of output are logged\n".encode()
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._log.info(f"{NAME}: {line.decode('utf-8', 'replace')[:1000]}")
        self._rest = self._rest[-4096:]

    def end(self) -> None:
        """Log what came after the last line break."""
        if self._rest:
            self(b"\n")


CUSTOM_DATA = Step("custom_data", "Save the customData, and run it if run_custom_data.", changes)
