"""Serves the platform: one listener per service, one thread per connection, scripted faults.

Uses plain sockets, because half of the job is to answer as no decent HTTP server would.
"""

import contextlib
import dataclasses
import http.client
import io
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

from scripts.simulator import platform
from scripts.simulator.scenario import VM, Answer, Scenario

_MAX_REQUEST = 1 << 20  # bytes


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A request and what became of it.

    `at` is seconds since the simulator started, `received` the monotonic clock when the request was
    complete, `sent` the answer in a few words.
    """

    at: float
    received: float
    service: str
    request: platform.Request
    sent: str
    status: int
    problems: tuple[str, ...]
    report: str
    description: str


class Simulator:
    """A running platform; a context manager.

    It listens at the addresses of `wireserver` and `imds`, and at that of the `host_plugin` if
    there is one: agents that run extensions ask it.

    `exchanges` grows while it runs. `on_exchange` is called with each exchange, in the thread of
    its connection.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        wireserver: tuple[str, int] = ("127.0.0.1", 0),
        imds: tuple[str, int] = ("127.0.0.1", 0),
        host_plugin: tuple[str, int] | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.exchanges: list[Exchange] = []
        self._on_exchange = on_exchange
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._answering = 0
        self._answered = threading.Condition()
        self._scripts = {
            endpoint: _one_by_one(answers) for endpoint, answers in scenario.answers.items()
        }
        self._listeners = {"wireserver": _listen(wireserver), "imds": _listen(imds)}
        if host_plugin:
            self._listeners["host_plugin"] = _listen(host_plugin)
        self._connections: set[socket.socket] = set()
        self._goal_states = 0
        self._vm = scenario.vm

    def url(self, service: str) -> str:
        """Return the URL of "wireserver" or "imds"."""
        address, port = self._listeners[service].getsockname()[:2]
        return f"http://{address}" + (f":{port}" if port != 80 else "")

    @property
    def reports(self) -> list[str]:
        """Return the accepted health states in order: "Ready", "Provisioning",
        "ProvisioningFailed".
        """
        return [exchange.report for exchange in self.exchanges if exchange.report]

    @property
    def problems(self) -> list[str]:
        """Return everything that was wrong with any request."""
        return [problem for exchange in self.exchanges for problem in exchange.problems]

    def __enter__(self) -> "Simulator":
        for service, listener in self._listeners.items():
            threading.Thread(target=self._accept, args=(service, listener), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # A caller may stop as soon as a report arrives; let the answer to it go out first.
        with self._answered:
            self._answered.wait_for(lambda: self._answering == 0, timeout=1)
        with self._lock:
            for connection in (*self._listeners.values(), *self._connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for listener in self._listeners.values():
            listener.close()

    def _accept(self, service: str, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(service, connection), daemon=True).start()

    def _serve(self, service: str, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            # Otherwise every small answer waits 40 ms for the peer's delayed acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as stream:
                while (request := _read(stream, connection)) is not None:
                    with self._counted():
                        keep = self._answer(service, request, connection)
                    if not keep:
                        break
        with self._lock:
            self._connections.discard(connection)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._answered:
            self._answering += 1
        try:
            yield
        finally:
            with self._answered:
                self._answering -= 1
                self._answered.notify_all()

    def _answer(self, service: str, request: platform.Request, connection: socket.socket) -> bool:
        """Answer a request; return True if the connection stays open."""
        received = time.monotonic()
        with self._lock:
            endpoint = platform.endpoint(service, request)
            scripted = next(self._scripts.get(endpoint, iter(())), Answer())
            if endpoint == "goalstate":
                self._goal_states += 1
                if 0 < self.scenario.vm.moves_after < self._goal_states:
                    self._vm = _moved(self.scenario.vm)
            vm = self._vm
        reply = platform.answer(service, request, vm)
        data, note = _response(scripted, reply, vm)
        arrives = not scripted.connection and not scripted.raw and scripted.truncate < 0
        status = (scripted.status or reply.status) if arrives else 0
        accepted = reply.report if 200 <= status < 300 and not reply.problems else ""
        exchange = Exchange(
            received - self._started,
            received,
            service,
            request,
            note or reply.note,
            status,
            tuple(reply.problems),
            accepted,
            reply.description,
        )
        self._record(exchange)
        keep = "close" not in request.headers.get("connection", "").lower() and not scripted.close
        return self._send(scripted, data, connection) and keep

    def _record(self, exchange: Exchange) -> None:
        with self._lock:
            self.exchanges.append(exchange)
            if self._on_exchange:
                self._on_exchange(exchange)

    def _send(self, scripted: Answer, data: bytes, connection: socket.socket) -> bool:
        """Send an answer as the scenario says; return True if it was sent completely."""
        if self._stopped.wait(scripted.delay):
            return False
        if scripted.connection == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if scripted.connection == "close":
            return False
        if scripted.connection == "hang":
            while not self._stopped.is_set() and connection.recv(65536):
                pass
            return False
        if scripted.truncate >= 0:
            connection.sendall(data[: scripted.truncate])
            return False
        if scripted.drip:
            for at in range(len(data)):
                connection.sendall(data[at : at + 1])
                if self._stopped.wait(scripted.drip):
                    return False
        else:
            connection.sendall(data)
        return not scripted.raw


def _one_by_one(answers: tuple[Answer, ...]) -> Iterator[Answer]:
    return itertools.chain.from_iterable(
        itertools.repeat(answer, answer.times) for answer in answers
    )


def _moved(vm: VM) -> VM:
    """Return the VM after service healing: another container, the next incarnation."""
    return dataclasses.replace(
        vm, container_id=vm.container_id[::-1], incarnation=str(int(vm.incarnation) + 1)
    )


def _listen(address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(64)
    return listener


def _read(stream: io.BufferedReader, connection: socket.socket) -> platform.Request | None:
    """Read the next request of a connection; return None at its end.

    What is not HTTP is passed on with the parts that were understood.
    """
    first = stream.readline(_MAX_REQUEST)
    if not first:
        return None
    words = first.decode("latin-1").split()
    headers: dict[str, str] = {}
    while (line := stream.readline(_MAX_REQUEST)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    length = headers.get("content-length", "0")
    body = stream.read(min(int(length), _MAX_REQUEST)) if length.isdigit() else b""
    method, target, version = [*words, "", "", ""][:3]
    return platform.Request(method, target, version, headers, body, connection.getpeername()[0])


def _response(scripted: Answer, reply: platform.Reply, vm: VM) -> tuple[bytes, str]:
    """Return the bytes of an answer and, if the scenario changed it, a note that says how."""
    if scripted == Answer():
        return _bytes(reply.status, "", {"Content-Type": reply.content_type}, reply.body, 0, ""), ""
    if scripted.raw:
        return scripted.raw.encode("latin-1"), f"raw bytes {scripted.raw[:40]!r}"
    body = reply.body
    if scripted.status and scripted.status != reply.status:
        body = b""
    if scripted.document:
        body = platform.document(scripted.document, vm)
    if scripted.body is not None:
        body = scripted.body.encode()
    if scripted.size:
        body = (body + b"x" * scripted.size)[: scripted.size]
    headers = {"Content-Type": reply.content_type, **scripted.headers}
    if scripted.header_size:
        headers["X-Long"] = "x" * scripted.header_size
    data = _bytes(
        scripted.status or reply.status,
        scripted.reason,
        headers,
        body,
        scripted.chunked,
        scripted.length,
    )
    changed = [
        f"{field.name} {getattr(scripted, field.name)!r}"
        for field in dataclasses.fields(scripted)
        if field.name != "times" and getattr(scripted, field.name) != getattr(Answer(), field.name)
    ]
    return data, "scenario: " + ", ".join(text[:60] for text in changed)


def _bytes(
    status: int, reason: str, headers: dict[str, str], body: bytes, chunked: int, length: str
) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {reason or http.client.responses.get(status, '')}",
        "Server: Microsoft-IIS/10.0",
    ]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if chunked:
        pieces = [body[at : at + chunked] for at in range(0, len(body), chunked)]
        lines.append("Transfer-Encoding: chunked")
        body = (
            b"".join(
                b"%x;part=%d\r\n%s\r\n" % (len(piece), number, piece)
                for number, piece in enumerate(pieces)
            )
            + b"0\r\nX-Trailer: yes\r\n\r\n"
        )
    elif length != "none":
        lines.append(f"Content-Length: {length or len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
