"""The same POST again: after a lost answer it is the same job, otherwise another one."""

import asyncio
import json

import httpx
import pytest
from tests.api.conftest import BOB, SAMPLER, Api
from tests.api.test_problems import one

from queuebit.api.repeats import MARK, WAITED_FOR_S, Repeats
from queuebit.api.routes import create_app


class Lossy(httpx.AsyncBaseTransport):
    """A way to the service on which the client is gone when the answer to a POST comes."""

    def __init__(self, app) -> None:
        self._inner = httpx.ASGITransport(self._disconnecting, raise_app_exceptions=False)
        self._app = app
        self.losing = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)

    async def _disconnecting(self, scope, receive, send) -> None:
        asked = 0

        async def gone():
            nonlocal asked
            message = await receive() if not asked else {"type": "http.disconnect"}
            if not message.get("more_body"):
                asked += self.losing
            return message

        await self._app(scope, gone if self.losing else receive, send)


@pytest.fixture
async def saved(api: Api, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a job that was saved, though the client was gone when the answer came."""
    monkeypatch.setattr("queuebit.api.submit._check_still_there", _nobody_looks)
    transport = Lossy(create_app(api.parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://queuebit") as http:
        answer = await http.post("/api/v1/jobs", headers=api.headers(), json=SAMPLER)
    job_id: str = answer.json()["id"]
    return job_id


async def _nobody_looks(_sent: object) -> None:
    pass


async def jobs(api: Api) -> int:
    count: int = (await api.ask("GET", "/jobs")).json()["count"]
    return count


async def test_after_a_lost_answer_the_same_is_the_same_job(api: Api, saved: str):
    again = await api.ask("POST", "/jobs", json=SAMPLER)

    assert again.json() == {"id": saved, "backend": "fake_manila"}
    assert await jobs(api) == 1
    assert await api.submit() != saved  # whoever was told wants another
    assert await jobs(api) == 2


async def test_something_else_or_of_somebody_else_is_another_job(api: Api, saved: str):
    other = await api.submit(tags=["x"])
    theirs = await api.ask("POST", "/jobs", key=BOB, instance="other", json=SAMPLER)

    assert saved not in {other, theirs.json()["id"]}


async def test_when_the_answer_came_the_same_is_another_job(api: Api):
    first, second = await api.submit(), await api.submit()

    assert first != second
    assert api.parts.payloads.marked(MARK) == []


async def test_two_at_once_are_two_jobs(api: Api):
    first, second = await asyncio.gather(api.submit(), api.submit())

    assert first != second


async def test_after_a_crash_before_the_answer_the_same_is_the_same_job(api: Api, saved: str):
    fresh = Repeats(api.parts.payloads)  # as the next life of the service makes it
    await fresh.recall()
    object.__setattr__(api.parts, "repeats", fresh)

    assert await api.submit() == saved
    assert await api.submit() != saved


async def test_nobody_repeats_for_ever(api: Api, saved: str, monkeypatch: pytest.MonkeyPatch):
    late = asyncio.get_running_loop().time() + WAITED_FOR_S + 1
    monkeypatch.setattr("queuebit.api.repeats.time.monotonic", lambda: late)

    assert await api.submit() != saved


async def test_a_refused_submission_leaves_nothing_to_repeat(api: Api):
    wrong = SAMPLER | {"backend": "fake_osaka"}
    first = await api.ask("POST", "/jobs", json=wrong)
    again = await api.ask("POST", "/jobs", json=wrong)

    assert (first.status_code, again.status_code) == (400, 400)
    assert await api.is_empty()


async def test_with_an_idempotency_key_the_same_is_always_the_same_job(api: Api):
    headers = {"Idempotency-Key": "monday's run"}
    first = await api.ask("POST", "/jobs", headers=headers, json=SAMPLER)
    again = await api.ask("POST", "/jobs", headers=headers, json=SAMPLER)
    fresh = Repeats(api.parts.payloads)
    await fresh.recall()
    object.__setattr__(api.parts, "repeats", fresh)
    restarted = await api.ask("POST", "/jobs", headers=headers, json=SAMPLER)
    other = await api.ask("POST", "/jobs", headers=headers, json=SAMPLER | {"tags": ["x"]})

    assert first.json() == again.json() == restarted.json()
    assert (other.status_code, one(other)["message"]) == (
        400,
        "Another job was submitted with this Idempotency-Key.",
    )
    assert await jobs(api) == 1


async def test_a_mark_that_a_power_cut_halved_is_dropped(api: Api):
    job_id = await api.submit()
    api.parts.payloads.write(job_id, MARK, b'["half', durable=False)

    await Repeats(api.parts.payloads).recall()

    assert api.parts.payloads.marked(MARK) == []
    assert json.loads(api.parts.payloads.read(job_id, "params")) == SAMPLER["params"]
