"""The same POST again: after a lost answer it is the same job, otherwise another one."""

import asyncio
import contextlib
import json

import httpx
import pytest
from tests.api.conftest import BOB, SAMPLER, Api
from tests.api.test_problems import one

from queuebit.api.announcements import HOLDS_S
from queuebit.api.repeats import WAITED_FOR_S, Repeats
from queuebit.api.routes import create_app
from queuebit.errors import ServiceFault
from queuebit.store.payloads import SUBMISSION


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


async def unanswered(api: Api) -> list[str]:
    """The jobs whose clients may not have had the answer."""
    payloads, found = api.parts.payloads, []
    for job_id in payloads.marked():
        with contextlib.suppress(FileNotFoundError):
            payloads.read(job_id, SUBMISSION)
            found.append(job_id)
    return found


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
    assert await unanswered(api) == []


async def test_two_at_once_are_two_jobs(api: Api):
    first, second = await asyncio.gather(api.submit(), api.submit())

    assert first != second


async def test_after_a_crash_before_the_answer_the_same_is_the_same_job(api: Api, saved: str):
    fresh = Repeats(
        api.parts.payloads, api.store, api.parts.clock
    )  # as the next life of the service makes it
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
    fresh = Repeats(api.parts.payloads, api.store, api.parts.clock)
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


KEY = {"Idempotency-Key": "monday's run"}


async def keyed(api: Api, **changes: object) -> httpx.Response:
    return await api.ask("POST", "/jobs", headers=KEY, json=SAMPLER | changes)


async def test_the_key_of_a_deleted_job_says_so(api: Api):
    """Answered with its id, the client would ask for a job that is not there."""
    job_id = (await keyed(api)).json()["id"]
    await api.ask("POST", f"/jobs/{job_id}/cancel")
    assert (await api.ask("DELETE", f"/jobs/{job_id}")).status_code == 204

    answer = await keyed(api)

    assert (answer.status_code, one(answer)["code"]) == (409, 1409)
    assert one(answer)["message"] == (
        f"Job {job_id}, which was submitted with this Idempotency-Key, has been deleted."
    )
    assert (await keyed(api)).status_code == 409
    assert await jobs(api) == 0


async def test_a_key_counts_for_a_day(api: Api):
    first = (await keyed(api)).json()["id"]
    api.clock.advance(86_400_000)
    assert (await keyed(api)).json()["id"] == first

    api.clock.advance(1)
    second = await keyed(api, tags=["another"])

    assert second.json()["id"] != first
    assert (await keyed(api, tags=["another"])).json()["id"] == second.json()["id"]


async def test_equal_keys_of_two_users_are_two_jobs(api: Api):
    first = (await keyed(api)).json()["id"]
    answer = await api.ask("POST", "/jobs", key=BOB, instance="other", headers=KEY, json=SAMPLER)

    assert answer.json()["id"] != first


async def test_two_with_a_key_at_once_are_one_job(api: Api):
    first, second = await asyncio.gather(keyed(api), keyed(api))

    assert first.json() == second.json()
    assert await jobs(api) == 1


async def test_nothing_of_a_submission_with_a_key_stays_in_memory(api: Api):
    for number in range(5):
        headers = {"Idempotency-Key": f"{number}"}
        await api.ask("POST", "/jobs", headers=headers, json=SAMPLER)

    assert api.parts.repeats._known == {}


async def test_a_mark_that_a_power_cut_halved_is_dropped(api: Api):
    job_id = await api.submit()
    api.parts.payloads.write(job_id, SUBMISSION, b'["half', durable=False)

    await Repeats(api.parts.payloads, api.store, api.parts.clock).recall()

    assert await unanswered(api) == []
    assert json.loads(api.parts.payloads.read(job_id, "params")) == SAMPLER["params"]


QISKIT = "qiskit-version-2/qiskit_ibm_runtime-0.51.0,qiskit-2.6.2*/qiskit_ibm_runtime~sampler.py"


async def announced(api: Api, caller: str = QISKIT) -> None:
    """As Qiskit's client does right before each job that its user wants, and at no other time."""
    headers = {"X-Qx-Client-Application": caller}
    assert (await api.ask("GET", "/backends/fake_manila/status", headers=headers)).is_success


async def sent(api: Api, caller: str = QISKIT) -> str:
    headers = {"X-Qx-Client-Application": caller}
    answer = await api.ask("POST", "/jobs", headers=headers, json=SAMPLER)
    job_id: str = answer.json()["id"]
    return job_id


async def test_an_answer_that_a_proxy_lost_is_given_again(api: Api):
    await announced(api)

    assert len({await sent(api) for _ in range(6)}) == 1
    await announced(api)
    other = await sent(api)
    assert await sent(api) == other  # the first one's client has gone on
    assert await jobs(api) == 2


async def test_threads_of_one_client_get_a_job_each(api: Api):
    for _ in range(3):
        await announced(api)  # all of them before the first of their jobs

    ids = await asyncio.gather(*(sent(api) for _ in range(3)))
    assert len(set(ids)) == 3
    assert await sent(api) not in ids  # whose answer was lost is not known: no two share a job


async def test_a_repetition_comes_while_the_first_is_under_way(api: Api):
    await announced(api)

    first, again = await asyncio.gather(sent(api), sent(api))

    assert first == again


@pytest.mark.parametrize(
    "caller",
    [
        pytest.param("", id="raw requests"),
        pytest.param("qiskit-version-2/qiskit_ibm_runtime-0.42.0/qiskit", id="an older release"),
        pytest.param("qiskit-version-2/qiskit_ibm_runtime-0.99.0/qiskit", id="a newer release"),
    ],
)
async def test_who_does_not_announce_jobs_never_repeats(api: Api, caller: str):
    await announced(api, caller)

    assert await sent(api, caller) != await sent(api, caller)


async def test_an_unannounced_job_is_no_repetition_of_an_unannounced_one(api: Api):
    await announced(api, QISKIT.replace("~sampler.py", "~estimator.py"))

    assert await sent(api) != await sent(api)


async def test_an_announcement_does_not_hold_for_ever(api: Api, monkeypatch: pytest.MonkeyPatch):
    await announced(api)  # and no job came
    late = asyncio.get_running_loop().time() + HOLDS_S + 1
    monkeypatch.setattr("queuebit.api.repeats.time.monotonic", lambda: late)
    await announced(api)

    assert await sent(api) == await sent(api)


async def test_after_a_fault_of_ours_the_repetition_counts_as_announced(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    await announced(api)
    with monkeypatch.context() as patched:
        patched.setattr("queuebit.api.submit.validate", _fails)
        answer = await api.ask(
            "POST", "/jobs", headers={"X-Qx-Client-Application": QISKIT}, json=SAMPLER
        )
        assert answer.status_code == 503

    assert await sent(api) == await sent(api)


async def _fails(*_: object) -> None:
    raise ServiceFault("no worker")
