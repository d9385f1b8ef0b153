"""One port for everything that the unmodified client asks (docs/connecting.md).

It sends the runtime's requests as to a proxy (absolute-form targets, which httptools takes apart),
and asks IAM through `CONNECT iam.cloud.ibm.com:443`. Such a tunnel ends here: TLS with a throw-away
certificate, and inside it the same application. Tunnels to anywhere else are refused. The port
itself may speak TLS too, with a certificate of the operator's; then tunnels are TLS inside TLS.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import uvicorn
from prometheus_client import Counter
from starlette.types import ASGIApp

from queuebit.api.accepting import Acceptor, connections_within, raise_descriptor_limit
from queuebit.api.certificates import HOSTS
from queuebit.api.connection_slots import SPARE, Slot, Slots
from queuebit.api.connections import Connection
from queuebit.api.malformed import Malformed
from queuebit.api.request_memory import RequestMemory
from queuebit.errors import ConfigError
from queuebit.limiting import LimitingConfig

log = logging.getLogger(__name__)

_METHOD = b"CONNECT "
_HEAD_MAX = 8_192  # bytes of a CONNECT request
_HANDSHAKE_TIMEOUT_S = 10
_GRACE_S = 1  # how long a stop waits for answers under way
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_WHY_REFUSED = b"Queuebit opens tunnels to hosts of IBM Cloud only.\n"
_REFUSED = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_WHY_REFUSED), _WHY_REFUSED)
)


class OnePort(Connection):
    """HTTP, or a tunnel, whichever the connection begins with; below TLS if the port speaks it.

    Each layer of TLS ends in a protocol of its own: the port's, then the tunnel's. All of them are
    one connection, in one slot.
    """

    tls: ClassVar[ssl.SSLContext | None]
    """What the port speaks; None: plain HTTP."""
    tunnels: ClassVar[ssl.SSLContext]

    def begin(self, slot: Slot, *, after: "OnePort | None" = None, is_tunnel: bool = False) -> None:
        """Belong to a slot; `after` is the protocol below the TLS that this one is inside of."""
        super().begin(slot)
        self._to_speak = self.tls if after is None else None
        # What has come of the first request; None: it is HTTP, and passed on.
        self._head: bytes | None = None if is_tunnel else b""
        self._early = b""  # what came before the transport did
        self._is_lost = False
        self._has_left = False  # another protocol has its connection

    def connection_made(self, transport: Any) -> None:
        """Expect a request, or TLS first."""
        super().connection_made(transport)
        if self.slot.transport is None:
            self.slot.transport = transport
        if self._to_speak is not None:
            self._upgrade(self._to_speak, b"", is_tunnel=False)

    def enter(self, transport: asyncio.Transport) -> None:
        """Work on `transport`, beginning with what has come already."""
        if self._is_lost:
            self.release()
            return
        self.connection_made(transport)
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back the slot, unless another protocol has it."""
        self._is_lost = True
        if self._has_left:
            return
        if self.transport is None:
            self.release()
        else:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes, then pass on what comes."""
        if self.transport is None or self._has_left:
            self._early += data
            return
        if self._head is None:
            super().data_received(data)
            return
        self._head += data
        if not _METHOD.startswith(self._head[: len(_METHOD)]):
            head, self._head = self._head, None
            super().data_received(head)
            return
        request, blank, early = self._head.partition(b"\r\n\r\n")
        if blank:
            self._connect(request, early)
        elif len(self._head) > _HEAD_MAX:
            self.malformed.count(self.slot.address, "tunnel")
            self.transport.close()

    def _connect(self, request: bytes, early: bytes) -> None:
        target = request.split(b" ", 2)[1].decode("latin-1").lower()
        host, _, port = target.partition(":")
        if host not in HOSTS or port != "443":
            self.malformed.count(self.slot.address, "tunnel")
            self.transport.write(_REFUSED)
            self.transport.close()
            return
        self.transport.write(_ESTABLISHED)
        self._upgrade(self.tunnels, early, is_tunnel=True)

    def _upgrade(self, context: ssl.SSLContext, early: bytes, *, is_tunnel: bool) -> None:
        """Hand the connection over to TLS and to a fresh protocol inside it."""
        self._has_left = True
        self.transport.pause_reading()  # what comes next is for TLS
        self.connections.discard(self)
        self.slot.watch = None  # the deadline stands until there is a request
        inside = type(self)(self.config, self.server_state, self.app_state)
        inside.begin(self.slot, after=self, is_tunnel=is_tunnel)
        task = self.loop.create_task(self._shake_hands(context, inside, early))
        self.tasks.add(task)  # the server waits for these when it stops
        task.add_done_callback(self.tasks.discard)

    async def _shake_hands(self, context: ssl.SSLContext, inside: "OnePort", early: bytes) -> None:
        upgrade = asyncio.ensure_future(
            self.loop.start_tls(
                self.transport,
                inside,
                context,
                server_side=True,
                ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S,
            )
        )
        try:
            await asyncio.sleep(0)  # start_tls has put its own protocol in our place
            early += self._early
            if early:  # the client did not wait for our 200, or for us
                _feed(self.transport.get_protocol(), early)
            transport = await upgrade
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            self.malformed.count(self.slot.address, "tls")
            log.debug("no TLS", extra={"fault": type(error).__name__})
            inside.release()
            self.transport.abort()
            return
        if transport is None:  # it was closed meanwhile
            inside.release()
        else:
            inside.enter(transport)


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it: it may run in a thread, or in a test."""

    def __init__(self, config: uvicorn.Config, slots: Slots) -> None:
        super().__init__(config)
        self.slots = slots
        self._sweeping: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections of `sockets`, each of which is counted and timed from there on.

        In place of uvicorn's, which leaves accepting, and TLS, to the event loop.
        """
        assert sockets is not None
        await self.lifespan.startup()
        self.servers = [Acceptor(one, self.slots, self._protocol) for one in sockets]  # type: ignore[misc] # as far as uvicorn calls them
        self._sweeping = asyncio.create_task(self.slots.sweep())
        self.started = True

    def _protocol(self, slot: Slot) -> OnePort:
        kind = self.config.http_protocol_class
        protocol: OnePort = kind(self.config, self.server_state, self.lifespan.state)  # type: ignore[call-arg,assignment]
        protocol.begin(slot)
        return protocol

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was asked; drop what takes too long, before uvicorn answers it with a 500."""
        dropping = asyncio.get_running_loop().call_later(_GRACE_S * 0.9, self.drop)
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()

    def drop(self) -> None:
        """Close every connection without an answer: a client never repeats a POST then."""
        self.slots.drop_all()

    def end(self) -> None:
        """Stop at once."""
        for listening in getattr(self, "servers", []):  # there are none before it started
            listening.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self.drop()
        for task in list(self.server_state.tasks):
            task.cancel()


def make_server(  # noqa: PLR0913 - each from another place
    app: ASGIApp,
    tunnels: ssl.SSLContext,
    *,
    tls: ssl.SSLContext | None = None,
    trusted_proxies: Sequence[str] = (),
    limits: LimitingConfig | None = None,
    malformed: Counter | None = None,
) -> Server:
    """Build the server of `app`: its tunnels speak `tunnels`, and its port `tls` if there is one.

    Of `trusted_proxies` it believes X-Forwarded-Proto and -For: links then begin as the client's.
    `malformed` counts what comes and is no request, by reason.
    """
    limits = limits or LimitingConfig()
    slots = _slots(limits)
    parts = {
        "tls": tls,
        "tunnels": tunnels,
        "slots": slots,
        "memory": RequestMemory(limits.request_memory_mb * 2**20),
        "malformed": Malformed(malformed or Counter("malformed", "", ["reason"], registry=None)),
    }
    config = uvicorn.Config(
        app,
        http=type("OnePort", (OnePort,), parts),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=list(trusted_proxies),
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    return Server(config, slots)


def _slots(limits: LimitingConfig) -> Slots:
    """As many as are set, and as open files allow."""
    allowed = connections_within(raise_descriptor_limit())
    most = min(limits.connections_max, allowed)
    if most < limits.connections_max:
        told = {"connections": most, "set": limits.connections_max}
        log.warning("open files allow less connections than are set", extra=told)
    return Slots(most, limits.address_connections_max, min(SPARE, most // 4 + 1))


async def serve(server: Server, listener: socket.socket) -> None:
    """Answer until `server.should_exit`; if cancelled, drop every connection at once."""
    try:
        await server.serve(sockets=[listener])
    finally:
        server.end()


def listen(host: str, port: int) -> socket.socket:
    """Open the port, or raise ConfigError; port 0 is any free one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        listener = socket.create_server(address, family=family, backlog=2_048)
    except OSError as error:
        raise ConfigError(f"host {host}, port {port}: {error.strerror}") from error
    # Answers go out in two writes. Without this the second waits for the client's delayed
    # acknowledgement, 40 ms; accepted sockets inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _feed(protocol: Any, data: bytes) -> None:
    """Give `data` to a buffered protocol, as if it had just come."""
    while data:
        buffer = protocol.get_buffer(len(data))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]
