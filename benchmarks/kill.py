"""Kills the service, or its workers, again and again during a load, and counts what came of it.

    python benchmarks/kill.py service --kills 20 --jobs 200
    python benchmarks/kill.py workers --kills 20 --jobs 200

Every job that was accepted must end Completed, with one result, charged once.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from qiskit import QuantumCircuit, transpile
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, SamplerV2

from queuebit.account import account

# The laptop's way to connect has one unverified request by design (docs/connecting.md).
warnings.filterwarnings("ignore", message="Unverified HTTPS request")


@dataclass
class Server:
    """A `queuebit serve` that can be killed and started again on the same data."""

    data: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.data / "serve.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "queuebit", "serve"]
        command += ["--port", str(self.port), "--data", str(self.data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(300):
            try:
                httpx.get(f"{self.url}/api/v1/versions", timeout=2).raise_for_status()
            except httpx.HTTPError:
                if self.process.poll() is not None:
                    raise SystemExit(
                        f"the service does not start:\n{self.log.read_text()}"
                    ) from None
                time.sleep(0.1)
            else:
                return
        raise SystemExit("the service does not answer")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1

    def kill_worker(self, rng: random.Random) -> None:
        assert self.process is not None
        workers = [
            child
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if not child.children()
            and child.memory_info().rss > 50_000_000  # not the resource tracker
        ]
        if workers:
            rng.choice(workers).send_signal(signal.SIGKILL)
            self.kills += 1

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)


def persistently(call):
    """Repeat `call` while the service is away."""
    for _ in range(200):
        try:
            return call()
        except Exception as error:  # noqa: BLE001  the client wraps connection errors in many ways
            last = error
            time.sleep(0.2)
    raise last


def load(server: Server, key: str, jobs: int) -> list[str]:
    """Submit `jobs` Bell jobs through the real client; the ids that the service acknowledged."""
    service = persistently(lambda: connect(server, key))
    backend = persistently(lambda: service.backend("fake_manila"))
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    bell = transpile(bell, backend, optimization_level=1)
    batch = persistently(lambda: Batch(backend=backend))
    sampler = SamplerV2(mode=batch)
    return [persistently(lambda: sampler.run([bell], shots=256)).job_id() for _ in range(jobs)]


def connect(server: Server, key: str) -> QiskitRuntimeService:
    return QiskitRuntimeService(**account(server.url, token=key, instance="local"))


def judge(server: Server, key: str, ids: list[str]) -> bool:
    """Print what became of the jobs; whether all is well."""
    service = connect(server, key)
    statuses: Counter[str] = Counter()
    results: Counter[str] = Counter()
    charged = 0.0
    deadline = time.monotonic() + 600
    for job_id in ids:
        job = service.job(job_id)
        while job.status() not in {"DONE", "ERROR", "CANCELLED"} and time.monotonic() < deadline:
            time.sleep(0.1)
        statuses[str(job.status())] += 1
        if job.status() != "DONE":
            print(job_id, job.error_message())
            continue
        first, second = (service.job(job_id).result()[0].data.meas.array for _ in range(2))
        results["same result twice" if (first == second).all() else "RESULT CHANGED"] += 1
        charged += job.usage()
    used = service.usage()["usage_consumed_seconds"]
    extra = service.jobs(limit=None)
    extra_usage = sum(job.usage() for job in extra if job.job_id() not in ids)
    print(f"kills: {server.kills}; accepted: {len(ids)}; {dict(statuses)}; {dict(results)}")
    print(
        f"jobs charged {charged:.1f} s, unacknowledged ones {extra_usage:.1f} s, instance {used} s"
    )
    return (
        statuses == {"DONE": len(ids)}
        and results == {"same result twice": len(ids)}
        and abs(charged + extra_usage - used) < 1
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["service", "workers"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between kills, at most")
    parser.add_argument("--port", type=int, default=8931)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), arguments.port)
        server.start()
        key = (Path(folder) / "api-key").read_text().strip()
        ids: list[str] = []
        thread = threading.Thread(target=lambda: ids.extend(load(server, key, arguments.jobs)))
        thread.start()
        while server.kills < arguments.kills:
            time.sleep(rng.uniform(0.3, arguments.pause))
            if arguments.what == "workers":
                server.kill_worker(rng)
            else:
                server.kill()
                server.start()
            if not thread.is_alive() and os.environ.get("STOP_WITH_LOAD"):
                break
        thread.join()
        well = len(ids) == arguments.jobs and judge(server, key, ids)
        server.stop()
    print("all is well" if well else "SOMETHING IS WRONG")
    sys.exit(not well)


if __name__ == "__main__":
    main()
