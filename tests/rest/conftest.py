"""A whole service on a port, with workers that a test commands, and what it holds."""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import ADA, ALICE, START, user
from tests.api.doubles import Workers
from tests.fakes_tenants import crn_of

from queuebit.app import Service
from queuebit.clock import VirtualClock
from queuebit.config import BackendConfig, Config, InstanceConfig
from queuebit.engines.task import Outcome
from queuebit.store.payloads import INPUTS, Payloads

READER = "reader-key"
ESTIMATED = {
    "overhead_ms": 1,
    "circuits": 1,
    "executions": 1,
    "qubits": 1,
    "depth": 1,
    "limits": [],
}


class Small:
    """A service whose jobs end at once, and whose clock stands still."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.config = Config(
            **{
                "data": data,
                "port": 0,
                "hold_ms": 0,
                "max_body_mb": 2,
                "wrong_keys_per_minute": 0,  # some tests try hundreds
                "backends": (
                    BackendConfig(name="fake_manila", snapshot="manila"),
                    BackendConfig(name="fake_lagos", snapshot="lagos"),
                ),
                "instances": (InstanceConfig(name="lab"), InstanceConfig(name="other")),
                "users": (
                    user("ada", ADA, "lab", "other", admin=True),
                    user("alice", ALICE, "other"),
                    user("rita", READER, "lab").model_copy(update={"role": "reader"}),
                ),
            }
            | settings
        )
        payloads = Payloads(data / "payloads")
        workers = Workers(payloads)
        workers.verdict = Outcome(estimated_ms=1_000, metrics=ESTIMATED)
        workers.going_on.set()
        workers.on_finish = lambda task: payloads.write(
            task.job_id, f"result.{task.run}", b'{"value": 1}', durable=False
        )
        self.workers = workers
        self.service = Service(self.config, engine=workers, clock=VirtualClock(START))
        self.url = ""

    def headers(self, key: str = ADA, instance: str = "lab") -> dict[str, str]:
        crn = next(crn_of(one) for one in self.config.instances if one.name == instance)
        return {"Authorization": f"apikey {key}", "Service-CRN": crn}

    @contextmanager
    def running(self) -> Iterator["Small"]:
        started: futures.Future[None] = futures.Future()
        loop = asyncio.new_event_loop()

        async def live() -> None:
            async with self.service:
                started.set_result(None)
                await self.service.serve_forever()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(live())

        with futures.ThreadPoolExecutor(1) as thread:
            life = thread.submit(run)
            futures.wait((started, life), return_when=futures.FIRST_COMPLETED)
            if life.done():
                life.result()
            self.url = self.service.url
            try:
                yield self
            finally:
                loop.call_soon_threadsafe(self.service.stop)
            life.result(30)

    def _is_busy(self, database: sqlite3.Connection) -> bool:
        """Whether a job runs, or the input of a private one that has ended is still there."""
        if database.execute("SELECT 1 FROM jobs WHERE status = 'Running'").fetchone():
            return True
        payloads, work = self.config.data / "payloads", self.config.data / "payloads" / ".work"
        if work.is_dir() and any(work.iterdir()):  # what an ended job leaves is being removed
            return True
        ended = database.execute("SELECT id FROM jobs WHERE private AND ended_at IS NOT NULL")
        return any((payloads / one / INPUTS).exists() for (one,) in ended)

    def digest(self) -> str:
        """Of everything that is kept, once nothing is on its way any more."""
        with closing(sqlite3.connect(self.config.data / "queuebit.db")) as database:
            while self._is_busy(database):
                time.sleep(0.002)
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            rows = [
                (name, database.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall())
                for (name,) in sorted(names.fetchall())
                # "audit" notes refusals, and "service" counts saves.
                if name not in ("audit", "service") and not name.startswith("sqlite_")
            ]
        folder = self.config.data / "payloads"
        files = [
            (str(file.relative_to(folder)), file.stat().st_size)
            for file in sorted(folder.rglob("*"))
            if file.name != ".work"  # empty, it comes and goes
        ]
        return hashlib.sha256(repr((rows, files)).encode()).hexdigest()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    def starting(**settings: Any) -> Any:
        return Small(tmp_path_factory.mktemp("small"), **settings).running()

    return starting


@pytest.fixture(scope="module")
def small(start: Callable[..., Any]) -> Iterator[Small]:
    """One service for all tests of a module."""
    with start() as running:
        yield running
