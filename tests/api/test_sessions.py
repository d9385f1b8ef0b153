import uuid

import pytest
from tests.api.conftest import ALICE, SAMPLER, Api, user
from tests.api.test_problems import one

from queuebit.api import problems
from queuebit.api.sessions import SessionAnswer
from queuebit.config import Config, InstanceConfig, PlanConfig

BATCH = {"mode": "batch", "backend": "fake_manila"}
SESSION = {"mode": "dedicated", "backend": "fake_manila"}


@pytest.fixture
def config(config: Config) -> Config:
    """One more instance for alice, whose plan opens sessions as batches, of 15 minutes."""
    plan = PlanConfig(
        name="brief", sessions="batch", max_ttl_s=7_200, default_ttl_s=900, idle_batches="close"
    )
    brief = InstanceConfig(name="brief", plan="brief")
    return config.model_copy(
        update={
            "plans": (*config.plans, plan),
            "instances": (*config.instances, brief),
            "users": (user("alice", ALICE, "lab", "class", "brief"), *config.users[1:]),
        }
    )


async def opened(api: Api, wish: dict) -> str:
    answer = await api.ask("POST", "/sessions", json=wish)
    assert answer.status_code == 200, answer.text
    session_id: str = answer.json()["id"]
    return session_id


async def read(api: Api, session_id: str) -> dict:
    answer = await api.ask("GET", f"/sessions/{session_id}")
    assert answer.status_code == 200
    SessionAnswer.model_validate_json(answer.content, extra="forbid")
    told: dict = answer.json()
    return told


@pytest.mark.parametrize("mode", ["batch", "dedicated"])
async def test_a_new_one_is_open_and_has_used_nothing(api: Api, mode: str):
    wish = {"mode": mode, "backend": "fake_manila", "instance": "crn:x", "unknown": 1}
    told = (await api.ask("POST", "/sessions", json=wish)).json()

    assert uuid.UUID(told.pop("id"))
    assert told == {
        "backend_name": "fake_manila",
        "mode": mode,
        "state": "open",
        "state_reason": "session_created",
        "accepting_jobs": True,
        "interactive_ttl": 60,
        "max_ttl": 28_800,
        "active_ttl": 28_800,
        "started_at": None,
        "activated_at": None,
        "closed_at": None,
        "last_job_started": None,
        "last_job_completed": None,
        "timestamps": [{"status": "open", "timestamp": "2026-09-21T14:13:20.000Z"}],
        "user_id": "alice",
        "elapsed_time": None,
        "queuebit": {"active_seconds": 0, "modelled_seconds": 0} if mode == "dedicated" else None,
    }


async def test_the_answers_of_opening_and_reading_are_the_same(api: Api):
    answer = await api.ask("POST", "/sessions", json=BATCH)

    assert answer.json() == await read(api, answer.json()["id"])


async def test_usage_of_a_session_is_wall_clock_while_active(api: Api):
    session_id = await opened(api, SESSION)
    api.clock.advance(5_000)
    job_id = await api.submit(session_id=session_id)
    api.clock.advance(10_000)

    told = await read(api, session_id)
    assert (told["state"], told["elapsed_time"]) == ("active", 10.0)
    assert told["active_ttl"] == 28_790
    assert told["started_at"] == told["activated_at"] == "2026-09-21T14:13:25.000Z"

    await api.finish(job_id)
    api.clock.advance(60_000)
    await api.ask("PATCH", f"/sessions/{session_id}", json={"accepting_jobs": True})
    await api.submit()  # an event, whatever it is
    told = await read(api, session_id)
    # The job took 2.1 s of QPU time and no real time: that passed on the session's own clock.
    assert (told["state"], told["elapsed_time"]) == ("inactive", 72.1)
    assert told["queuebit"] == {"active_seconds": 70.0, "modelled_seconds": 2.1}
    assert told["active_ttl"] == 28_727
    assert [moved["status"] for moved in told["timestamps"]] == ["open", "active", "inactive"]


async def test_usage_of_a_batch_is_that_of_its_jobs(api: Api):
    session_id = await opened(api, BATCH)
    jobs = [await api.submit(session_id=session_id) for _ in range(2)]
    api.clock.advance(10_000)
    assert (await read(api, session_id))["elapsed_time"] == 0

    await api.finish(*jobs)

    assert (await read(api, session_id))["elapsed_time"] == 4.2


async def test_usage_of_one_closed_without_any_job_is_zero(api: Api):
    session_id = await opened(api, SESSION)
    await api.ask("DELETE", f"/sessions/{session_id}/close")

    told = await read(api, session_id)
    assert (told["state"], told["elapsed_time"]) == ("closed", 0.0)
    assert told["closed_at"] == "2026-09-21T14:13:20.000Z"


async def test_closing_lets_its_jobs_end(api: Api):
    session_id = await opened(api, BATCH)
    jobs = [await api.submit(session_id=session_id) for _ in range(3)]

    answer = await api.ask("PATCH", f"/sessions/{session_id}", json={"accepting_jobs": False})
    during = await read(api, session_id)
    await api.finish(*jobs)
    after = await read(api, session_id)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (during["state"], during["accepting_jobs"]) == ("active", False)
    assert after["state"] == "closed"
    assert {(await api.record(job)).status for job in jobs} == {"Completed"}


async def test_cancelling_cancels_what_is_queued(api: Api):
    session_id = await opened(api, BATCH)
    jobs = [await api.submit(session_id=session_id) for _ in range(3)]

    answer = await api.ask("DELETE", f"/sessions/{session_id}/close")
    await api.finish(*jobs)

    assert (answer.status_code, answer.content) == (204, b"")
    statuses = [(await api.record(job)).status for job in jobs]
    assert statuses == ["Completed", "Completed", "Cancelled"]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_second_close_changes_nothing(api: Api, method: str):
    session_id = await opened(api, BATCH)

    async def close() -> tuple[int, dict]:
        path = f"/sessions/{session_id}" + ("/close" if method == "DELETE" else "")
        answer = await api.ask(method, path, json={"accepting_jobs": False})
        return answer.status_code, await read(api, session_id)

    first = await close()
    api.clock.advance(1_000)
    second = await close()

    assert first[0] == 204
    assert first[1]["state"] == "closed"
    assert second == first


async def test_what_is_closed_does_not_open_again(api: Api):
    session_id = await opened(api, BATCH)
    reopen = {"accepting_jobs": True}

    while_open = await api.ask("PATCH", f"/sessions/{session_id}", json=reopen)
    await api.ask("DELETE", f"/sessions/{session_id}/close")
    when_closed = await api.ask("PATCH", f"/sessions/{session_id}", json=reopen)

    assert while_open.status_code == 204
    assert (when_closed.status_code, one(when_closed)["code"]) == (400, problems.SESSION_CLOSED)


async def test_ttls_are_as_wished(api: Api):
    wish = SESSION | {"max_ttl": 3_600, "active_ttl": 1_800, "interactive_ttl": 5}
    told = await read(api, await opened(api, wish))

    assert (told["max_ttl"], told["active_ttl"], told["interactive_ttl"]) == (3_600, 1_800, 5)


async def test_the_active_ttl_is_the_max_ttl_unless_wished(api: Api):
    told = await read(api, await opened(api, SESSION | {"max_ttl": 30}))

    assert (told["max_ttl"], told["active_ttl"], told["interactive_ttl"]) == (30, 30, 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_ttl": 28_801}, "max_ttl 28801 s is over the premium plan's maximum of 28800 s."),
        ({"max_ttl": 60, "active_ttl": 61}, "active_ttl 61 s is over its max_ttl of 60 s."),
        (
            {"max_ttl": 60, "interactive_ttl": 61},
            "interactive_ttl 61 s is over its active_ttl of 60 s.",
        ),
        ({"max_ttl": 0}, "max_ttl: Input should be greater than or equal to 1"),
        ({"max_ttl": 2**31}, "max_ttl: Input should be less than or equal to 2147483647"),
        ({"mode": "shared"}, "mode: Input should be 'batch' or 'dedicated'"),
        ({"backend": "fake_nowhere"}, "There is no backend 'fake_nowhere'."),
        ({"backend": None}, "A backend is needed."),
    ],
)
async def test_a_wish_that_breaks_a_rule_is_refused_by_name(api: Api, changes: dict, message: str):
    answer = await api.ask("POST", "/sessions", json=SESSION | changes)

    assert answer.status_code == 400
    assert message in one(answer)["message"]
    assert await api.is_empty()


async def test_backend_name_stands_in_for_backend(api: Api):
    wish = {"mode": "batch", "backend_name": "fake_lagos"}

    assert (await read(api, await opened(api, wish)))["backend_name"] == "fake_lagos"


async def test_the_open_plan_has_no_sessions_and_short_batches(api: Api):
    session = await api.ask("POST", "/sessions", json=SESSION, instance="class")
    long = await api.ask("POST", "/sessions", json=BATCH | {"max_ttl": 601}, instance="class")
    batch = await api.ask("POST", "/sessions", json=BATCH, instance="class")

    assert (session.status_code, one(session)["code"]) == (400, problems.NO_SESSIONS)
    assert "execution mode" in one(session)["solution"]
    assert "601 s" in one(long)["message"]
    assert "600 s" in one(long)["message"]
    assert batch.json()["max_ttl"] == 600


async def test_a_plan_has_a_default_max_ttl_and_a_most(api: Api):
    long = {**BATCH, "max_ttl": 7_200}

    default = await api.ask("POST", "/sessions", json=BATCH, instance="brief")
    assert default.json()["max_ttl"] == 900
    assert (await api.ask("POST", "/sessions", json=long, instance="brief")).status_code == 200
    refused = await api.ask("POST", "/sessions", json=BATCH | {"max_ttl": 7_201}, instance="brief")
    assert "7201 s" in one(refused)["message"]
    assert "7200 s" in one(refused)["message"]


async def test_a_plan_may_open_a_batch_where_a_session_is_asked_for(api: Api):
    answer = await api.ask("POST", "/sessions", json=SESSION, instance="brief")

    assert (answer.status_code, answer.json()["mode"]) == (200, "batch")


@pytest.mark.parametrize(("instance", "state"), [("lab", "inactive"), ("brief", "closed")])
async def test_a_plan_says_whether_an_idle_batch_ends(api: Api, instance: str, state: str):
    at = {"instance": instance}
    answer = await api.ask("POST", "/sessions", json=BATCH, **at)
    session_id = answer.json()["id"]
    wish = SAMPLER | {"session_id": session_id}
    job = (await api.ask("POST", "/jobs", json=wish, **at)).json()
    await api.finish(job["id"])
    api.clock.advance(60_000)
    await api.ask("PATCH", f"/sessions/{session_id}", json={"accepting_jobs": True}, **at)
    await api.submit()  # an event, whatever it is

    told = (await api.ask("GET", f"/sessions/{session_id}", **at)).json()

    assert (told["state"], told["state_reason"]) == (state, "interactive_ttl_reached")


async def test_an_instance_has_as_many_open_sessions_as_its_plan_allows(api: Api, monkeypatch):
    """Each open one costs every decision a little, whoever it belongs to."""
    plans = api.parts.identity._plans
    for name, plan in list(plans.items()):
        monkeypatch.setitem(plans, name, plan.model_copy(update={"open_sessions_max": 2}))
    body = {"mode": "batch", "backend": "fake_manila"}
    first = (await api.ask("POST", "/sessions", json=body)).json()["id"]
    assert (await api.ask("POST", "/sessions", json=body)).status_code == 200

    answer = await api.ask("POST", "/sessions", json=body)

    assert (answer.status_code, one(answer)["code"]) == (400, 3458)
    assert "has 2 open batches and sessions; its limit is 2" in one(answer)["message"]
    await api.ask("DELETE", f"/sessions/{first}/close")
    assert (await api.ask("POST", "/sessions", json=body)).status_code == 200
