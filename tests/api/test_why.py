import asyncio

from tests.api.conftest import BOB, Api

from queuebit.api.results import MetricsAnswer
from queuebit.api.why import Why
from queuebit.core.events import BackendStatusSet, StageEnded
from queuebit.core.model import BackendStatus, Stage

NOW = "2026-09-21T14:13:20.000Z"


async def ask(api: Api, path: str) -> dict:
    answer = await api.ask("GET", f"/queuebit/{path}/why")
    assert answer.status_code == 200, answer.text
    Why.model_validate_json(answer.content, extra="forbid")
    told: dict = answer.json()
    return told


async def open_workload(api: Api, mode: str = "batch") -> str:
    wish = {"mode": mode, "backend": "fake_manila"}
    session_id: str = (await api.ask("POST", "/sessions", json=wish)).json()["id"]
    return session_id


async def test_a_queued_job_is_told_its_place_the_rule_and_when_it_should_start(api: Api):
    _, _, third, fourth = [await api.submit() for _ in range(4)]

    told = await ask(api, f"jobs/{fourth}")

    # Nothing was seen yet: 1 s to prepare, a quarter of 2.5 s on the QPU, 0.5 s to finish. So the
    # QPU is free for the second job at 1.625 s, for the third at 3.75 s.
    assert told == {
        "id": fourth,
        "status": "Queued",
        "rule": "lanes busy",
        "reason": "All 2 lanes of fake_manila are busy, 2 with jobs of your instance. "
        "1 job goes first.",
        "source": "semantics 2.1",
        "position": 2,
        "ahead": {"session": 0, "batches": 0, "queue": 1, "ready": 0, "jobs": [third]},
        "until": None,
        "estimated_start": "2026-09-21T14:13:22.750Z",
        "estimated_completion": "2026-09-21T14:13:24.875Z",
        "no_estimate": None,
    }


async def test_a_running_and_an_ended_job_say_so_with_their_instants(api: Api):
    job_id = await api.submit()
    running = await ask(api, f"jobs/{job_id}")
    await api.finish(job_id)
    ended = await ask(api, f"jobs/{job_id}")

    assert (running["status"], running["reason"]) == (
        "Running",
        "It is being prepared for the QPU.",
    )
    assert (running["rule"], running["position"], running["ahead"]) == (None, None, None)
    assert running["estimated_start"] == NOW
    assert running["estimated_completion"] == "2026-09-21T14:13:22.125Z"
    assert (ended["reason"], ended["estimated_start"]) == ("It has ended: Completed.", NOW)
    assert ended["estimated_completion"] == NOW


async def test_stages_that_were_seen_change_the_estimate(api: Api):
    first, second, third = [await api.submit() for _ in range(3)]
    api.clock.advance(10_000)
    await api.finish(first, second, third)
    _, _, waiting = [await api.submit() for _ in range(3)]

    told = await ask(api, f"jobs/{waiting}")

    # Preparing took 10 s twice and then nothing, so 8 s are expected; all else took nothing.
    assert told["estimated_start"] == "2026-09-21T14:13:38.000Z"


async def test_a_job_that_nothing_starts_has_no_estimate(api: Api):
    event = BackendStatusSet(backend="fake_manila", status=BackendStatus.PAUSED, reason="moving")
    await api.send(event)
    told = await ask(api, f"jobs/{await api.submit()}")

    assert (told["rule"], told["estimated_start"]) == ("backend paused", None)
    assert told["reason"] == "fake_manila is paused and starts no jobs: moving."
    assert told["no_estimate"] == "as things stand it never happens"


async def test_a_workload_is_told_what_its_next_job_waits_for(api: Api):
    session_id = await open_workload(api)
    empty = await ask(api, f"sessions/{session_id}")
    jobs = [await api.submit(session_id=session_id) for _ in range(4)]
    waits = await ask(api, f"sessions/{session_id}")
    await api.finish(*jobs)
    await api.ask("PATCH", f"/sessions/{session_id}", json={"accepting_jobs": False})
    closed = await ask(api, f"sessions/{session_id}")

    assert (empty["status"], empty["rule"], empty["estimated_start"]) == ("open", None, None)
    assert empty["until"] == "2026-09-21T14:43:20.000Z"
    assert (waits["status"], waits["rule"], waits["position"]) == ("active", "lanes busy", 1)
    assert waits["reason"].startswith(f"Its next job is {jobs[2]}. All 2 lanes")
    start, end = waits["estimated_start"], waits["estimated_completion"]
    assert NOW < start < end
    assert (closed["status"], closed["reason"]) == ("closed", "It is closed.")


async def test_what_is_anothers_is_neither_found_nor_named(api: Api):
    theirs = await open_workload(api, "dedicated")
    their_job = await api.submit(session_id=theirs)
    answers = [
        await api.ask("GET", f"/queuebit/{path}/why", key=BOB, instance="other")
        for path in (f"jobs/{their_job}", f"sessions/{theirs}", "jobs/none", "sessions/none")
    ]
    mine = await api.ask(
        "POST", "/jobs", key=BOB, instance="other", json={"program_id": "sampler"} | _job()
    )
    told = await api.ask(
        "GET", f"/queuebit/jobs/{mine.json()['id']}/why", key=BOB, instance="other"
    )

    assert [answer.status_code for answer in answers] == [404] * 4
    assert told.json()["rule"] == "session active"
    assert told.json()["reason"].startswith("A session of another instance has fake_manila")
    for secret in (theirs, their_job, "lab"):
        assert secret not in told.text


def _job() -> dict:
    return {"backend": "fake_manila", "params": {"pubs": [], "version": 2}}


async def test_metrics_of_a_queued_job_hold_the_reason_and_ibms_old_keys(api: Api):
    _, _, job_id = [await api.submit() for _ in range(3)]

    answer = await api.ask("GET", f"/jobs/{job_id}/metrics")
    told = answer.json()

    MetricsAnswer.model_validate_json(answer.content)
    assert told["position_in_queue"] == 1
    assert told["estimated_start_time"] == "2026-09-21T14:13:22.125Z"
    assert told["estimated_completion_time"] > told["estimated_start_time"]
    assert told["queuebit"]["waiting"]["rule"] == "lanes busy"
    assert told["queuebit"]["waiting"]["ahead"]["queue"] == 0


async def test_metrics_of_a_job_that_waits_for_the_qpu_hold_the_reason(api: Api):
    first, second = [await api.submit() for _ in range(2)]
    for job_id in (first, second):
        await api.send(StageEnded(job_id=job_id, run=1, stage=Stage.PREPARE))
    told = (await api.ask("GET", f"/jobs/{second}/metrics")).json()

    assert told["queuebit"]["waiting"]["reason"] == (
        f"The QPU of fake_manila is busy with job {first}."
    )
    assert "position_in_queue" not in told


async def test_many_may_ask_at_once(api: Api):
    jobs = [await api.submit() for _ in range(6)]

    told = await asyncio.gather(*(ask(api, f"jobs/{jobs[-1]}") for _ in range(30)))

    assert told == [told[0]] * 30
    assert told[0]["position"] == 4
