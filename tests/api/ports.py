"""A server on a port of its own, and what talks to it in bytes."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import trustme
import uvloop
from starlette.types import ASGIApp

from queuebit.api.certificates import tunnel_context
from queuebit.api.server import listen, make_server, serve
from queuebit.limiting import LimitingConfig

IAM = "iam.cloud.ibm.com"
NAME = "qpu.example.org"
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


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
def running(
    data: Path,
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    tls: ssl.SSLContext | None = None,
    trusted_proxies: tuple[str, ...] = (),
    app: ASGIApp = echo,
    **limits: int,
) -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    server = make_server(
        app,
        tunnel_context(data),
        tls=tls,
        trusted_proxies=trusted_proxies,
        limits=LimitingConfig(**limits),
    )

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


def written(authority: trustme.CA, folder: Path, *names: str, **how: datetime) -> tuple[Path, Path]:
    """Files of a certificate of `authority` for `names`, and of its key."""
    issued = authority.issue_cert(*(names or (NAME,)), **how)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "cert.pem", folder / "key.pem"


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
