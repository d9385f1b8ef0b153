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
from starlette.types import ASGIApp

from queuebit.api.certificates import HOSTS
from queuebit.api.connections import Connection, Counts
from queuebit.errors import ConfigError
from queuebit.limiting import LimitingConfig

log = logging.getLogger(__name__)

# A connection that we close while the client sends its next request costs it an error, as it never
# repeats a POST then; uvicorn's default is 5 s (docs/connecting.md).
KEEP_ALIVE_S = 120
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
    """HTTP, or a tunnel, whichever the connection begins with."""

    tls: ClassVar[ssl.SSLContext]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: bytes | None = b""  # what has come; None: it is HTTP, and passed on

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes, then pass on what comes."""
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
            self.transport.close()

    def _connect(self, request: bytes, early: bytes) -> None:
        target = request.split(b" ", 2)[1].decode("latin-1").lower()
        host, _, port = target.partition(":")
        if host not in HOSTS or port != "443":
            self.transport.write(_REFUSED)
            self.transport.close()
            return
        self.relax()
        self.transport.pause_reading()  # what comes next is for TLS
        self.transport.write(_ESTABLISHED)
        self.connections.discard(self)
        task = self.loop.create_task(self._upgrade(early))
        self.tasks.add(task)  # the server waits for these when it stops
        task.add_done_callback(self.tasks.discard)

    async def _upgrade(self, early: bytes) -> None:
        """Hand the connection over to TLS and to a fresh protocol inside it."""
        inside = _Inside(self.config, self.server_state, self.app_state)
        inside.counts = self.counts
        self.hand_over(inside)
        upgrade = asyncio.ensure_future(
            self.loop.start_tls(
                self.transport,
                inside,
                self.tls,
                server_side=True,
                ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S,
            )
        )
        try:
            if early:  # the client did not wait for our 200
                await asyncio.sleep(0)  # start_tls has put its own protocol in our place
                _feed(self.transport.get_protocol(), early)
            transport = await upgrade
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.info("tunnel failed", extra={"fault": str(error)})
            inside.release()
            self.transport.close()
            return
        assert transport is not None
        inside.begin(transport)


class _Inside(Connection):
    """HTTP in a tunnel, whose first bytes, or whose end, may come before its transport does."""

    _early = b""
    _lost = False

    def begin(self, transport: asyncio.Transport) -> None:
        """Work on `transport`, beginning with what has come already."""
        if self._lost:
            return
        self.connection_made(transport)
        if self._early:
            super().data_received(self._early)

    def data_received(self, data: bytes) -> None:
        if self.transport is None:
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is None:
            self._lost = True
            self.release()
        else:
            super().connection_lost(exc)


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it: it may run in a thread, or in a test."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was asked; drop what takes too long, before uvicorn answers it with a 500."""
        dropping = asyncio.get_running_loop().call_later(_GRACE_S * 0.9, self.drop)
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()

    def drop(self) -> None:
        """Close every connection without an answer: a client never repeats a POST then."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def make_server(
    app: ASGIApp,
    tunnels: ssl.SSLContext,
    *,
    tls: ssl.SSLContext | None = None,
    trusted_proxies: Sequence[str] = (),
    limits: LimitingConfig | None = None,
) -> Server:
    """Build the server of `app`: its tunnels speak `tunnels`, and its port `tls` if there is one.

    Of `trusted_proxies` it believes X-Forwarded-Proto and -For: links then begin as the client's.
    """
    limits = limits or LimitingConfig()
    counts = Counts(limits.connections_max, limits.address_connections_max)
    protocol = type("OnePort", (OnePort,), {"tls": tunnels, "counts": counts})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=list(trusted_proxies),
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    config.ssl = tls
    return Server(config)


async def serve(server: Server, listener: socket.socket) -> None:
    """Answer until `server.should_exit`; if cancelled, drop every connection at once."""
    try:
        await server.serve(sockets=[listener])
    finally:
        for listening in getattr(server, "servers", []):  # uvicorn has none before it started
            listening.close()
        server.drop()
        for task in list(server.server_state.tasks):
            task.cancel()


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
