"""The one port, over real sockets, on both event loops."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from queuebit.api import server as one_port
from queuebit.api.server import HOSTS, listen, make_server, serve, tunnel_context
from queuebit.errors import ConfigError

IAM = "iam.cloud.ibm.com"


async def echo(scope, receive, send):
    """Answer how one was asked: scheme, method, path, query, host, and the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    host = dict(scope["headers"]).get(b"host", b"-").decode()
    told = (
        f"{scope['scheme']} {scope['method']} {scope['path']}"
        f" {scope['query_string'].decode()} {host} {size}"
    ).encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@contextmanager
def running(data: Path, factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    server = make_server(echo, tunnel_context(data))

    def live() -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(server, listener))

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture(
    params=[asyncio.new_event_loop, uvloop.new_event_loop],
    ids=["asyncio", "uvloop"],
    scope="module",
)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("data"), request.param) as found:
        yield found


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def read_answer(connection: socket.socket | ssl.SSLSocket) -> tuple[int, str]:
    """Status and body of one answer."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        size = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        return status, stream.read(size).decode()


def ask(port: int, *parts: bytes) -> tuple[int, str]:
    with connect(port) as connection:
        for part in parts:
            connection.sendall(part)
        return read_answer(connection)


def tunnel(port: int, target: str = f"{IAM}:443", version: str = "1.1") -> socket.socket:
    connection = connect(port)
    connection.sendall(f"CONNECT {target} HTTP/{version}\r\nHost: {target}\r\n\r\n".encode())
    established = b""
    while not established.endswith(b"\r\n\r\n"):
        established += connection.recv(1)
    assert established.startswith(b"HTTP/1.1 200 ")
    return connection


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


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


def test_a_client_that_trusts_the_certificate_verifies_it(tmp_path: Path):
    with running(tmp_path, uvloop.new_event_loop) as port:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT
        trusting.load_verify_locations(tmp_path / "tunnel.pem")
        for host in HOSTS:
            secure = trusting.wrap_socket(tunnel(port, f"{host}:443"), server_hostname=host)
            with secure:
                secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(secure) == (200, "https GET /  x 0")


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


@pytest.mark.parametrize("hello_first", [True, False])
def test_what_comes_early_is_not_lost(port: int, hello_first: bool):  # noqa: FBT001 - a case
    """The client may say hello before it sees our 200, and ask in its last handshake's packet."""
    client = EagerClient()
    head = f"CONNECT {IAM}:443 HTTP/1.1\r\n\r\n".encode()
    with connect(port) as connection:
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


def test_the_certificate_is_kept_and_private(tmp_path: Path):
    tunnel_context(tmp_path)
    first = (tmp_path / "tunnel.pem").read_bytes()
    tunnel_context(tmp_path)

    assert (tmp_path / "tunnel.pem").read_bytes() == first
    assert (tmp_path / "tunnel.pem").stat().st_mode & 0o777 == 0o600


def test_a_broken_certificate_is_named(tmp_path: Path):
    (tmp_path / "tunnel.pem").write_text("nonsense")

    with pytest.raises(ConfigError, match=r"tunnel.pem is no certificate"):
        tunnel_context(tmp_path)


def test_a_port_in_use_is_named():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"host 127.0.0.1, port {port}: .*in use"):
            listen("127.0.0.1", port)


def test_connections_outlive_the_pauses_of_a_client():
    assert one_port.KEEP_ALIVE_S >= 75


def test_answers_do_not_wait_for_the_clients_acknowledgement():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
