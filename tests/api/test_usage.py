"""What an instance has used, in the whole seconds in which IBM tells it."""

import pytest
from tests.api.conftest import ADA, Api

from queuebit.api.times import whole_seconds
from queuebit.tenancy import Grant, Role


@pytest.mark.parametrize(
    ("ms", "seconds"), [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (599_400, 600)]
)
def test_seconds_are_rounded_up(ms: int, seconds: int):
    assert whole_seconds(ms) == seconds


@pytest.mark.parametrize(("limit", "told"), [(2, 2), (2.1, 2), (2.11, 2), (2.7, 3), (60.5, 60)])
async def test_limits_are_whole_and_a_limit_that_is_reached_leaves_nothing(
    api: Api, limit: float, told: int
):
    """The client subtracts the one from the other; 2.1 s are used."""
    body = {"name": "chemistry", "limit_seconds": limit, "allocation_seconds": 99.6}
    await api.ask("POST", "/queuebit/instances", key=ADA, json=body)
    await api.parts.identity.put(Grant(user="alice", instance="chemistry", role=Role.MEMBER))
    crn = {"Service-CRN": api.parts.identity.directory.instances["chemistry"].crn}
    wish = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}}
    job_id = (await api.ask("POST", "/jobs", headers=crn, json=wish)).json()["id"]
    await api.finish(job_id)

    usage = (await api.ask("GET", "/instances/usage", headers=crn)).json()

    numbers = [value for key, value in usage.items() if key.endswith("_seconds")]
    assert numbers == [3, 100, told]
    assert all(type(number) is int for number in numbers)
    assert usage["usage_limit_reached"] == (limit <= 2.1)
    if usage["usage_limit_reached"]:
        assert usage["usage_limit_seconds"] - usage["usage_consumed_seconds"] <= 0
