"""Hard budgets over REST: a refusal, an estimate and usage say the same."""

import pytest
from tests.api.conftest import ALICE, SAMPLER, Api, user
from tests.api.test_problems import one

from queuebit.config import Config, InstanceConfig, PlanConfig
from queuebit.engines.task import Outcome


@pytest.fixture
def config(config: Config) -> Config:
    plan = PlanConfig(name="course", sessions="batch", budget="hard", user_limit_s=5, limit_s=60)
    course = InstanceConfig(name="course", plan="course")
    return config.model_copy(
        update={
            "plans": (*config.plans, plan),
            "instances": (*config.instances, course),
            "users": (user("alice", ALICE, "lab", "class", "course"), *config.users[1:]),
        }
    )


async def submit(api: Api):
    api.workers.verdict = Outcome(estimated_ms=2_500)
    return await api.ask("POST", "/jobs", json=SAMPLER, instance="course")


async def test_what_does_not_fit_is_refused_as_the_estimate_says(api: Api):
    jobs = [(await submit(api)).json()["id"] for _ in range(2)]
    api.workers.verdict = Outcome(
        estimated_ms=2_500,
        metrics={
            "overhead_ms": 2_000,
            "executions": 1,
            "circuits": 1,
            "qubits": 1,
            "depth": 1,
            "limits": [],
        },
    )
    estimate = await api.ask("POST", "/queuebit/estimates", json=SAMPLER, instance="course")
    refused = await submit(api)

    (limit,) = estimate.json()["limits"]
    assert refused.status_code == 409
    assert one(refused) == limit | {"more_info": one(refused)["more_info"]}
    assert limit["message"] == (
        "The job needs 2.5 s of QPU time, and the user's limit of 5 s leaves 0 s: 0 s are used, "
        "5 s are reserved by jobs that have not ended."
    )

    await api.finish(*jobs)

    usage = (await api.ask("GET", "/instances/usage", instance="course")).json()
    assert usage["usage_consumed_seconds"] == 5  # 2 x 2.1
    assert usage["queuebit"] == {
        "whose": "user",
        "limit_seconds": 5,
        "used_seconds": 4.2,
        "reserved_seconds": 0,
        "left_seconds": 0.8,
    }
    assert "0.8 s: 4.2 s are used, 0 s are reserved" in one(await submit(api))["message"]


async def test_another_instance_of_the_user_has_limits_of_its_own(api: Api):
    for _ in range(3):
        await submit(api)

    assert (await api.ask("POST", "/jobs", json=SAMPLER)).status_code == 200


@pytest.mark.parametrize(
    ("settings", "rule"),
    [({"budget": "hard"}, "needs sessions"), ({"user_limit_s": 5}, "needs budget")],
)
def test_a_plan_that_cannot_be_kept_is_refused(settings: dict, rule: str):
    with pytest.raises(ValueError, match=rule):
        PlanConfig(name="plan", **settings)
