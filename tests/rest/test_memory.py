"""What requests hold in memory is bounded, however they come, and nothing of them stays."""

import contextlib
import gc
import json
import os
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import SAMPLER
from tests.rest.conftest import Small

MIB = 2**20


def rss() -> int:
    """Bytes of this process, in which the service runs."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connect(small: Small) -> socket.socket:
    return socket.create_connection(("127.0.0.1", httpx.URL(small.url).port or 0), timeout=20)


def request(small: Small, method: str, path: str, body: bytes = b"", **more: str) -> bytes:
    fields = {**small.headers(), "Host": "x", "Content-Length": str(len(body)), **more}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} /api/v1{path} HTTP/1.1\r\n{head}\r\n".encode() + body


def large(size: int) -> bytes:
    return json.dumps(SAMPLER | {"params": {"version": 2, "pubs": ["x" * size]}}).encode()


@pytest.fixture
def roomy(start):
    with start(max_body_mb=64) as small:
        yield small


def test_bodies_are_not_in_memory(roomy: Small):
    """Twelve bodies of 40 MiB each but for the last byte; then they are taken, one by one."""
    body = large(40 * MIB)
    asked = request(roomy, "POST", "/jobs", body)
    before = rss()
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(12):
            connection = stack.enter_context(connect(roomy))
            connection.sendall(asked[:-1])
            held.append(connection)
        grown = rss() - before
        del asked
        held[0].sendall(body[-1:])
        assert b" 200 OK" in held[0].recv(4_096)

    assert grown < 40 * MIB
    wait_until(lambda: not list((roomy.config.data / "payloads" / ".work").glob("*/part.*")))


def test_results_and_inputs_are_sent_in_parts(roomy: Small):
    """To twenty who do not read them."""
    with httpx.Client(base_url=f"{roomy.url}/api/v1", headers=roomy.headers()) as http:
        job_id = http.post("/jobs", content=large(30 * MIB), timeout=60).json()["id"]
        before = rss()
        with contextlib.ExitStack() as stack:
            for path in (f"/jobs/{job_id}", "/jobs?exclude_params=false") * 10:
                connection = stack.enter_context(connect(roomy))
                connection.sendall(request(roomy, "GET", path))
                assert connection.recv(12) == b"HTTP/1.1 200"
            assert rss() - before < 60 * MIB
        read = http.get(f"/jobs/{job_id}", timeout=60)

    assert len(read.json()["params"]["pubs"][0]) == 30 * MIB


def test_a_page_with_inputs_ends_at_so_many_bytes(roomy: Small):
    with httpx.Client(base_url=f"{roomy.url}/api/v1", headers=roomy.headers()) as http:
        sent = [http.post("/jobs", content=large(3 * MIB)).json()["id"] for _ in range(5)]
        found: list[str] = []
        pages = 0
        while True:  # as the client does
            query = f"/jobs?exclude_params=false&limit=20&offset={len(found)}"
            page = http.get(query, timeout=60).json()
            found += [one["id"] for one in page["jobs"]]
            pages += 1
            assert page["jobs"]
            if len(found) == page["count"]:
                break

    assert set(sent) <= set(found)
    assert pages >= 3


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Qx-Client-Application"])
def test_nothing_of_a_request_stays(roomy: Small, header: str):
    body = large(MIB)
    with httpx.Client(base_url=f"{roomy.url}/api/v1", headers=roomy.headers()) as http:

        def ask(times: int) -> None:
            for _ in range(times):
                value = f"qiskit_ibm_runtime-0.51.0.{os.urandom(4).hex()}"
                pad = "" if header == "Idempotency-Key" else " " + "x" * 50_000
                http.get("/backends/fake_manila/status", headers={header: value + pad})
                http.post("/jobs", content=body, headers={header: value}).raise_for_status()

        ask(20)
        before = rss()
        ask(60)

    assert rss() - before < 20 * MIB


def test_who_holds_too_much_is_told_so_and_nobody_else(start):
    """Bodies of a route that takes them whole: a stranger's, and one instance's."""
    settings = {"request_memory_mb": 16, "address_connections_max": 0}
    with start(**settings) as small, contextlib.ExitStack() as stack:
        statuses = []
        asked = request(small, "POST", "/sessions", b"x" * (MIB - 1))
        for _ in range(8):
            connection = stack.enter_context(connect(small))
            connection.sendall(asked[:-1])
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                statuses.append(connection.recv(12))
        other = httpx.get(
            f"{small.url}/api/v1/jobs", headers=small.headers(instance="other"), timeout=10
        )

    assert b"HTTP/1.1 503" in statuses
    assert other.status_code == 200


def test_memory_is_given_back(start):
    with start(request_memory_mb=16) as small:
        for _ in range(50):
            with connect(small) as connection:
                connection.sendall(request(small, "POST", "/sessions", b"x" * MIB)[:-1])
        with httpx.Client(base_url=f"{small.url}/api/v1", headers=small.headers()) as http:
            wait_until(lambda: http.post("/sessions", content=b"x" * (MIB - 1)).status_code == 400)


def wait_until(holds) -> None:
    done = threading.Event()
    for _ in range(400):
        if holds():
            done.set()
            break
        time.sleep(0.05)
    assert done.is_set()
