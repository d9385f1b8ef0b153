from dataclasses import replace

import pytest
from tests.api.conftest import ALICE, SAMPLER, START, Api, user
from tests.api.test_problems import one

from queuebit.api import problems
from queuebit.api.estimates import Estimate
from queuebit.config import Config, InstanceConfig
from queuebit.core.model import Reason
from queuebit.engines.task import Outcome

TOLD = {"overhead_ms": 2_500, "circuits": 4, "executions": 4_000, "qubits": 2, "depth": 7}
VERDICT = Outcome(estimated_ms=30_250, metrics={**TOLD, "limits": []})


@pytest.fixture
def config(config: Config) -> Config:
    """The usual one, and an instance that must stop at its limit."""
    metered = InstanceConfig(name="metered", plan="pay-as-you-go", limit_s=40)
    users = (user("alice", ALICE, "lab", "class", "metered"),)
    return config.model_copy(update={"instances": (*config.instances, metered), "users": users})


@pytest.fixture(autouse=True)
def verdict(api: Api):
    api.workers.verdict = VERDICT


def estimated(api: Api, ms: int, overhead_ms: int = 2_500) -> None:
    metrics = {**VERDICT.metrics, "overhead_ms": overhead_ms}
    api.workers.verdict = replace(VERDICT, estimated_ms=ms, metrics=metrics)


async def ask(api: Api, *, instance: str = "lab", **changes) -> dict:
    answer = await api.ask("POST", "/queuebit/estimates", json=SAMPLER | changes, instance=instance)
    assert answer.status_code == 200, answer.text
    Estimate.model_validate_json(answer.content, extra="forbid")
    told: dict = answer.json()
    return told


async def workload(api: Api, mode: str = "batch", max_ttl: int = 100) -> str:
    wish = {"mode": mode, "backend": "fake_manila", "max_ttl": max_ttl}
    session_id: str = (await api.ask("POST", "/sessions", json=wish)).json()["id"]
    return session_id


async def test_an_estimate_tells_what_the_worker_found_and_stores_nothing(api: Api):
    assert await ask(api) == {
        "estimated_running_time_seconds": 30.25,
        "overhead_seconds": 2.5,
        "executions": 4_000,
        "circuits": 4,
        "qubits": 2,
        "depth": 7,
        "limits": [],
        "warnings": [],
    }
    (task,) = api.workers.validated
    assert (task.stage, task.only_estimate, task.program_id) == (None, True, "sampler")
    assert task.backend == "fake_manila"
    assert await api.is_empty()


async def test_limits_that_the_worker_found_are_told(api: Api):
    limit = {"code": 1208, "message": "20000000 executions", "solution": "Split the job."}
    api.workers.verdict = replace(VERDICT, metrics={**TOLD, "limits": [limit]})

    assert (await ask(api))["limits"] == [limit]


async def test_what_can_never_run_is_refused_as_a_job_is_and_leaves_nothing(api: Api):
    error = Reason(message="PUB 0: no gate foo", code=1517, solution="Transpile it.")
    api.workers.verdict = Outcome(error=error)

    estimate = await api.ask("POST", "/queuebit/estimates", json=SAMPLER)
    job = await api.ask("POST", "/jobs", json=SAMPLER)

    assert (estimate.status_code, one(estimate)) == (job.status_code, one(job))
    assert one(estimate)["code"] == 1517
    assert await api.is_empty()


@pytest.mark.parametrize(
    "changes", [{"backend": "none"}, {"session_id": "none"}, {"hub": "x"}, {"params": 3}]
)
async def test_a_body_that_is_no_job_is_refused_as_it_is_there(api: Api, changes):
    answers = [
        await api.ask("POST", path, json=SAMPLER | changes)
        for path in ("/queuebit/estimates", "/jobs")
    ]

    assert [answer.status_code // 100 for answer in answers] == [4, 4]
    assert one(answers[0]) == one(answers[1])
    assert api.workers.validated == []


async def test_a_fault_of_ours_is_503(api: Api):
    error = Reason(message="The validation failed: KeyError", code=9999)
    api.workers.verdict = Outcome(error=error, service_fault=True)

    assert (await api.ask("POST", "/queuebit/estimates", json=SAMPLER)).status_code == 503
    assert await api.is_empty()


async def test_it_may_be_as_large_as_a_job(api: Api):
    large = {"pubs": [["Q" * (problems.SMALL_BODY + 1)]]}

    assert (await ask(api, params=large))["executions"] == 4_000
    too_large = SAMPLER | {"params": {"pubs": [["Q" * 2 * 2**20]]}}
    answer = await api.ask("POST", "/queuebit/estimates", json=too_large)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("cost", "ms", "allowed"),
    [(None, 10_800_001, 10_800), (99_999, 10_800_001, 10_800), (30, 30_001, 30)],
)
async def test_more_than_the_maximum_execution_time_is_a_limit(api: Api, cost, ms, allowed):
    estimated(api, ms - 1)
    assert (await ask(api, cost=cost))["limits"] == []

    estimated(api, ms)
    (limit,) = (await ask(api, cost=cost))["limits"]
    assert limit["code"] == problems.RAN_TOO_LONG
    assert f"{ms / 1000:g} s" in limit["message"]
    assert f"execution time of {allowed} s" in limit["message"]


async def test_more_than_is_left_of_a_workloads_life_is_a_limit(api: Api):
    session_id = await workload(api)
    estimated(api, 100_001)
    (limit,) = (await ask(api, session_id=session_id))["limits"]
    assert limit["code"] == problems.SESSION_CLOSED
    assert f"batch {session_id}, 100 s" in limit["message"]

    await api.submit(session_id=session_id)  # starts its life
    api.clock.advance(40_000)
    estimated(api, 60_000)
    assert (await ask(api, session_id=session_id))["limits"] == []
    estimated(api, 60_001)
    (limit,) = (await ask(api, session_id=session_id))["limits"]
    assert f"batch {session_id}, 60 s" in limit["message"]
    assert api.clock.now() == START + 40_000


async def test_more_than_any_workload_of_the_plan_lives_is_a_warning(api: Api):
    estimated(api, 600_001)

    assert (await ask(api, instance="lab"))["warnings"] == []
    (warning,) = (await ask(api, instance="class"))["warnings"]
    assert "open plan lives longer than 600 s" in warning


async def test_an_estimate_that_is_mostly_overhead_warns(api: Api):
    estimated(api, 5_000, overhead_ms=2_500)
    assert (await ask(api))["warnings"] == []

    estimated(api, 5_000, overhead_ms=2_501)
    (warning,) = (await ask(api))["warnings"]
    assert warning.startswith("2.501 s of 5 s are the overhead")


async def test_a_session_is_charged_otherwise_and_that_is_told(api: Api):
    session_id = await workload(api, mode="dedicated")

    (warning,) = (await ask(api, session_id=session_id))["warnings"]
    assert warning.startswith("A session is charged for all the time")


async def test_more_than_is_left_of_the_instances_usage_is_a_limit(api: Api):
    estimated(api, 600_000)
    assert (await ask(api, instance="class"))["limits"] == []

    answer = await api.ask("POST", "/jobs", json=SAMPLER, instance="class")
    await api.finish(answer.json()["id"])  # uses 2.1 s
    estimated(api, 597_900)
    assert (await ask(api, instance="class"))["limits"] == []
    estimated(api, 597_901)
    (limit,) = (await ask(api, instance="class"))["limits"]
    assert limit == {
        "code": problems.USAGE_LIMIT,
        "message": "597.901 s of QPU time are more than what is left of the instance's limit of "
        "600 s, 597.9 s.",
        "solution": "It would run to its end: jobs wait only once the limit is reached.",
    }


async def test_where_jobs_are_stopped_at_the_limit_that_is_told(api: Api):
    estimated(api, 40_001)
    (limit,) = (await ask(api, instance="metered"))["limits"]
    assert "limit of 40 s, 40 s" in limit["message"]
    assert "would be stopped if others reach the limit" in limit["solution"]


async def test_a_job_has_its_estimate_before_it_runs(api: Api):
    *_, queued = [await api.submit() for _ in range(3)]

    told = (await api.ask("GET", f"/jobs/{queued}")).json()
    assert (told["status"], told["estimated_running_time_seconds"]) == ("Queued", 30.25)
