"""IBM Cloud's Resource Controller, as IBM's qauvern reads and writes it (0.14, api_client.py)."""

from typing import Any

import httpx
import pytest
from tests.api.conftest import ADA, Api

from queuebit.api.identity import plan_id
from queuebit.config import PLANS, PlanConfig
from queuebit.tenancy import Grant, Role

SERVICE = "b6049020-80f4-11eb-a0f7-e35ec9b4054f"
PREMIUM = "7f666d17-7893-47d8-bf9d-2b2389fc4dfc"
OPEN = "850b21a7-71de-4e53-9441-1abdd202f35d"


def test_ids_of_ibms_plans_are_ibms():
    ids = {plan.name: plan_id(plan) for plan in PLANS}

    assert ids["premium"] == PREMIUM
    assert ids["open"] == OPEN
    assert ids["pay-as-you-go"] == "5304b575-3cff-4455-90dc-ae4367762093"
    assert ids["flex"] == "53bde9d3-cdbb-46f5-a98f-60ebcadf7260"
    assert plan_id(PlanConfig(name="ours")) not in ids.values()
    assert len(set(ids.values())) == len(PLANS)


@pytest.fixture
async def chemistry(api: Api) -> str:
    """CRN of an instance that ada administers and manages, and alice manages."""
    body = {"name": "chemistry", "allocation_seconds": 7200.4, "limit_seconds": 3600}
    await api.ask("POST", "/queuebit/instances", key=ADA, json=body)
    for who in ("ada", "alice"):
        await api.parts.identity.put(Grant(user=who, instance="chemistry", role=Role.MANAGER))
    crn: str = api.parts.identity.directory.instances["chemistry"].crn
    return crn


async def listed(api: Api, **query: str) -> list[dict[str, Any]]:
    answer = await api.http.get(
        "/v2/resource_instances", headers={"Authorization": f"apikey {ADA}"}, params=query
    )
    told = answer.json()
    assert (told["rows_count"], told["next_url"]) == (len(told["resources"]), None)
    found: list[dict[str, Any]] = told["resources"]
    return found


async def patched(api: Api, crn: str, key: str = ADA, **parameters: Any) -> httpx.Response:
    """As qauvern sends it: the CRN with its slash and colons quoted."""
    quoted = crn.replace(":", "%3A").replace("/", "%2F")
    return await api.http.patch(
        f"/v2/resource_instances/{quoted}",
        headers={"Authorization": f"apikey {key}"},
        json={"parameters": parameters},
    )


async def extensions(api: Api) -> dict[str, Any]:
    (found,) = await listed(api, name="chemistry")
    told: dict[str, Any] = found["extensions"]
    return told


async def test_instances_are_found_by_service_and_plan(api: Api, chemistry: str):
    found = await listed(api, resource_id=SERVICE, resource_plan_id=PREMIUM)

    assert {one["name"] for one in found} == {"lab", "chemistry"}
    assert {one["resource_plan_id"] for one in found} == {PREMIUM}
    assert await listed(api, resource_plan_id=OPEN) == []
    assert await listed(api, resource_id="another-service") == []
    assert {one["name"] for one in found if one["id"] == one["crn"] == chemistry} == {"chemistry"}


async def test_what_an_instance_may_use_is_told_in_whole_seconds(api: Api, chemistry: str):
    told = {one["name"]: one["extensions"] for one in await listed(api)}

    assert told["chemistry"]["usage_allocation_seconds"] == 7200
    assert told["chemistry"]["instance_limit_seconds"] == 3600
    assert told["lab"]["instance_limit_seconds"] is None


async def test_limit_and_allocation_are_set(api: Api, chemistry: str):
    answer = await patched(
        api, chemistry, usage_allocation_seconds="100", instance_limit_seconds="60"
    )
    usage = await api.ask("GET", "/instances/usage", headers={"Service-CRN": chemistry}, key=ADA)

    assert answer.status_code == 200
    assert answer.json()["extensions"] == await extensions(api)
    assert (await extensions(api))["usage_allocation_seconds"] == 100
    assert usage.json()["usage_limit_seconds"] == 60
    removed = await patched(
        api, chemistry, usage_allocation_seconds="100", instance_limit_seconds=None
    )
    assert removed.json()["extensions"]["instance_limit_seconds"] is None


async def test_what_is_not_given_stays_exactly(api: Api, chemistry: str):
    await patched(api, chemistry, instance_limit_seconds=90.5, backends=["ANY"], timestamp=1)
    config = api.parts.identity.directory.instances["chemistry"].config
    assert (config.allocation_s, config.limit_s) == (7200.4, 90.5)

    await patched(api, chemistry, usage_allocation_seconds=5)
    config = api.parts.identity.directory.instances["chemistry"].config
    assert (config.allocation_s, config.limit_s) == (5, 90.5)


async def test_a_manager_sets_the_limit_but_not_the_share(api: Api, chemistry: str):
    same = await patched(
        api, chemistry, "alice-key", usage_allocation_seconds="7200", instance_limit_seconds="70"
    )
    more = await patched(api, chemistry, "alice-key", usage_allocation_seconds="7201")

    assert (same.status_code, more.status_code) == (200, 403)
    assert (await extensions(api))["instance_limit_seconds"] == 70
    assert api.parts.identity.directory.instances["chemistry"].config.allocation_s == 7200.4


@pytest.mark.parametrize(
    "parameters",
    [
        {"instance_limit_seconds": "soon"},
        {"instance_limit_seconds": "nan"},
        {"instance_limit_seconds": "inf"},
        {"usage_allocation_seconds": "-1"},
        {"backends": ["fake_manila"]},
        {"limit": 5},
    ],
)
async def test_what_cannot_be_set_is_refused(api: Api, chemistry: str, parameters: dict[str, Any]):
    answer = await patched(api, chemistry, **parameters)

    assert answer.status_code == 400
    assert next(iter(parameters)) in answer.json()["errors"][0]["message"]


async def test_what_the_configuration_declares_is_changed_there(api: Api):
    await api.parts.identity.put(Grant(user="ada", instance="lab", role=Role.MANAGER))
    crn = api.parts.identity.directory.instances["lab"].crn

    assert (await patched(api, crn, instance_limit_seconds="9")).status_code == 409


@pytest.mark.parametrize("plan", ["pay-as-you-go", "paygo", "5304b575-3cff-4455-90dc-ae4367762093"])
async def test_analytics_know_a_plan_by_each_of_its_names(api: Api, plan: str):
    body = {"name": "chemistry", "plan": "pay-as-you-go"}
    await api.ask("POST", "/queuebit/instances", key=ADA, json=body)
    await api.parts.identity.put(Grant(user="alice", instance="chemistry", role=Role.MEMBER))
    crn = {"Service-CRN": api.parts.identity.directory.instances["chemistry"].crn}
    wish = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}}
    await api.finish((await api.ask("POST", "/jobs", headers=crn, json=wish)).json()["id"])

    told = (await api.ask("GET", f"/analytics/usage?plan={plan}")).json()
    other = (await api.ask("GET", "/analytics/usage?plan=premium")).json()

    assert (told["jobs"], told["usage"], other["jobs"]) == (1, 2100, 0)
