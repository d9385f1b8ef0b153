"""What is sent to do harm is refused or fails alone: others go on being answered meanwhile."""

import base64
import contextlib
import io
import json
import pickle
import select
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy

from queuebit.testing import Running

GENEROUS_S = 20  # nobody shall wait so long, on whatever machine this runs
BELL = (
    'OPENQASM 3.0; include "stdgates.inc"; bit[2] c; rz(pi/2) $0; sx $0; rz(pi/2) $0; cx $0, $1;'
    "c[0] = measure $0; c[1] = measure $1;"
)


class Marked:
    """Unpickled, it would leave a mark."""

    def __reduce__(self):
        return (open, ("/tmp/queuebit-was-here", "w"))


def encoded(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def circuit(data: bytes) -> dict:
    return {"__type__": "QuantumCircuit", "__value__": encoded(data)}


def real_qpy() -> bytes:
    made = QuantumCircuit(2, 2)
    made.cx(0, 1)
    made.measure([0, 1], [0, 1])
    out = io.BytesIO()
    qpy.dump(made, out)
    return out.getvalue()


def gigantic_headers() -> Iterator[bytes]:
    """A real circuit that says of itself that it is endless."""
    whole = real_qpy()
    for at in (10, 18, 20, 24, 28, 32, 40, 48):
        yield whole[:at] + b"\x7f\xff\xff\xff\xff\xff\xff\xff" + whole[at + 8 :]
    yield b"QISKIT" + struct.pack("!BBBBQ", 17, 2, 0, 0, 2**63 - 1)


def pickled_array() -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.array([Marked()], dtype=object), allow_pickle=True)
    return out.getvalue()


PICKLE = pickle.dumps(Marked())


def pubs(pub: object) -> str:
    return json.dumps({"version": 2, "support_qiskit": True, "pubs": [pub]})


def named(module: str, name: str) -> dict:
    return {
        "__type__": "object",
        "__module__": module,
        "__class__": name,
        "__value__": {"args": ["touch /tmp/queuebit-was-here"]},
    }


HOSTILE = {
    "zip bomb": pubs([circuit(bytes(2**30))]),
    "array bomb": pubs([BELL, {"__type__": "ndarray", "__value__": encoded(bytes(2**29))}]),
    "deep JSON": '{"version": 2, "pubs": ' + "[" * 500_000 + "]" * 500_000 + "}",
    "deep tags": '{"version": 2, "pubs": [' + '{"__type__": "tuple", "__value__": [' * 50_000
    + "]}" * 50_000 + "]}",
    "class by name": pubs([named("os", "system")]),
    "another class": pubs([BELL, named("subprocess", "Popen")]),
    "settings": pubs([{**named("builtins", "eval"), "__type__": "settings"}]),
    "pickle": pubs([BELL, {"__type__": "ndarray", "__value__": encoded(pickled_array())}]),
    "bare pickle": pubs([BELL, {"__type__": "ndarray", "__value__": encoded(PICKLE)}]),
    "many PUBs": json.dumps({"version": 2, "pubs": [["x"]] * 1_000_000}),
    "long text": json.dumps({"version": 2, "pubs": [["OPENQASM 3.0; " + "x" * 2**24]]}),
} | {f"header {n}": pubs([circuit(data)]) for n, data in enumerate(gigantic_headers())}  # fmt: skip


@dataclass
class Bystander:
    """Goes on asking, from a thread of its own."""

    url: str
    headers: dict[str, str]
    waits_s: list[float] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    _done: threading.Event = field(default_factory=threading.Event)

    def _live(self) -> None:
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=60) as http:
            while not (self._done.is_set() and self.waits_s):
                began = time.monotonic()
                self.statuses.add(http.get("/api/v1/jobs?limit=1").status_code)
                self.waits_s.append(time.monotonic() - began)
                time.sleep(0.01)

    @contextlib.contextmanager
    def asking(self, what: str) -> Iterator[None]:
        thread = threading.Thread(target=self._live)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join(90)
        waits = sorted(self.waits_s)
        at = [waits[int(part * (len(waits) - 1))] for part in (0.5, 0.99, 1)]
        told = ", ".join(f"{wait * 1_000:.1f}" for wait in at)
        print(f"{what}: {len(waits)} requests of others; median, p99, longest: {told} ms")
        assert self.statuses == {200}
        assert waits[-1] < GENEROUS_S


@pytest.fixture
def headers(queuebit_service: Running) -> dict[str, str]:
    key = {"Authorization": f"apikey {queuebit_service.key}"}
    found = httpx.post(f"{queuebit_service.url}/v3/resources/search", headers=key, json={})
    return key | {"Service-CRN": found.json()["items"][0]["crn"]}


@pytest.fixture
def bystander(queuebit_service: Running, headers: dict[str, str]) -> Bystander:
    return Bystander(queuebit_service.url, headers)


def submit(http: httpx.Client, params: str) -> httpx.Response:
    body = f'{{"program_id": "sampler", "backend": "fake_manila", "params": {params}}}'
    return http.post("/api/v1/jobs", content=body)


def test_hostile_parameters_are_refused_one_by_one(
    queuebit_service: Running, headers: dict[str, str], bystander: Bystander
):
    spent = {}
    client = httpx.Client(base_url=queuebit_service.url, headers=headers, timeout=120)
    with client as http, bystander.asking("hostile parameters"):
        before = http.get("/api/v1/jobs").json()["count"]
        for name, params in HOSTILE.items():
            began = time.monotonic()
            answer = submit(http, params)
            spent[name] = time.monotonic() - began
            assert answer.status_code in {400, 413}, (name, answer.text[:500])
            assert answer.json()["errors"][0]["message"], name
        assert http.get("/api/v1/jobs").json()["count"] == before
        # And the service does what it did before.
        job_id = submit(http, json.dumps({"version": 2, "pubs": [[BELL, None, 10]]})).json()["id"]
        while (job := http.get(f"/api/v1/jobs/{job_id}").json())["status"] in {"Queued", "Running"}:
            time.sleep(0.05)
        assert job["status"] == "Completed"
    print({name: round(seconds, 2) for name, seconds in spent.items()})


@pytest.mark.parametrize("announced", [True, False])
def test_a_gigabyte_is_refused_before_it_is_read(
    queuebit_service: Running,
    headers: dict[str, str],
    bystander: Bystander,
    announced: bool,  # noqa: FBT001
):
    url = httpx.URL(queuebit_service.url)
    size, piece = 2**30, bytes(2**20)
    length = f"Content-Length: {size}" if announced else "Transfer-Encoding: chunked"
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    chunk = piece if announced else b"%x\r\n%s\r\n" % (len(piece), piece)
    sent = 0
    with (
        bystander.asking("a gigabyte"),
        socket.create_connection((url.host, url.port or 0), timeout=60) as connection,
    ):
        connection.sendall(
            f"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\n{fields}{length}\r\n\r\n".encode()
        )
        while sent < size and not select.select([connection], [], [], 0)[0]:
            connection.sendall(chunk)
            sent += len(piece)
        status = int(connection.recv(4_096).split()[1])

    print(f"answered {status} after {sent / 2**20:.0f} MiB")
    assert status == 413
    assert sent < 2**28


def test_connections_that_trickle_keep_nobody_waiting(
    queuebit_service: Running, bystander: Bystander
):
    url = httpx.URL(queuebit_service.url)
    with bystander.asking("100 slow connections"), contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection((url.host, url.port or 0), timeout=30))
            for _ in range(100)
        ]
        for byte in b"GET /api/v1/jobs HT":
            for one in slow:
                one.sendall(bytes([byte]))
            time.sleep(0.05)
