import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.doubles import Workers
from tests.fakes import MemoryStore
from tests.fakes_tenants import crn_of

from queuebit import scheduling
from queuebit.api.identity import open_identity
from queuebit.api.parts import Parts
from queuebit.api.repeats import Repeats
from queuebit.api.routes import create_app
from queuebit.clock import VirtualClock
from queuebit.config import BackendConfig, Config, InstanceConfig, UserConfig
from queuebit.core.events import Event, Step
from queuebit.core.model import Job
from queuebit.core.scheduler import Scheduler
from queuebit.devices.snapshot import Snapshot
from queuebit.driver import Driver
from queuebit.engines.checks import Checks
from queuebit.runner import Runner
from queuebit.store.details import JobDetails
from queuebit.store.listing import WorkloadQuery
from queuebit.store.payloads import Payloads

ALICE = "alice-key"
BOB = "bob-key"
ADA = "ada-key"  # of an administrator
START = 1_790_000_000_000  # ms; 2026-09-21
SAMPLER = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": [], "version": 2}}


def user(name: str, key: str, *instances: str, admin: bool = False) -> UserConfig:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return UserConfig(name=name, key_sha256=digest, instances=instances, admin=admin)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        data=tmp_path,
        hold_ms=40,
        max_body_mb=2,
        backends=(
            BackendConfig(name="fake_manila", snapshot="manila", lanes=2),
            BackendConfig(name="fake_lagos", snapshot="lagos"),
        ),
        instances=(
            InstanceConfig(name="lab", tags=("Team-A",)),
            InstanceConfig(name="class", plan="open"),
            InstanceConfig(name="other"),
        ),
        users=(
            user("alice", ALICE, "lab", "class"),
            user("bob", BOB, "other"),
            user("ada", ADA, "lab", admin=True),
        ),
    )


@dataclass
class Api:
    """The application in this process, on a store and workers of the test's own."""

    config: Config
    parts: Parts
    store: MemoryStore
    workers: Workers
    clock: VirtualClock
    http: httpx.AsyncClient
    driver: Driver

    def headers(self, key: str = ALICE, instance: str = "lab") -> dict[str, str]:
        crn = next(crn_of(one) for one in self.config.instances if one.name == instance)
        return {"Authorization": f"apikey {key}", "Service-CRN": crn}

    async def ask(
        self, method: str, path: str, *, key: str = ALICE, instance: str = "lab", **more: Any
    ) -> httpx.Response:
        headers = self.headers(key, instance) | more.pop("headers", {})
        return await self.http.request(method, f"/api/v1{path}", headers=headers, **more)

    async def submit(self, **changes: Any) -> str:
        answer = await self.ask("POST", "/jobs", json=SAMPLER | changes)
        assert answer.status_code == 200, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    async def finish(self, *job_ids: str) -> None:
        """Let every stage end."""
        self.workers.going_on.set()
        for job_id in job_ids:
            await self.driver.wait_for_end(job_id, 5)
        self.workers.going_on.clear()

    async def record(self, job_id: str) -> Job:
        stored = await self.store.job(job_id)
        assert stored is not None
        return stored.record

    async def details(self, job_id: str) -> JobDetails:
        stored = await self.store.job(job_id)
        assert stored is not None
        return stored.details

    async def is_empty(self) -> bool:
        """Whether nothing is stored: no record, no payload."""
        folder = self.config.data / "payloads"
        listed = await self.store.workloads(WorkloadQuery(instance="lab"))
        kept = await self.store.known_jobs() or listed.entries
        return not kept and not (folder.exists() and list(folder.iterdir()))

    async def send(self, event: Event) -> Step:
        return await self.driver.send(event)


@pytest.fixture
async def api(config: Config) -> AsyncIterator[Api]:
    payloads = Payloads(config.data / "payloads")
    store, workers, clock = MemoryStore(), Workers(payloads), VirtualClock(START)
    workers.on_finish = lambda task: payloads.write(
        task.job_id, f"result.{task.run}", b'{"value": Infinity}', durable=True
    )
    runner = Runner(engine=workers, database=store, payloads=payloads, clock=clock)
    identity, _ = await open_identity(config, store.tenants)
    records = identity.directory.instances.values()
    instances = scheduling.instances(records, config.plans)
    scheduler = Scheduler(scheduling.backends(config), instances=instances)
    driver = Driver(scheduler, store, runner, clock, times=runner.times)
    runner.bind(driver.send, driver.calibrated)
    parts = Parts(
        repeats=Repeats(payloads, store, clock),
        config=config,
        identity=identity,
        database=store,
        payloads=payloads,
        driver=driver,
        checks=Checks(workers, 2),
        clock=clock,
        snapshots={one.name: Snapshot(one) for one in config.offered},
    )
    transport = httpx.ASGITransport(create_app(parts), raise_app_exceptions=False)
    running = asyncio.create_task(runner.run())
    driving = asyncio.create_task(driver.run())
    async with httpx.AsyncClient(transport=transport, base_url="http://queuebit") as http:
        yield Api(config, parts, store, workers, clock, http, driver)
    await parts.undertakings.close()
    driving.cancel()
    running.cancel()
    await asyncio.wait({driving, running})
    for task in (driving, running):
        if not task.cancelled():
            task.result()
