"""Connections are counted and timed from accept on, and nobody can take them from others."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.api.ports import (
    NAME,
    WHOLE,
    ask,
    connect,
    echo,
    read_answer,
    running,
    trusting,
    tunnel,
    unverified,
    written,
)

from queuebit.api import accepting, connection_slots, connections
from queuebit.api.certificates import Certificate
from queuebit.api.connection_slots import Slots, network_of
from queuebit.api.request_memory import RequestMemory

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """All deadlines are short."""
    monkeypatch.setattr(connection_slots, "SWEEP_S", 0.05)
    monkeypatch.setattr(connection_slots, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(connections, "CHECK_S", 0.3)


def is_closed(connection: socket.socket) -> bool:
    """Wait until it is closed by the other side; what comes before that is dropped."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
        while connection.recv(65_536):
            pass
    return True


def drip(connection: socket.socket, sent: bytes) -> bool:
    """Send again and again until it is closed by the other side."""
    connection.settimeout(0.05)
    for _ in range(400):
        with contextlib.suppress(TimeoutError):
            try:
                connection.sendall(sent)
                if not connection.recv(65_536):
                    return True
            except OSError as error:
                if not isinstance(error, TimeoutError):
                    return True
    return False


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n",
        b"GET / HT",
        b"CONNECT iam",
        WHOLE,
        WHOLE + b"\r\n\r\n",
        WHOLE + b"GET /half",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\nabc",
        CHUNKED,
        CHUNKED + b"5;ext=",
        CHUNKED + b"0\r\nTrailer: ",
    ],
)
@pytest.mark.parametrize("half_closed", [False, True])
def test_who_goes_silent_is_dropped(
    tmp_path: Path, hurried: None, sent: bytes, *, half_closed: bool
):
    with running(tmp_path) as port, connect(port) as connection:
        connection.sendall(sent)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)

        assert is_closed(connection)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b"\r\n"),
        (WHOLE, b"\r\n"),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (b"GET /", b"a"),
        (CHUNKED, b"1\r\na\r\n"),
        (CHUNKED + b"0\r\n", b"A: b\r\n"),
        (CHUNKED + b"1;", b"e"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n", b"a"),
    ],
)
def test_bytes_alone_do_not_move_a_deadline(
    tmp_path: Path, hurried: None, first: bytes, again: bytes
):
    with running(tmp_path) as port, connect(port) as connection:
        connection.sendall(first)

        assert drip(connection, again)


def test_who_does_not_take_the_last_answer_is_dropped(tmp_path: Path, hurried: None):
    """Also where the answer fits into buffers, and where its connection is closed behind it."""
    left = threading.Semaphore(0)

    async def large(scope, receive, send):
        size = 3_000_000
        headers = [(b"content-length", str(size).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size})
        while (await receive())["type"] != "http.disconnect":
            pass
        left.release()

    with running(tmp_path, app=large) as port, connect(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(WHOLE)

        assert left.acquire(timeout=20)


@pytest.mark.parametrize(
    "sent",
    [
        (CHUNKED + b"0\r\n", b"a: " + b"x" * 60_000 + b"\r\n"),
        (CHUNKED + b"0\r\na: ", b"x" * 60_000),
        (CHUNKED, b"1;" + b"x" * 50_000 + b"\r\na\r\n"),
        (CHUNKED + b"1;", b"x" * 60_000),
        (CHUNKED, b"1\r\na\r\n" * 10_000),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"".join(b"a%d: b\r\n" % i for i in range(9_000))),
        (b"GET / HTTP/1.1\r\n", b"".join(b"a%d: b\r\n" % i for i in range(300))),
        (b"GET /", b"x" * 60_000),
    ],
    ids=["trailers", "trailer", "extensions", "extension", "crumbs", "small", "headers", "target"],
)
def test_what_is_no_body_has_a_size(tmp_path: Path, sent: tuple[bytes, bytes]):
    """A request that never ends is not kept: it is refused after a few hundred kilobytes."""
    size = 0
    with running(tmp_path) as port, connect(port) as connection:
        connection.sendall(sent[0])
        with contextlib.suppress(OSError):
            while size < 2**25:
                connection.sendall(sent[1])
                size += len(sent[1])

    assert size < 2**25


def test_a_body_in_large_chunks_is_taken(tmp_path: Path):
    with running(tmp_path) as port:
        chunks = b"".join(b"%x;n=1\r\n%s\r\n" % (100, b"y" * 100) for _ in range(10_000))

        assert ask(port, CHUNKED, chunks, b"0\r\nA: b\r\n\r\n") == (200, "http POST /  x 1000000")


def test_a_request_for_another_protocol_is_answered_in_this_one(tmp_path: Path):
    asked = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with running(tmp_path) as port, connect(port) as connection:
        for _ in range(2):
            connection.sendall(asked)
            assert read_answer(connection) == (200, "http GET /  x 0")


@pytest.mark.parametrize("limits", [{"connections_max": 20}, {"address_connections_max": 20}])
def test_silent_connections_cost_nobody_else_anything(tmp_path: Path, limits: dict[str, int]):
    with running(tmp_path, **limits) as port, contextlib.ExitStack() as stack:
        for _ in range(3):
            for _ in range(50):
                stack.enter_context(connect(port))
            assert ask(port, WHOLE)[0] == 200


def test_who_has_a_request_under_way_keeps_the_connection(tmp_path: Path):
    """So what comes then, without anybody to make room, is told that it is too much."""
    going_on = threading.Event()
    asked = threading.Semaphore(0)

    async def slow(scope, receive, send):
        asked.release()
        await asyncio.to_thread(going_on.wait, 20)
        await echo(scope, receive, send)

    with running(tmp_path, app=slow, connections_max=2) as port, contextlib.ExitStack() as stack:
        own = [stack.enter_context(connect(port)) for _ in range(2)]
        for connection in own:
            connection.sendall(WHOLE)
            assert asked.acquire(timeout=10)
        one_more = stack.enter_context(connect(port))
        one_more.sendall(WHOLE)
        told = one_more.recv(4_096)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in told.lower()
        going_on.set()

        assert [read_answer(connection)[0] for connection in own] == [200, 200]


@pytest.fixture(params=["TLS", "tunnel", "tunnel in TLS"])
def unshaken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, object]]:
    """A port, and how to connect to it without ever beginning the (last) handshake."""
    authority = trustme.CA()
    tls = Certificate(*written(authority, tmp_path)).context if "TLS" in request.param else None

    def secure(port: int) -> socket.socket:
        return trusting(authority).wrap_socket(connect(port), server_hostname=NAME)

    def in_tls(port: int) -> socket.socket:
        connection = secure(port)
        connection.sendall(b"CONNECT iam.cloud.ibm.com:443 HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        return connection

    begin = {"TLS": connect, "tunnel": tunnel, "tunnel in TLS": in_tls}[request.param]
    with running(tmp_path, tls=tls, connections_max=20) as port:

        def is_served() -> bool:
            with secure(port) if tls else connect(port) as connection:
                connection.sendall(WHOLE)
                return read_answer(connection)[0] == 200

        yield port, (begin, is_served)


def test_connections_without_a_handshake_are_counted(unshaken):
    port, (begin, is_served) = unshaken
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(begin(port))

        assert is_served()


def test_connections_without_a_handshake_are_dropped(hurried: None, unshaken):
    port, (begin, is_served) = unshaken
    with begin(port) as connection:
        assert is_closed(connection)

    assert is_served()


def test_a_tunnel_has_a_deadline_of_its_own(tmp_path: Path, hurried: None):
    with (
        running(tmp_path) as port,
        unverified().wrap_socket(tunnel(port)) as connection,
    ):
        connection.sendall(b"GET / HT")

        assert is_closed(connection)


def test_users_go_after_strangers_and_those_with_most_connections_first():
    slots = Slots(20, 0)
    dropped = []

    def enter(host: str, owner: str | None) -> object:
        slot = slots.admit(host)
        assert slot is not None
        slot.drop = lambda: dropped.append(owner)
        if owner is not None:
            slots.identify(slot, owner)
            slots.busy(slot)
            slots.idle(slot)
        return slot

    for _ in range(12):
        enter("10.0.0.1", "greedy")
    for _ in range(5):
        enter("10.0.0.1", "modest")
    for _ in range(3):
        enter("10.0.0.2", None)
    for _ in range(5):
        enter("10.0.0.3", "new")

    assert dropped == [None, None, None, "greedy", "greedy"]
    assert slots.admit("10.0.0.4").surplus  # ten of greedy are left, which nobody takes


def test_one_machine_is_one_address():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1:2")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:10.1.2.3") == network_of("10.1.2.3")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")


def test_connections_leave_descriptors_to_others():
    assert accepting.connections_within(1_024) == 384
    assert accepting.connections_within(256) == 64
    assert accepting.connections_within(20_000) > 9_000


def test_memory_is_shared():
    memory = RequestMemory(100)

    assert [memory.take("a", 20), memory.take("a", 5), memory.take("a", 1)] == [True, True, False]
    assert [memory.take(one, 25) for one in "bcde"] == [True, True, True, False]
    memory.give("a", 25)
    assert memory.take("e", 25)
    assert memory.total == 100


OUT_OF_DESCRIPTORS = """
import asyncio, os, resource, socket, sys
import uvloop
sys.path.insert(0, ".")
from pathlib import Path
from tests.api.ports import echo, make_server, serve, listen, tunnel_context
from queuebit.api import accepting, server as one_port
from queuebit.limiting import LimitingConfig

one_port.connections_within = lambda descriptors: 10_000  # as if nothing were kept back
accepting.RESERVE = 0
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
listener = listen("127.0.0.1", 0)
server = make_server(echo, tunnel_context(Path(sys.argv[1])), limits=LimitingConfig(
    connections_max=10_000, address_connections_max=0))
print(listener.getsockname()[1], flush=True)
loop = uvloop.new_event_loop() if sys.argv[2] == "uvloop" else asyncio.new_event_loop()
loop.run_until_complete(serve(server, listener))
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_lack_of_descriptors_only_pauses_accepting(tmp_path: Path, loop: str):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 400 or hard > 400
    command = [sys.executable, "-c", OUT_OF_DESCRIPTORS, str(tmp_path), loop]
    root = Path(__file__).parents[2]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process,
        contextlib.ExitStack() as stack,
    ):
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            for _ in range(150):
                stack.enter_context(connect(port))
            assert ask(port, WHOLE)[0] == 200
            before = sum(os.times()[2:4])
            used = _cpu_s(process.pid)
            stack.close()
            assert ask(port, WHOLE)[0] == 200
            assert process.poll() is None
            assert _cpu_s(process.pid) - used < 1 + sum(os.times()[2:4]) - before
        finally:
            process.kill()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
