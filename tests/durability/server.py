"""A `queuebit serve` that is killed, starved and started again, and a load meanwhile."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

SHOTS = 20
CIRCUIT = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; sx $0; c[0] = measure $0;'
JOB = {
    "program_id": "sampler",
    "backend": "fake_manila",
    "params": {"version": 2, "pubs": [[CIRCUIT, None, SHOTS]]},
}
FINAL = {"Completed", "Failed", "Cancelled", "Cancelled - Ran too long"}
PATIENCE_S = 120.0
SETTINGS = """
workers = 1
mocks = false
max_body_mb = 1
backends = [{name = "fake_manila", snapshot = "manila"}]
"""


class Server:
    """A service in a process of its own."""

    def __init__(self, folder: Path, *, data: Path | None = None, database: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data = data or folder / "data"
        self.log = folder / "serve.log"
        self._settings = folder / "settings.toml"
        self._settings.write_text(SETTINGS)
        self._database = ["--database", database] if database else []
        self.files_max: int | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it on the same port as before; return when it is ready."""
        command = [sys.executable, "-m", "queuebit", "serve", "--port", str(self.port)]
        if self.files_max is not None:
            command = ["prlimit", f"--nofile={self.files_max}", *command]
        command += ["--data", str(self.data), "--config", str(self._settings), *self._database]
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            said = self.log.read_bytes()[began:].decode(errors="replace")
            if "Queuebit is at" in said:
                self.port = int(said.split("Queuebit is at ")[1].split()[0].rpartition(":")[2])
                return
            if self.process.poll() is not None:
                raise AssertionError(f"the service does not start: {said}")
            time.sleep(0.05)
        raise AssertionError("the service does not start in time")

    @property
    def files(self) -> int:
        """How many descriptors are open."""
        assert self.process is not None
        return psutil.Process(self.process.pid).num_fds()

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def kill_worker(self, rng: random.Random) -> None:
        """Kill a worker; whichever, and whatever it does."""
        assert self.process is not None
        with contextlib.suppress(psutil.Error, IndexError):
            family = psutil.Process(self.process.pid).children(recursive=True)
            rng.choice([one for one in family if not one.children()]).kill()

    def stop(self) -> None:
        if self.is_alive:
            assert self.process is not None
            self.process.terminate()
            self.process.wait(30)


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return own | {"QUEUEBIT_RESERVE_MB": "1"}


class Caller:
    """Asks a service until it answers with no 5xx, as Qiskit's client does, but for longer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        key = (server.data / "api-key").read_text().strip()
        self._http = httpx.Client(
            base_url=server.url, headers={"Authorization": f"apikey {key}"}, timeout=60
        )
        found = self.ask("GET", "/api/v1/queuebit/instances").json()["instances"]
        self._http.headers["Service-CRN"] = found[0]["crn"]

    def once(self, method: str, path: str, **more: Any) -> httpx.Response:
        """What is answered, whatever it is."""
        return self._http.request(method, path, **more)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        until = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = self.once(method, path, **more)
                if answer.status_code < 500:
                    return answer
            assert time.monotonic() < until, f"{method} {path} is never answered"
            time.sleep(0.1)

    def close(self) -> None:
        self._http.close()


@dataclass
class Load:
    """A thread that submits jobs, each with a key, until it is told to stop."""

    server: Server
    accepted: dict[str, str] = field(default_factory=dict)
    """The job of each key."""
    fault: BaseException | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        if self.fault is not None:
            raise self.fault

    def wait_for(self, more: int) -> None:
        """Return when so many more jobs have been accepted."""
        wanted, until = len(self.accepted) + more, time.monotonic() + PATIENCE_S
        while len(self.accepted) < wanted and self.fault is None:
            assert time.monotonic() < until, "no more jobs are accepted"
            time.sleep(0.02)

    def _run(self) -> None:
        try:
            caller = Caller(self.server)
            while not self._stop.is_set():
                key = f"job {len(self.accepted)}"
                headers = {"Idempotency-Key": key}
                answer = caller.ask("POST", "/api/v1/jobs", headers=headers, json=JOB)
                assert answer.status_code == 200, answer.text
                self.accepted[key] = answer.json()["id"]
                time.sleep(0.02)
            caller.close()
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.fault = error

    def check(self) -> None:
        """Every job that was accepted is completed once, with its result; none is there twice."""
        caller, until = Caller(self.server), time.monotonic() + PATIENCE_S
        for job_id in self.accepted.values():
            while (job := caller.ask("GET", f"/api/v1/jobs/{job_id}").json())[
                "status"
            ] not in FINAL:
                assert time.monotonic() < until, f"{job_id} does not end"
                time.sleep(0.05)
            assert job["status"] == "Completed", job
            result = json.loads(caller.ask("GET", f"/api/v1/jobs/{job_id}/results").content)
            assert len(result["results"][0]["data"]["c"]["samples"]) == SHOTS
        assert len(set(self.accepted.values())) == len(self.accepted)
        count = caller.ask("GET", "/api/v1/jobs?limit=1").json()["count"]
        assert count == len(self.accepted), "a job was made twice, or one is lost"
        caller.close()
