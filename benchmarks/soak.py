"""Runs a service under mixed load for long, and tells what grows.

    python benchmarks/soak.py --minutes 60 --rate 4

Users come and go: the real client runs batches and sessions; raw HTTP submits jobs, reads and lists
them, sends nonsense, hangs up in the middle of a body and of an answer, cancels what it submitted,
deletes what is final, repeats requests with an Idempotency-Key. Printed every minute and compared
at the end, after everything has ended: memory, descriptors and threads of the service, its child
processes, and the files of each job that is kept.
"""

import argparse
import collections
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from qiskit import QuantumCircuit, transpile
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, SamplerV2, Session

from queuebit.account import account

# The laptop's way to connect has one unverified request by design (docs/connecting.md).
warnings.filterwarnings("ignore", message="Unverified HTTPS request")

BACKEND = "fake_manila"
BELL = (
    'OPENQASM 3.0; include "stdgates.inc"; bit[2] c; rz(pi/2) $0; sx $0; rz(pi/2) $0; cx $0, $1;'
    "c[0] = measure $0; c[1] = measure $1;"
)
FINAL = {"Completed", "Failed", "Cancelled"}
KEPT_MAX = 200  # jobs that the raw users remember; older ones are deleted
WARM_UP_S = 60.0  # until caches, workers and pools are as large as they get


@dataclass
class Users:
    """What the raw users do, one thing at a time in each thread."""

    url: str
    headers: dict[str, str]
    jobs: collections.deque[str] = field(default_factory=collections.deque)
    answers: collections.Counter[str] = field(default_factory=collections.Counter)

    def submit(self, http: httpx.Client, rng: random.Random) -> None:
        body = job(rng.choice((10, 100, 1_000)), private=rng.random() < 0.1)
        more = {"Idempotency-Key": f"soak-{rng.random()}"} if rng.random() < 0.3 else {}
        for _ in range(2 if more else 1):
            answer = self._told("submit", http.post("/api/v1/jobs", json=body, headers=more))
        if answer.status_code == 200:
            self.jobs.append(answer.json()["id"])

    def submit_nonsense(self, http: httpx.Client, rng: random.Random) -> None:
        bad = rng.choice(
            (
                {"pubs": [["OPENQASM 3.0; this is no circuit " * rng.randint(1, 50), None, 10]]},
                {"pubs": [[BELL, [1.5], 10]]},
                {"pubs": [[BELL, None, -1]]},
                {"unknown": "x" * rng.randint(1, 100_000)},
            )
        )
        self._told("nonsense", http.post("/api/v1/jobs", json=job(10) | {"params": bad}))

    def read(self, http: httpx.Client, rng: random.Random) -> None:
        if self.jobs:
            job_id = rng.choice(self.jobs)
            for path in ("", "/results", "/metrics", "/logs"):
                self._told("read", http.get(f"/api/v1/jobs/{job_id}{path}"))

    def list_all(self, http: httpx.Client, rng: random.Random) -> None:
        path = rng.choice(
            ("/jobs?limit=50&exclude_params=false", "/workloads", "/backends", "/usage")
        )
        self._told("list", http.get(f"/api/v1{path}"))

    def cancel(self, http: httpx.Client, rng: random.Random) -> None:
        self.submit(http, rng)
        if self.jobs:
            self._told("cancel", http.post(f"/api/v1/jobs/{self.jobs[-1]}/cancel"))

    def clear_up(self, http: httpx.Client, rng: random.Random) -> None:
        del rng
        while len(self.jobs) > KEPT_MAX:
            self._told("delete", http.delete(f"/api/v1/jobs/{self.jobs.popleft()}"))

    def hang_up(self, http: httpx.Client, rng: random.Random) -> None:
        """Leave in the middle of a body, or of an answer, or before saying anything."""
        del http
        content = json.dumps(job(10)).encode()
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        head = "\r\n".join(
            ["POST /api/v1/jobs HTTP/1.1", "Host: x", *lines, f"Content-Length: {len(content)}"]
        )
        whole = head.encode() + b"\r\n\r\n" + content
        port = httpx.URL(self.url).port or 80
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(whole[: rng.choice((0, 20, len(head), len(whole) - 5, len(whole)))])
        self.answers["hung up"] += 1

    def _told(self, what: str, answer: httpx.Response) -> httpx.Response:
        self.answers[f"{what} {answer.status_code}"] += 1
        return answer


def job(shots: int, *, private: bool = False) -> dict[str, object]:
    """The body of a submission."""
    params = {"version": 2, "pubs": [[BELL, None, shots]]}
    return {"program_id": "sampler", "backend": BACKEND, "params": params, "private": private}


ACTIONS: tuple[tuple[Callable[..., None], int], ...] = (
    (Users.submit, 6),
    (Users.read, 6),
    (Users.list_all, 2),
    (Users.submit_nonsense, 2),
    (Users.hang_up, 2),
    (Users.cancel, 1),
    (Users.clear_up, 1),
)


def raw(users: Users, rate: float, seed: int, end: float) -> None:
    """Do random things, `rate` a second, until `end`."""
    rng = random.Random(seed)
    actions, weights = zip(*ACTIONS, strict=True)
    with httpx.Client(base_url=users.url, headers=users.headers, timeout=60) as http:
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                rng.choices(actions, weights)[0](users, http, rng)
            except httpx.HTTPError as error:
                users.answers[type(error).__name__] += 1
            time.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))


def with_the_client(service: QiskitRuntimeService, users: Users, end: float) -> None:
    """Batches and sessions with the unmodified client, one after the other."""
    backend = service.backend(BACKEND)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    circuit = transpile(circuit, backend)
    for number in range(10**9):
        if time.monotonic() >= end:
            return
        with (Batch, Session)[number % 2](backend=backend) as mode:
            sampler = SamplerV2(mode=mode)
            for submitted in [sampler.run([circuit], shots=100) for _ in range(3)]:
                submitted.result()
                users.answers["client job"] += 1
        time.sleep(5)


@dataclass(frozen=True)
class Sizes:
    """What the service takes at one moment."""

    rss_mib: float
    descriptors: int
    threads: int
    children: int
    children_rss_mib: float
    files: int
    jobs: int

    def __str__(self) -> str:
        each = self.files / self.jobs if self.jobs else 0
        return (
            f"rss {self.rss_mib:6.1f} MiB  descriptors {self.descriptors:3}  threads "
            f"{self.threads:2}  children {self.children} ({self.children_rss_mib:6.1f} MiB)  "
            f"jobs kept {self.jobs:5}  files/job {each:.2f}"
        )


def sizes(service: psutil.Process, data: Path, http: httpx.Client) -> Sizes:
    children = service.children(recursive=True)
    listed = http.get("/api/v1/jobs?limit=1").json()["count"]
    return Sizes(
        rss_mib=service.memory_info().rss / 2**20,
        descriptors=service.num_fds(),
        threads=service.num_threads(),
        children=len(children),
        children_rss_mib=sum(child.memory_info().rss for child in children) / 2**20,
        files=sum(len(names) for _, _, names in os.walk(data / "payloads")),  # some vanish
        jobs=listed,
    )


@contextmanager
def serving(data: Path) -> Iterator[tuple[psutil.Process, str, str]]:
    """A service in a process of its own: it, its URL, its key."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "queuebit", "serve", "--port", str(port), "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                try:
                    httpx.get(f"{url}/ready", timeout=5).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield psutil.Process(process.pid), url, (data / "api-key").read_text().strip()
        finally:
            process.terminate()


def idle(http: httpx.Client) -> None:
    """Wait until nothing is queued or running."""
    while http.get("/api/v1/jobs?pending=true&limit=1").json()["count"]:
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=4, help="raw actions a second, in all")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with serving(data) as (process, url, key):
            client = QiskitRuntimeService(**account(url, token=key, instance="local"))
            crn = client.active_instance() or client.instances()[0]["crn"]
            headers = {"Authorization": f"apikey {key}", "Service-CRN": crn}
            users = Users(url, headers)
            http = httpx.Client(base_url=url, headers=headers, timeout=60)
            end = time.monotonic() + asked.minutes * 60
            threads = [
                threading.Thread(target=raw, args=(users, asked.rate / 2, asked.seed + n, end))
                for n in range(2)
            ]
            threads.append(threading.Thread(target=with_the_client, args=(client, users, end)))
            for thread in threads:
                thread.start()
            time.sleep(min(WARM_UP_S, asked.minutes * 30))
            first = sizes(process, data, http)
            while any(thread.is_alive() for thread in threads):
                now = sizes(process, data, http)
                print(f"{(end - time.monotonic()) / 60:5.1f} min left  {now}", flush=True)
                time.sleep(max(1.0, min(60.0, end - time.monotonic() + 1)))
            idle(http)
            http.close()
            time.sleep(10)  # connections close, tasks end
            with httpx.Client(base_url=url, headers=headers, timeout=60) as late:
                last = sizes(process, data, late)
    print("answers:", dict(sorted(users.answers.items())))
    print(f"after {min(WARM_UP_S, asked.minutes * 30):.0f} s  {first}")
    print(f"at the end   {last}")
    print(
        f"growth: rss {last.rss_mib - first.rss_mib:+.1f} MiB, descriptors "
        f"{last.descriptors - first.descriptors:+}, threads {last.threads - first.threads:+}, "
        f"children {last.children - first.children:+}"
    )


if __name__ == "__main__":
    main()
