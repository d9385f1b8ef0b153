import asyncio
import re
from dataclasses import replace

import pytest
from tests.api.conftest import SAMPLER, Api
from tests.api.test_problems import one

from queuebit.api import problems
from queuebit.api.jobs import JobAnswer, JobPage
from queuebit.core.events import JobCancelRequested
from queuebit.core.model import JobStatus, Reason, Stage
from queuebit.engines.task import Outcome


async def read(api: Api, job_id: str, query: str = "?exclude_params=true") -> dict:
    answer = await api.ask("GET", f"/jobs/{job_id}{query}")
    assert answer.status_code == 200
    JobAnswer.model_validate_json(answer.content, extra="forbid")
    told: dict = answer.json()
    return told


async def test_a_job_is_answered_with_its_id_and_backend(api: Api):
    answer = await api.ask("POST", "/jobs", json=SAMPLER)

    assert answer.status_code == 200
    assert set(answer.json()) == {"id", "backend"}
    assert answer.json()["backend"] == "fake_manila"
    assert re.fullmatch("[0-9a-v]{20}", answer.json()["id"])


async def test_a_worker_validates_what_is_stored_before_the_job_is_accepted(api: Api):
    job_id = await api.submit()

    (task,) = api.workers.validated
    assert (task.job_id, task.stage, task.program_id) == (job_id, None, "sampler")
    assert task.backend == "fake_manila"


async def test_all_that_the_user_said_is_kept(api: Api):
    header = "qiskit-version-2/qiskit_ibm_runtime-0.51.0,qiskit-2.6.2*,qiskit_aer-0.18.2/qiskit"
    answer = await api.ask(
        "POST",
        "/jobs",
        json=SAMPLER
        | {
            "tags": ["b", "a"],
            "cost": 300,
            "log_level": "WARNING",
            "private": True,
            "runtime": "i:t",
        },
        headers={"X-Qx-Client-Application": header},
    )
    details = await api.details(answer.json()["id"])

    assert answer.json()["private"] is True
    assert (details.program_id, details.tags) == ("sampler", ("b", "a"))
    assert (await api.record(answer.json()["id"])).user == "alice"
    assert (details.cost_s, details.log_level, details.private) == (300, "warning", True)
    assert (details.runtime, details.caller, details.qiskit_version) == ("i:t", header, "2.6.2")


async def test_a_job_is_told_as_ibm_tells_it(api: Api):
    job_id = await api.submit(tags=["t"])

    assert await read(api, job_id) == {
        "id": job_id,
        "backend": "fake_manila",
        "program": {"id": "sampler"},
        "state": {"status": "Running"},
        "status": "Running",
        "created": "2026-09-21T14:13:20.000Z",
        "cost": 10_800,
        "tags": ["t"],
        "user_id": "alice",
        "usage": {"qpu_charge_time_seconds": 0.0, "status": "pending"},
    }


async def test_params_are_echoed_as_they_came_but_for_white_space(api: Api):
    params = '{"z": 1.50, "a": ["\\u00e9 \\"}", 1e400], "circuit": {"__type__": "x"}}'
    body = f'{{"backend": "fake_manila", "params" : {params} , "program_id": "sampler"}}'
    job_id = (await api.ask("POST", "/jobs", content=body.encode())).json()["id"]

    answer = await api.ask("GET", f"/jobs/{job_id}")

    kept = params.replace(" ", "").replace("e9", "e9 ")
    assert f',"params":{kept}}}' in answer.text
    assert api.parts.payloads.read(job_id, "params") == kept.encode()
    assert "params" not in await read(api, job_id)
    assert "params" not in await read(api, job_id, "?exclude_params=True")


async def test_large_bodies_are_split_as_small_ones_are(api: Api):
    circuit = "Q" * 300_000
    job_id = await api.submit(params={"pubs": [[circuit]]}, tags=["large"])

    told = await read(api, job_id, "")
    assert (told["params"], told["tags"]) == ({"pubs": [[circuit]]}, ["large"])


async def test_cost_is_capped(api: Api):
    assert (await read(api, await api.submit(cost=99_999)))["cost"] == 10_800


async def test_cost_over_the_workloads_max_ttl_is_refused(api: Api):
    wish = {"mode": "batch", "backend": "fake_manila", "max_ttl": 100}
    session_id = (await api.ask("POST", "/sessions", json=wish)).json()["id"]

    refused = await api.ask("POST", "/jobs", json=SAMPLER | {"session_id": session_id, "cost": 101})
    accepted = await api.ask("POST", "/jobs", json=SAMPLER | {"session_id": session_id, "cost": 99})

    assert refused.status_code == 400
    assert "101 s" in one(refused)["message"]
    assert "100 s" in one(refused)["message"]
    assert accepted.json()["session_id"] == session_id


@pytest.mark.parametrize(
    ("tags", "code"),
    [(["t"] * 9, problems.TOO_MANY_TAGS), (["x" * 87], problems.TAG_TOO_LONG)],
)
async def test_tags_have_limits(api: Api, tags: list[str], code: int):
    job_id = await api.submit(tags=["x" * 86] * 8)

    for answer in (
        await api.ask("POST", "/jobs", json=SAMPLER | {"tags": tags}),
        await api.ask("PUT", f"/jobs/{job_id}/tags", json={"tags": tags}),
    ):
        assert (answer.status_code, one(answer)["code"]) == (400, code)


async def test_tags_are_replaced_and_cleared(api: Api):
    job_id = await api.submit(tags=["a"])

    answer = await api.ask("PUT", f"/jobs/{job_id}/tags", json={"tags": ["b", "c"]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await read(api, job_id))["tags"] == ["b", "c"]

    await api.ask("PUT", f"/jobs/{job_id}/tags", json={"tags": []})
    assert (await read(api, job_id))["tags"] == []


async def test_what_a_worker_refuses_leaves_nothing_behind(api: Api):
    reason = Reason(message="Program not found", code=1234, solution="Use sampler.")
    api.workers.verdict = Outcome(error=reason, status=404)

    answer = await api.ask("POST", "/jobs", json=SAMPLER)

    assert answer.status_code == 404
    assert (one(answer)["code"], one(answer)["solution"]) == (1234, "Use sampler.")
    assert await api.is_empty()


async def test_a_fault_of_the_workers_is_a_503_and_nothing_is_stored(api: Api):
    reason = Reason(message="Three workers died.", code=9999)
    api.workers.verdict = Outcome(error=reason, service_fault=True)

    answer = await api.ask("POST", "/jobs", json=SAMPLER)

    assert (answer.status_code, one(answer)["message"]) == (503, "Three workers died.")
    assert await api.is_empty()


async def test_a_closed_session_takes_no_jobs(api: Api):
    wish = {"mode": "batch", "backend": "fake_manila"}
    session_id = (await api.ask("POST", "/sessions", json=wish)).json()["id"]
    await api.ask("PATCH", f"/sessions/{session_id}", json={"accepting_jobs": False})

    answer = await api.ask("POST", "/jobs", json=SAMPLER | {"session_id": session_id})

    assert (answer.status_code, one(answer)["code"]) == (400, problems.SESSION_CLOSED)
    assert not api.workers.validated


async def test_a_session_closed_during_validation_takes_no_job_and_keeps_no_payload(api: Api):
    wish = {"mode": "batch", "backend": "fake_manila"}
    session_id = (await api.ask("POST", "/sessions", json=wish)).json()["id"]

    async def closing(task):
        await api.ask("PATCH", f"/sessions/{session_id}", json={"accepting_jobs": False})
        return Outcome()

    api.workers.run = closing
    answer = await api.ask("POST", "/jobs", json=SAMPLER | {"session_id": session_id})

    assert (answer.status_code, one(answer)["code"]) == (400, problems.SESSION_CLOSED)
    assert not list((api.config.data / "payloads").iterdir())
    assert not await api.store.known_jobs()


async def test_a_job_goes_to_the_backend_of_its_session(api: Api):
    wish = {"mode": "batch", "backend": "fake_lagos"}
    session_id = (await api.ask("POST", "/sessions", json=wish)).json()["id"]

    answer = await api.ask("POST", "/jobs", json=SAMPLER | {"session_id": session_id})

    assert answer.status_code == 400
    assert "fake_lagos" in one(answer)["message"]


async def test_an_unknown_session_is_a_404(api: Api):
    answer = await api.ask("POST", "/jobs", json=SAMPLER | {"session_id": "nowhere"})

    assert (answer.status_code, one(answer)["code"]) == (404, problems.NOT_FOUND)


async def test_a_poll_of_a_running_job_is_held_until_it_ends(api: Api):
    job_id = await api.submit()
    poll = asyncio.create_task(read(api, job_id))
    await asyncio.sleep(0.01)
    assert not poll.done()

    await api.finish(job_id)

    assert (await poll)["status"] == "Completed"


async def test_a_poll_of_a_running_job_is_answered_after_a_moment(api: Api):
    job_id = await api.submit()
    loop = asyncio.get_running_loop()

    before = loop.time()
    told = await read(api, job_id)

    assert told["status"] == "Running"
    assert loop.time() - before > 0.035


async def test_a_poll_of_a_queued_or_final_job_is_never_held(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    first, second, third = [await api.submit() for _ in range(3)]  # two lanes
    held = []

    async def hold(job_id: str, timeout_s: float) -> None:
        held.append((job_id, timeout_s))

    with monkeypatch.context() as patched:
        patched.setattr(type(api.driver), "wait_for_end", staticmethod(hold))
        assert (await read(api, third))["status"] == "Queued"
    await api.finish(first, second, third)
    with monkeypatch.context() as patched:
        patched.setattr(type(api.driver), "wait_for_end", staticmethod(hold))
        assert (await read(api, first))["status"] == "Completed"

    assert held == []


async def test_jobs_are_listed_newest_first_in_pages_with_the_total(api: Api):
    ids = []
    for _ in range(5):
        ids.append(await api.submit())
        api.clock.advance(1_000)

    answer = await api.ask("GET", "/jobs?limit=2&offset=1")
    page = JobPage.model_validate_json(answer.content, extra="forbid")

    assert [job.id for job in page.jobs] == [ids[3], ids[2]]
    assert (page.count, page.limit, page.offset) == (5, 2, 1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("?sort=ASC", [0, 1, 2]),
        ("?limit=0", [2, 1, 0]),
        ("?limit=201&offset=-1", [2, 1, 0]),
        ("?tags=x&tags=y", [1]),
        ("?tags=x", [2, 1]),
        ("?program=estimator", [2]),
        ("?backend=fake_lagos", [2]),
        ("?backend=nowhere", []),
        ("?session_id=nowhere", []),
        ("?pending=true", [2, 1]),
        ("?pending=False", [0]),
        ("?created_after=2026-09-21T14:13:21%2B00:00", [2, 1]),
        ("?created_before=2026-09-21T14:13:21Z", [1, 0]),
        ("?created_before=2026-09-21T16:13:20%2B02:00", [0]),
        ("?include_mocks=True", [2, 1, 0]),
    ],
)
async def test_jobs_are_listed_by(api: Api, query: str, found: list[int]):
    ids = [await api.submit()]
    await api.finish(ids[0])
    api.clock.advance(1_000)
    ids.append(await api.submit(tags=["y", "x"]))
    api.clock.advance(1_000)
    ids.append(await api.submit(tags=["x"], program_id="estimator", backend="fake_lagos"))

    answer = await api.ask("GET", f"/jobs{query}")

    assert [job["id"] for job in answer.json()["jobs"]] == [ids[at] for at in found]
    assert answer.json()["count"] == len(found)
    assert answer.json()["limit"] == 200


async def test_a_list_may_hold_the_params(api: Api):
    await api.submit(params={"pubs": [1]})
    await api.submit(params={"pubs": [2]}, private=True)

    answer = await api.ask("GET", "/jobs?exclude_params=False&sort=ASC")

    assert [job["params"] for job in answer.json()["jobs"]] == [{"pubs": [1]}, {}]


async def test_a_job_is_cancelled(api: Api):
    running, _, queued = [await api.submit() for _ in range(3)]

    answers = [await api.ask("POST", f"/jobs/{one}/cancel") for one in (running, queued)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert (await read(api, running))["state"]["status"] == "Cancelled"
    assert (await read(api, queued))["status"] == "Cancelled"


async def test_a_job_that_has_ended_cannot_be_cancelled(api: Api):
    job_id = await api.submit()
    await api.finish(job_id)

    answer = await api.ask("POST", f"/jobs/{job_id}/cancel")

    assert (answer.status_code, one(answer)["code"]) == (409, problems.JOB_NOT_CANCELLABLE)


async def test_only_a_job_that_has_ended_is_deleted(api: Api):
    job_id = await api.submit()

    early = await api.ask("DELETE", f"/jobs/{job_id}")
    await api.finish(job_id)
    late = await api.ask("DELETE", f"/jobs/{job_id}")
    again = await api.ask("DELETE", f"/jobs/{job_id}")

    assert (early.status_code, one(early)["code"]) == (400, problems.JOB_NOT_FINAL)
    assert (late.status_code, again.status_code) == (204, 404)
    assert not (api.config.data / "payloads" / job_id).exists()


async def test_a_failed_job_tells_why(api: Api):
    reason = Reason(message="Circuit too large.", code=3243, solution="Make it smaller.")
    api.workers.outcomes[Stage.PREPARE] = Outcome(error=reason)
    job_id = await api.submit()
    await api.finish(job_id)

    told = await read(api, job_id)

    assert told["status"] == "Failed"
    assert told["state"] == {
        "status": "Failed",
        "reason": "Circuit too large. Make it smaller.",  # all that the client shows
        "reason_code": 3243,
        "reason_solution": "Make it smaller.",
    }


async def test_a_job_that_ran_too_long_says_so_beside_its_state_only(api: Api):
    job_id = await api.submit()
    await api.send(JobCancelRequested(job_id=job_id))
    reason = Reason(message="Ran too long", code=problems.RAN_TOO_LONG)
    await api.store.save([replace(await api.record(job_id), reason=reason)], [])

    told = await read(api, job_id)

    assert told["status"] == "Cancelled - Ran too long"
    assert told["state"]["status"] == JobStatus.CANCELLED
    assert told["state"]["reason_code"] == 1305


async def test_routes_answer_without_their_prefix_too(api: Api):
    job_id = await api.submit()

    answer = await api.http.get(f"/jobs/{job_id}", headers=api.headers())

    assert answer.json()["id"] == job_id
