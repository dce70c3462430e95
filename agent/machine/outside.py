"""Work outside of the unit's sandbox, by systemd-run: what takes packet sockets.

The unit of systemd has no capabilities for these, which most images would carry for nothing.
"""

import _socket
import posix

from agent import programs
from agent.errors import reason
from agent.machine import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

_RIGHTS = "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_DAC_OVERRIDE CAP_KILL"


def is_confined() -> bool:
    """Tell whether this process may not open a packet socket."""
    try:
        _socket.socket(_socket.AF_PACKET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0).close()
    except OSError:
        return True
    return False


def run(root: "Root", words: "list[str]", seconds: float) -> str:
    """Run this file with `words` and a deadline; return its last line. Raises AzreadyError."""
    systemd_run = programs.usable(root, "systemd-run")
    if not systemd_run or not root.is_folder("/run/systemd/system"):
        raise network.NetworkError("packet sockets are refused (CAP_NET_RAW, AF_PACKET)")
    start = [systemd_run, "--quiet", "--wait", "--pipe", "--collect", f"--property={_RIGHTS}"]
    start += [f"--property=RuntimeMaxSec={seconds + 1:.0f}", "--", _own_path(), *words]
    result = programs.run([*start, f"--deadline={max(1.0, seconds):.0f}"], limit=seconds + 2)
    if result.code:
        raise network.NetworkError(f"azready {' '.join(words)} {result}")
    return result.output.strip().rpartition("\n")[2].partition("] ")[2]


def _own_path() -> str:
    try:
        return posix.readlink("/proc/self/exe")
    except OSError as error:
        raise network.NetworkError(f"cannot find the running file: {reason(error)}") from None
