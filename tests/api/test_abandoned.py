"""Clients that go away while their job is submitted."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.api.conftest import SAMPLER, Api

from queuebit.core.events import Tick
from queuebit.core.model import Reason
from queuebit.engines.task import Outcome, Task


class Validating:
    """A worker that validates until the test says so."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.verdict: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.killed = False

    async def run(self, task: Task) -> Outcome:
        self.begun.set()
        try:
            return await asyncio.shield(self.verdict)
        except asyncio.CancelledError:
            self.killed = True
            raise


@pytest.fixture
async def complaints() -> Iterator[list[dict]]:
    """What the loop would log: exceptions that nobody asked for."""
    told: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: told.append(about))
    yield told
    assert told == []


@pytest.fixture
async def validating(api: Api, complaints: list[dict]) -> Validating:
    """A worker that validates the job of a request that is gone."""
    worker = Validating()
    api.workers.run = worker.run
    request = asyncio.create_task(api.ask("POST", "/jobs", json=SAMPLER))
    await worker.begun.wait()
    request.cancel()
    await asyncio.wait({request})
    return worker


async def cleared(api: Api) -> bool:
    """Whether all is forgotten, waiting a moment for it."""
    for _ in range(200):
        if await api.is_empty():
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "verdict", [Outcome(), Outcome(error=Reason(message="No such program.", code=1208))]
)
async def test_the_worker_goes_on_and_there_is_no_job(
    api: Api, validating: Validating, verdict: Outcome
):
    await asyncio.sleep(0.02)
    kept = not await api.is_empty()  # the worker may be reading it
    validating.verdict.set_result(verdict)

    assert kept
    assert await cleared(api)
    assert not validating.killed


async def test_when_the_service_stops_nothing_stays_behind(api: Api, validating: Validating):
    await api.parts.undertakings.close()

    assert validating.killed
    assert await api.is_empty()


async def test_a_job_that_is_being_saved_stays(api: Api, complaints: list[dict]):
    saving, go_on = asyncio.Event(), asyncio.Event()
    save = api.store.save

    async def slow(*saved) -> None:
        saving.set()
        await go_on.wait()
        await save(*saved)

    api.store.save = slow
    request = asyncio.create_task(api.ask("POST", "/jobs", json=SAMPLER))
    await saving.wait()
    request.cancel()
    await asyncio.wait({request})
    go_on.set()
    await api.send(Tick())  # stands in line behind it

    (job,) = (await api.ask("GET", "/jobs")).json()["jobs"]
    told = await api.ask("GET", f"/jobs/{job['id']}")
    assert told.json()["params"] == SAMPLER["params"]
