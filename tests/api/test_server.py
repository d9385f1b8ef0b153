"""The one port, over real sockets, on both event loops."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import uvloop
from tests.api.ports import (
    IAM,
    NAME,
    WHOLE,
    ask,
    connect,
    read_answer,
    running,
    trusting,
    tunnel,
    unverified,
    written,
)

from queuebit.api import connection_slots, connections
from queuebit.api.certificates import HOSTS, Certificate
from queuebit.api.server import listen
from queuebit.errors import ConfigError


@pytest.fixture(
    params=[asyncio.new_event_loop, uvloop.new_event_loop],
    ids=["asyncio", "uvloop"],
    scope="module",
)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("data"), request.param) as found:
        yield found


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(
    params=[asyncio.new_event_loop, uvloop.new_event_loop],
    ids=["asyncio", "uvloop"],
    scope="module",
)
def tls_port(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA
) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("tls")
    tls = Certificate(*written(authority, folder)).context
    with running(folder, request.param, tls) as found:
        yield found


def test_an_ordinary_request(port: int):
    asked = b"GET /api/v1/backends?x=1 HTTP/1.1\r\nHost: here\r\n\r\n"

    assert ask(port, asked) == (200, "http GET /api/v1/backends x=1 here 0")


def test_a_request_as_to_a_proxy(port: int):
    asked = b"GET http://quantum.x/api/v1/backends?x=1 HTTP/1.1\r\nHost: quantum.x\r\n\r\n"

    assert ask(port, asked) == (200, "http GET /api/v1/backends x=1 quantum.x 0")


def test_a_request_that_comes_byte_by_byte(port: int):
    asked = b"COPY / HTTP/1.1\r\nHost: here\r\n\r\n"  # begins as CONNECT does
    parts = [asked[at : at + 1] for at in range(len(asked))]

    assert ask(port, *parts) == (200, "http COPY /  here 0")


def test_several_requests_on_one_connection(port: int):
    asked = b"POST /jobs HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc"
    with connect(port) as connection:
        for _ in range(3):
            connection.sendall(asked)
            assert read_answer(connection) == (200, "http POST /jobs  here 3")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("host", HOSTS)
def test_requests_through_a_tunnel(port: int, host: str, version: str):
    with unverified().wrap_socket(tunnel(port, f"{host}:443", version)) as secure:
        for size in (0, 300_000):
            head = f"POST /a HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n"
            secure.sendall(head.encode())
            secure.sendall(b"x" * size)
            assert read_answer(secure) == (200, f"https POST /a  {host} {size}")


class EagerClient:
    """TLS whose records are sent when the test says so."""

    def __init__(self) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = unverified().wrap_bio(self._in, self._out)

    def begin(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._out.read()

    def go_on(self, connection: socket.socket) -> bytes:
        """Shake hands until done, but keep back the last flight."""
        while True:
            self._in.write(connection.recv(65_536))
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            return self._out.read()

    def write(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self._out.read()

    def read(self, connection: socket.socket) -> bytes:
        while True:
            try:
                return self.tls.read(65_536)
            except ssl.SSLWantReadError:
                self._in.write(connection.recv(65_536))


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def opened(
    request: pytest.FixtureRequest, port: int, tls_port: int, authority: trustme.CA
) -> Iterator[socket.socket]:
    """A connection to the port, or to one that speaks TLS."""
    if not request.param:
        with connect(port) as connection:
            yield connection
        return
    with trusting(authority).wrap_socket(connect(tls_port), server_hostname=NAME) as secure:
        yield secure


@pytest.mark.parametrize("hello_first", [True, False])
def test_what_comes_early_is_not_lost(
    opened: socket.socket,
    hello_first: bool,  # noqa: FBT001 - a case
):
    """The client may say hello before it sees our 200, and ask in its last handshake's packet."""
    client = EagerClient()
    head = f"CONNECT {IAM}:443 HTTP/1.1\r\n\r\n".encode()
    with opened as connection:
        connection.sendall(head + client.begin() if hello_first else head)
        established = b""
        while not established.endswith(b"\r\n\r\n"):
            established += connection.recv(1)
        if not hello_first:
            connection.sendall(client.begin())
        last = client.go_on(connection)
        connection.sendall(last + client.write(b"GET /early HTTP/1.1\r\nHost: x\r\n\r\n"))

        answer = b""
        while not answer.endswith(b"https GET /early  x 0"):
            answer += client.read(connection)

        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "target",
    [
        "example.com:443",
        f"{IAM}:80",
        IAM,
        f"{IAM}.example.com:443",
        "127.0.0.1:22",
        "",
    ],
)
def test_tunnels_to_elsewhere_are_refused(port: int, target: str):
    with connect(port) as connection:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        status, text = read_answer(connection)

        assert (status, text) == (403, "Queuebit opens tunnels to hosts of IBM Cloud only.\n")
        assert connection.recv(1) == b""  # closed


def test_a_connect_request_without_end_is_dropped(port: int):
    with connect(port) as connection:
        connection.sendall(b"CONNECT " + b"x" * 10_000)

        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01nonsense", b""]
)
def test_a_tunnel_without_tls_is_dropped_and_the_port_goes_on(port: int, sent: bytes):
    with tunnel(port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1_024):
            pass  # perhaps a TLS alert, then the end

    assert ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200


def test_the_whole_port_speaks_tls(tls_port: int, authority: trustme.CA):
    asked = b"POST /jobs HTTP/1.1\r\nHost: here\r\nContent-Length: 300000\r\n\r\n"
    with trusting(authority).wrap_socket(connect(tls_port), server_hostname=NAME) as secure:
        for _ in range(2):
            secure.sendall(asked + b"x" * 300_000)
            assert read_answer(secure) == (200, "https POST /jobs  here 300000")


def test_nothing_is_answered_in_the_clear_where_the_port_speaks_tls(tls_port: int):
    with connect(tls_port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        answered = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(1_024):
                answered += more

    assert b"HTTP" not in answered  # a TLS alert, or nothing


@pytest.mark.parametrize("has_tls", [False, True])
def test_a_stop_drops_who_waits_without_an_answer(
    tmp_path: Path,
    authority: trustme.CA,
    has_tls: bool,  # noqa: FBT001 - a case
):
    """Told of a 5xx, a client would send once more what may have been stored."""
    asked = threading.Event()

    async def hang(scope, receive, send):
        asked.set()
        await asyncio.Event().wait()

    tls = Certificate(*written(authority, tmp_path)).context if has_tls else None
    with running(tmp_path, tls=tls, app=hang) as port:
        connection = connect(port)
        if has_tls:
            connection = trusting(authority).wrap_socket(connection, server_hostname=NAME)
        connection.sendall(WHOLE)
        assert asked.wait(10)

    with connection, contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("trusted", "scheme"), [(("127.0.0.0/8",), "https"), (("10.1.2.3",), "http"), ((), "http")]
)
def test_only_a_trusted_proxy_says_how_it_was_asked(tmp_path: Path, trusted, scheme: str):
    asked = b"GET / HTTP/1.1\r\nHost: qpu\r\nX-Forwarded-Proto: https\r\n\r\n"
    with running(tmp_path, trusted_proxies=trusted) as port:
        assert ask(port, asked) == (200, f"{scheme} GET /  qpu 0")


@pytest.mark.parametrize("sent", [b"", b"GE", b"GET / HTTP/1.1\r\nHost", WHOLE + b"GET /"])
def test_who_does_not_ask_is_dropped(tmp_path: Path, monkeypatch, sent: bytes):
    monkeypatch.setattr(connection_slots, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection_slots, "SWEEP_S", 0.05)
    with running(tmp_path) as port, connect(port) as connection:
        connection.sendall(sent)
        if sent.startswith(WHOLE):
            assert read_answer(connection)[0] == 200

        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_who_asks_slowly_but_surely_is_answered(tmp_path: Path, monkeypatch):
    """Only the head is hurried: a body takes as long as the client's network does."""
    monkeypatch.setattr(connection_slots, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection_slots, "SWEEP_S", 0.05)
    with running(tmp_path) as port, connect(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        for byte in (b"a", b"b"):
            time.sleep(0.4)
            connection.sendall(byte)

        assert read_answer(connection) == (200, "http POST /  x 2")


def test_a_port_in_use_is_named():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"host 127.0.0.1, port {port}: .*in use"):
            listen("127.0.0.1", port)


def test_connections_outlive_the_pauses_of_a_client():
    assert connections.KEEP_ALIVE_S >= 75


def test_answers_do_not_wait_for_the_clients_acknowledgement():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
