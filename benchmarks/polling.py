"""How long polls take while many clients wait: GET /jobs/{id} of queued jobs, which are not held.

    python benchmarks/polling.py --clients 50 --jobs 500 --pace 0.5 --seconds 60

A service of its own, with jobs running all the while on another backend. Each client waits for its
jobs one after the other, as `job.result()` in a loop does, or for all of them at once, as threads
do (`--each`). Latencies are those that the clients see; the clients share the processors.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

BELL = (
    'OPENQASM 3.0; include "stdgates.inc"; bit[2] c; rz(pi/2) $0; sx $0; rz(pi/2) $0; cx $0, $1;'
    "c[0] = measure $0; c[1] = measure $1;"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Service:
    """A `queuebit serve` on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        backends = [{"name": name, "snapshot": name[5:]} for name in ("fake_manila", "fake_lagos")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "queuebit", "serve"],
            env=os.environ
            | {
                "QUEUEBIT_PORT": str(self.port),
                "QUEUEBIT_DATA": str(folder),
                "QUEUEBIT_BACKENDS": json.dumps(backends),
            },
        )
        while True:
            try:
                httpx.get(f"{self.url}/ready", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                assert self.process.poll() is None, "the service did not start"
                time.sleep(0.1)
        self.headers = {"Authorization": f"apikey {(folder / 'api-key').read_text().strip()}"}
        found = httpx.post(f"{self.url}/v3/resources/search", headers=self.headers, json={})
        self.headers["Service-CRN"] = found.json()["items"][0]["crn"]


def body(backend: str, shots: int) -> dict:
    params = {"version": 2, "pubs": [[BELL, None, shots]]}
    return {"program_id": "sampler", "backend": backend, "params": params}


async def submit(http: httpx.AsyncClient, count: int) -> list[str]:
    """Jobs that stay queued: their backend is paused."""
    paused = {"status": "paused"}
    (await http.patch("/api/v1/queuebit/backends/fake_manila", json=paused)).raise_for_status()
    made = []
    for _ in range(count):
        answer = await http.post("/api/v1/jobs", json=body("fake_manila", 100))
        made.append(answer.raise_for_status().json()["id"])
    return made


async def work(http: httpx.AsyncClient, done: asyncio.Event) -> int:
    """Jobs that run meanwhile, two at a time."""
    ran = 0
    while not done.is_set():
        made = [await http.post("/api/v1/jobs", json=body("fake_lagos", 4_096)) for _ in range(2)]
        for answer in made:
            path = f"/api/v1/jobs/{answer.json()['id']}?exclude_params=true"
            while (await http.get(path)).json()["status"] in {"Queued", "Running"}:  # noqa: ASYNC110 - over the wire
                await asyncio.sleep(0.5)  # as the client does
            ran += 1
    return ran


async def poll(service: Service, job_ids: list[str], pace_s: float, until: float) -> list[float]:
    """Ask for each in turn, over one connection; plain sockets, as clients must not be the load."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    fields = "".join(f"{name}: {value}\r\n" for name, value in service.headers.items())
    waits = []
    await asyncio.sleep(random.uniform(0, pace_s))
    while time.monotonic() < until:
        for job_id in job_ids:
            path = f"/api/v1/jobs/{job_id}?exclude_params=true"
            began = time.monotonic()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            size = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            told = await reader.readexactly(size)
            waits.append(time.monotonic() - began)
            assert b'"Queued"' in told
            await asyncio.sleep(max(0.0, pace_s - waits[-1]))
            if time.monotonic() >= until:
                break
    writer.close()
    return waits


async def measure(service: Service, wish: argparse.Namespace) -> None:
    done = asyncio.Event()
    async with httpx.AsyncClient(base_url=service.url, headers=service.headers, timeout=60) as http:
        job_ids = await submit(http, wish.jobs)
        working = asyncio.create_task(work(http, done))
        pollers = wish.jobs if wish.each else wish.clients
        process = psutil.Process(service.process.pid)
        spent = sum(process.cpu_times()[:2])
        until = time.monotonic() + wish.seconds
        found = await asyncio.gather(
            *(
                poll(service, job_ids[number::pollers], wish.pace, until)
                for number in range(pollers)
            )
        )
        spent = sum(process.cpu_times()[:2]) - spent
        done.set()
        ran = await working
    waits = sorted(wait for each in found for wait in each)
    at = [1_000 * waits[int(part * (len(waits) - 1))] for part in (0.5, 0.9, 0.99, 1)]
    print(f"{pollers} connections, {wish.jobs} jobs, one poll every {wish.pace:g} s each")
    print(f"{len(waits) / wish.seconds:.0f} polls a second; {ran} jobs ran meanwhile")
    print("ms: median {:.1f}, p90 {:.1f}, p99 {:.1f}, longest {:.1f}".format(*at))
    print(f"the service's process: {spent / wish.seconds:.0%} of a processor")
    print("load of the machine (1, 5, 15 min):", *(f"{load:.1f}" for load in os.getloadavg()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--clients", type=int, default=50)
    arguments.add_argument("--jobs", type=int, default=500)
    arguments.add_argument("--pace", type=float, default=0.5)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--each", action="store_true", help="a connection for every job")
    wish = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        try:
            asyncio.run(measure(service, wish))
        finally:
            service.process.terminate()
            service.process.wait(30)


if __name__ == "__main__":
    main()
