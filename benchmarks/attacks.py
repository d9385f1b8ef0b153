"""What an honest user waits for, alone and while somebody attacks the service.

    python benchmarks/attacks.py [NAME ...] --seconds 20

A service of its own. One tenant submits small jobs and polls them to their ends; the attacker is
another process, a stranger or a member of another instance. Printed are the honest user's times of
POST, of a list of jobs, and from POST to result, at p50 and p99, and the service's largest memory.
"""

import argparse
import base64
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

BELL = (
    'OPENQASM 3.0; include "stdgates.inc"; bit[2] c; rz(pi/2) $0; sx $0; rz(pi/2) $0; cx $0, $1;'
    "c[0] = measure $0; c[1] = measure $1;"
)
HONEST, ATTACKER = "honest-key-0123456789abcdef", "attacker-key-0123456789abcdef"
_under_way: Any = None  # of the attacker's process: an event
FINAL = {"Completed", "Failed", "Cancelled"}


@dataclass(frozen=True)
class Target:
    """The service, and who the attacker is there."""

    port: int
    crn: str

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def head(self, method: str, path: str, *more: str) -> bytes:
        lines = (
            f"{method} {path} HTTP/1.1",
            "Host: x",
            f"Authorization: apikey {ATTACKER}",
            f"Service-CRN: {self.crn}",
            "Content-Type: application/json",
            *more,
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def post(self, path: str, body: bytes) -> bytes:
        return self.head("POST", path, f"Content-Length: {len(body)}") + body


def job(circuit: Any, **more: Any) -> bytes:
    params = {"version": 2, "pubs": [[circuit, None, 10]]} | more
    body = {"program_id": "sampler", "backend": "fake_manila", "params": params}
    return json.dumps(body).encode()


def again_and_again(attack: Callable[[], None], rounds: int = 3) -> None:
    """For ever, whatever the service does to the attacker; it is under way after some rounds."""
    number = 0
    while True:
        with contextlib.suppress(OSError):
            attack()
        number += 1
        if number == rounds:
            _under_way.set()


def silent(target: Target) -> None:
    """Connections that say nothing, as many as can be."""
    held: list[socket.socket] = []

    def attack() -> None:
        held.append(target.connect())
        if len(held) > 3_000:
            held.pop(0).close()
        time.sleep(0.002)

    again_and_again(attack, rounds=800)


def half_heads(target: Target) -> None:
    """Connections whose first line never ends, a byte now and then."""
    held: list[socket.socket] = []

    def attack() -> None:
        if len(held) < 500:
            held.append(target.connect())
            held[-1].sendall(b"GET /api/v1/jobs HT")
        else:
            one = held.pop(0)
            one.sendall(b"\r")
            held.append(one)
        time.sleep(0.002)

    again_and_again(attack, rounds=800)


def trailers(target: Target) -> None:
    """A request whose trailers never end."""

    def attack() -> None:
        with target.connect() as connection:
            start = (
                b"POST /identity/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            connection.sendall(start + b"0\r\n")
            while True:
                connection.sendall(b"a: " + b"x" * 60_000 + b"\r\n")

    again_and_again(attack)


def large_bodies(target: Target) -> None:
    """Bodies of 60 MiB, all but whole, on thirty connections."""
    size = 60 * 2**20
    start = target.head("POST", "/api/v1/jobs", f"Content-Length: {size}") + b'{"params": {"a": "'
    held: list[socket.socket] = []

    def attack() -> None:
        if len(held) >= 30:
            time.sleep(1)
            return
        held.append(target.connect())
        held[-1].sendall(start)
        for _ in range(58):
            held[-1].sendall(b"y" * 2**20)

    again_and_again(attack)


def fire_and_forget(target: Target, path: str, body: bytes) -> None:
    def attack() -> None:
        with target.connect() as connection:
            connection.sendall(target.post(path, body))
            time.sleep(0.2)

    again_and_again(attack)


def nested_gates(target: Target) -> None:
    """OpenQASM of 900 bytes that stands for ten thousand million gates."""
    text, last = "OPENQASM 3.0;\n", ""
    for name in ("x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "id"):
        text += f"gate {name} a {{ {f'{last} a; ' * 10 if last else 'U(0,0,0) a;'} }}\n"
        last = name
    fire_and_forget(target, "/api/v1/jobs", job(f"{text} bit[1] c; {last} $0; c[0]=measure $0;"))


def million_instructions(target: Target) -> None:
    """A circuit of a million gates in 230 KiB, to be estimated."""
    from qiskit import QuantumCircuit, qpy  # noqa: PLC0415 - takes seconds

    circuit = QuantumCircuit(5, 1)
    circuit.rz(0.1, 0)
    gate = circuit.data[0]
    for _ in range(1_000_000):
        circuit._append(gate)  # noqa: SLF001 - a hundred times faster
    circuit.measure(0, 0)
    packed = io.BytesIO()
    qpy.dump(circuit, packed)
    value = base64.b64encode(zlib.compress(packed.getvalue(), 9)).decode()
    body = job({"__type__": "QuantumCircuit", "__value__": value})
    fire_and_forget(target, "/api/v1/queuebit/estimates", body)


def brackets(target: Target) -> None:
    """JSON of four million brackets."""
    body = b'{"program_id":"sampler","backend":"fake_manila","params":{"a":[%s]}}' % (
        b"[]," * 2_000_000 + b"1"
    )
    fire_and_forget(target, "/api/v1/jobs", body)


def unread_lists(target: Target) -> None:
    """Lists of jobs with their inputs, which nobody takes."""
    body = job(BELL, a="x" * 2**20)
    held: list[socket.socket] = []
    for _ in range(10):
        with target.connect() as connection:
            connection.sendall(target.post("/api/v1/jobs", body))
            connection.recv(4_096)

    def attack() -> None:
        if len(held) >= 100:
            held.pop(0).close()
        held.append(target.connect())
        held[-1].sendall(target.head("GET", "/api/v1/jobs?exclude_params=false"))
        time.sleep(0.05)

    again_and_again(attack)


def announcements(target: Target) -> None:
    """Polls with a header of 60 KiB that is another one each time."""
    number = 0

    def attack() -> None:
        nonlocal number
        with target.connect() as connection:
            for _ in range(200):
                number += 1
                header = (
                    f"X-Qx-Client-Application: qiskit_ibm_runtime-0.51.0.{number} {'x' * 60_000}"
                )
                connection.sendall(
                    target.head("GET", "/api/v1/backends/fake_manila/status", header)
                )
                connection.recv(65_536)
                time.sleep(0.005)

    again_and_again(attack)


def nonsense(target: Target) -> None:
    """What is no HTTP."""

    def attack() -> None:
        with target.connect() as connection:
            connection.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
            connection.recv(1_024)
        time.sleep(0.002)

    again_and_again(attack)


ATTACKS = {
    attack.__name__: attack
    for attack in (
        silent,
        half_heads,
        trailers,
        large_bodies,
        nested_gates,
        million_instructions,
        brackets,
        unread_lists,
        announcements,
        nonsense,
    )
}


def settings(port: int, folder: Path) -> dict[str, str]:
    users = [
        {
            "name": name,
            "key_sha256": hashlib.sha256(key.encode()).hexdigest(),
            "instances": [name],
        }
        for name, key in (("honest", HONEST), ("attacker", ATTACKER))
    ]
    given = {
        "BACKENDS": [{"name": "fake_manila", "snapshot": "manila"}],
        "INSTANCES": [{"name": "honest"}, {"name": "attacker"}],
        "USERS": users,
    }
    found = {f"QUEUEBIT_{name}": json.dumps(value) for name, value in given.items()}
    return found | {"QUEUEBIT_PORT": str(port), "QUEUEBIT_DATA": str(folder)}


@contextlib.contextmanager
def service(descriptors: int = 1_024) -> Iterator[tuple[int, int]]:
    """A service of its own, that may open so many files; its port and process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "queuebit", "serve"]
        process = subprocess.Popen(
            command,
            env=os.environ | settings(port, Path(folder)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limits = (descriptors // 2, descriptors)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)  # before it looks
        try:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).is_success:
                        break
                assert process.poll() is None, "the service did not start"
                time.sleep(0.1)
            yield port, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class Honest:
    """Somebody who submits and polls, and what that took."""

    def __init__(self, port: int, crn: str) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"
        self._headers = {"Authorization": f"apikey {HONEST}", "Service-CRN": crn}
        self._http = self._connect()
        self.posts: list[float] = []
        self.lists: list[float] = []
        self.results: list[float] = []
        self.failures: list[str] = []

    def work(self, seconds: float) -> None:
        """Run jobs one after the other, as the client does: a connection that is kept."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.run(1)

    def run(self, jobs: int) -> None:
        """Run so many jobs, each of which may fail."""
        for _ in range(jobs):
            try:
                self._job(self._http)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                self.failures.append(repr(error)[:100])
                self.close()
                self._http = self._connect()
                time.sleep(0.1)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _connect(self) -> httpx.Client:
        return httpx.Client(headers=self._headers, timeout=120)

    def _job(self, http: httpx.Client) -> None:
        began = time.perf_counter()
        answer = http.post(f"{self._url}/jobs", content=job(BELL))
        self.posts.append(time.perf_counter() - began)
        job_id = answer.json()["id"]
        while True:
            told = http.get(f"{self._url}/jobs/{job_id}?exclude_params=true").json()
            if told["status"] in FINAL:
                break
        self.results.append(time.perf_counter() - began)
        asked = time.perf_counter()
        http.get(f"{self._url}/jobs?limit=1").raise_for_status()
        self.lists.append(time.perf_counter() - asked)
        assert told["status"] == "Completed", told

    def row(self, what: str, memory_mb: float) -> str:
        cells = [f"{what:<22}"]
        for times in (self.posts, self.lists, self.results):
            if len(times) < 2:
                cells.append(f"{'-':>8}{'-':>8}")
                continue
            p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
            cells.append(f"{statistics.median(times) * 1e3:8.0f}{p99 * 1e3:8.0f}")
        return f"{'  '.join(cells)}  {len(self.results):5} {len(self.failures):5} {memory_mb:6.0f}"


def _attack(name: str, target: Target, under_way: Any) -> None:
    global _under_way  # noqa: PLW0603 - of this process, which does nothing else
    _under_way = under_way
    ATTACKS[name](target)


@contextlib.contextmanager
def attacked(target: Target, attack: str | None) -> Iterator[None]:
    """Under attack by another process; None: not."""
    if attack is None:
        yield
        return
    context = multiprocessing.get_context("spawn")
    under_way = context.Event()
    attacker = context.Process(target=_attack, args=(attack, target, under_way), daemon=True)
    attacker.start()
    try:
        assert under_way.wait(120), "the attack never began"
        yield
    finally:
        attacker.kill()
        attacker.join()


def crn_of(port: int, key: str) -> str:
    """The instance of a user."""
    headers = {"Authorization": f"apikey {key}"}
    told = httpx.get(f"http://127.0.0.1:{port}/api/v1/queuebit/instances", headers=headers)
    crn: str = told.json()["instances"][0]["crn"]
    return crn


def measured(port: int, pid: int, attack: str | None, seconds: float) -> None:
    """Print a row."""
    target = Target(port, crn_of(port, ATTACKER))
    honest = Honest(port, crn_of(port, HONEST))
    with contextlib.closing(honest), attacked(target, attack):
        honest.work(seconds)
        memory_mb = psutil.Process(pid).memory_info().rss / 2**20
    print(honest.row(attack or "calm", memory_mb), flush=True)
    for failure in sorted(set(honest.failures))[:3]:
        print("   ", failure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ATTACKS, []], help="default: all")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    head = f"{'':22}{'POST':>16}  {'list':>16}  {'result':>16}"
    print(f"{head}   jobs fails memory\n{'ms':22}" + f"{'p50':>8}{'p99':>8}  " * 3, flush=True)
    with service() as (port, pid):
        with contextlib.closing(Honest(port, crn_of(port, HONEST))) as honest:
            honest.work(3)
        measured(port, pid, None, given.seconds)
        for name in given.names or ATTACKS:
            measured(port, pid, name, given.seconds)
            time.sleep(2)
        measured(port, pid, None, given.seconds)


if __name__ == "__main__":
    main()
