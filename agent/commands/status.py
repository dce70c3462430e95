"""`azready status`: has this VM been provisioned, when, and what ended the last run?

From the markers (agent/steps/state.py) and the record for the Hyper-V host (agent/steps/kvp.py)
alone: nobody is asked, and nothing is changed. The id of this VM in DMI tells whose marker it is.
"""

from agent.commands import common
from agent.errors import EXIT_DONE, EXIT_FAILED, GuestError, ProtocolError
from agent.log import printable
from agent.machine import identity
from agent.protocol import kvp
from agent.steps import state
from agent.steps.kvp import POOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.log import Log
    from agent.root import Root


class Status:
    """What is known about the VM `vm_id` ("" without DMI).

    `markers` are (VM id, time, note), the latest last; `record` has the fields of the last report,
    none without. `marker` is this VM's, or the latest if nothing tells which VM this is.
    """

    def __init__(
        self, vm_id: str, markers: "list[tuple[str, str, str]]", record: "dict[str, str]"
    ) -> None:
        own = [marker for marker in markers if not vm_id or marker[0] in identity.spellings(vm_id)]
        self.vm_id = vm_id
        self.markers = markers
        self.record = record
        self.marker = own[-1] if own else None

    @property
    def failure(self) -> str:
        """Why the last run failed, "" if it did not, or if nothing tells."""
        return self.record.get("reason", "") if self.record.get("result") == "error" else ""

    def as_text(self) -> str:
        """Return it for people, a line each."""
        lines = []
        if self.marker:
            vm_id, time, note = self.marker
            lines.append(f"provisioned: VM {vm_id}, {time}: {note}")
        else:
            lines.append(f"not provisioned: VM {self.vm_id or 'of unknown id'} has no marker")
        if self.failure and not self.marker:
            lines.append(f"the last run failed, {self.record.get('timestamp')}: {self.failure}")
        lines += [
            f"marker of another VM: {vm_id}, {time}: {note}"
            for vm_id, time, note in self.markers
            if (vm_id, time, note) != self.marker
        ]
        return "".join(f"{printable(line)}\n" for line in lines)

    def as_json(self) -> str:
        """Return it for programs; times are UTC in ISO 8601, absent values are null."""
        import json

        _, time, note = self.marker or (None, None, None)
        answer = {
            "schema": 1,
            "provisioned": self.marker is not None,
            "vm_id": self.marker[0] if self.marker else self.vm_id or None,
            "time": time,
            "note": note,
            "failure": None if self.marker else self.failure or None,
            "failure_time": (
                self.record.get("timestamp") if self.failure and not self.marker else None
            ),
            "markers": [vm_id for vm_id, _, _ in self.markers],
        }
        return json.dumps(answer, indent=2) + "\n"


def run(options: "dict[str, str]", _: "Log") -> int:
    """Print the status of the machine or tree of the command line; exit 1 if not provisioned."""
    root = common.tree(options)
    status = find(root, common.config(root, options).state_directory)
    common.write(status.as_json() if "--json" in options else status.as_text())
    return EXIT_DONE if status.marker else EXIT_FAILED


def find(root: "Root", directory: str) -> Status:
    """Read markers and record. Raises GuestError."""
    markers = []
    for vm_id in state.provisioned(root, directory):
        text = (root.read(state.marker(directory, vm_id)) or b"").decode("utf-8", "replace")
        time, _, note = text.strip().partition(" ")
        markers.append((vm_id, time, note))
    markers.sort(key=lambda marker: marker[1])
    return Status(identity.vm_id(root), markers, _record(root))


def _record(root: "Root") -> "dict[str, str]":
    try:
        return kvp.fields(dict(kvp.parse(root.read(POOL) or b"")).get(kvp.REPORT_KEY, ""))
    except (GuestError, ProtocolError):
        return {}
