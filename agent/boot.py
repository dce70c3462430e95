"""Boot: the state of one run of the steps, and what they have found out so far."""

from time import monotonic

from agent.profile import Profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.azure.http import Endpoint
    from agent.azure.retry import Deadline
    from agent.formats.accounts import Account
    from agent.formats.sshd_config import Server
    from agent.log import Log
    from agent.machine.dhcp import Client
    from agent.machine.media import Medium
    from agent.programs import Beside
    from agent.protocol.imds import InstanceMetadata
    from agent.root import Root
    from agent.settings import Config
    from agent.steps.host_keys import Keys


class Boot:
    """One run of the steps, and what it has found out so far.

    Given: `root`, the endpoints `wireserver` and `imds`, `deadline`, `config`, `log`. `force` goes
    on outside of Azure; `rehearsing` only tells what would be done; `mounts` waits for a medium and
    lets the kernel mount one that our own readers cannot read; `dhcp` is after how many seconds
    without a way to the platform azready asks for a lease itself, None for never.

    Found: `vm_id` ("" if unknown), `metadata` and `medium` (None without), `silence` (why there is
    no metadata), `profile`, `old_name` of this machine and its `unnamed` addresses, got under that
    name (from the step `host_name`), the user's `account` (None before the step `user`, and without
    a user), what the `server` for SSH does for the user (None before anybody asked), the `promised`
    ways to log in, "key" and "password", that steps have made or, in a rehearsal, would make;
    `notes` for the success report; the `client` for DHCP (None until it is needed).

    Beside the work: the host `keys` that are being made (None without); whether the files of sshd
    are believed until it is asked (`foresees`), and the `question` to it (None without); what looks
    after these in each pause (`beside`).

    Done: names of the steps that succeeded; `let_in`, whether systemd was told before the metadata
    were known that people may log in; `failure`, why the run fails, "" until then; `ready_sent`,
    whether Ready may have reached the platform.
    """

    def __init__(
        self,
        root: "Root",
        wireserver: "Endpoint",
        imds: "Endpoint",
        deadline: "Deadline",
        config: "Config",
        log: "Log",
        *,
        force: bool = False,
        rehearsing: bool = False,
        mounts: bool = True,
    ) -> None:
        self.root = root
        self.wireserver = wireserver
        self.imds = imds
        self.deadline = deadline
        self.config = config
        self.log = log
        self.force = force
        self.rehearsing = rehearsing
        self.mounts = mounts
        self.dhcp: "float | None" = None
        self.client: "Client | None" = None
        self.keys: "Keys | None" = None
        self.beside: "Callable[[], object]" = lambda: None
        self._no_way_since = 0.0
        self.vm_id = ""
        self.old_name = ""
        self.unnamed: "frozenset[tuple[int, bytes]] | None" = None
        self.metadata: "InstanceMetadata | None" = None
        self.silence = ""
        self.medium: "Medium | None" = None
        self.profile = Profile()
        self.account: "Account | None" = None
        self.server: "Server | None" = None
        self.foresees = False
        self.question: "Beside | None" = None
        self.promised: "set[str]" = set()
        self.notes: "tuple[str, ...]" = ()
        self.done: set[str] = set()
        self.let_in = False
        self.failure = ""
        self.ready_sent = False

    def meanwhile(self, deadline: "Deadline", no_way: bool) -> bool:
        """Use a pause: look `beside`, and get or keep a lease.

        Returns whether that took time (agent.azure.retry).
        """
        self.beside()
        if self.dhcp is None or self.rehearsing or not self.root.is_live:
            return False
        if self.client is None:
            if not no_way:
                return False
            self._no_way_since = self._no_way_since or monotonic()
            if monotonic() - self._no_way_since < self.dhcp:
                return False
            from agent.machine.dhcp import PATIENCE, Client

            patience = PATIENCE if self.dhcp else 0.0
            self.client = Client(self.root, self.log, patience=patience)
        took_time = self.client.turn(deadline, no_way=no_way)
        if self.client.lease and self.client.lease.wireserver:
            self._take_wireserver(self.client.lease.wireserver)
        return took_time

    def _take_wireserver(self, packed: bytes) -> None:
        """Use the wireserver that option 245 of a lease names, unless somebody has chosen one."""
        from agent.azure import http, wireserver

        if self.wireserver == http.endpoint(wireserver.DEFAULT_URL):
            named = http.endpoint(f"http://{'.'.join(map(str, packed))}")
            if named != self.wireserver:
                self.log.info(f"the DHCP server names {named.address} as the wireserver")
                self.wireserver = named
