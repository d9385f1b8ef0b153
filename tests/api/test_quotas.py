"""How much an instance may keep, and what happens on a full disk."""

from types import SimpleNamespace

import pytest
from tests.api.conftest import BOB, SAMPLER, Api
from tests.api.test_problems import one


def limit(api: Api, monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """Give every plan these limits."""
    plans = api.parts.identity._plans
    for name, plan in list(plans.items()):
        monkeypatch.setitem(plans, name, plan.model_copy(update=limits))


async def submit(api: Api, **more: object):
    return await api.ask("POST", "/jobs", json=SAMPLER, **more)


async def test_an_instance_keeps_as_many_jobs_as_its_plan_allows(api: Api, monkeypatch):
    limit(api, monkeypatch, kept_jobs_max=2)
    first = (await submit(api)).json()["id"]
    await submit(api)

    answer = await submit(api)

    assert (answer.status_code, one(answer)["code"]) == (507, 1507)
    assert "keeps 2 jobs, and may keep 2" in one(answer)["message"]
    assert (await submit(api, key=BOB, instance="other")).status_code == 200
    await api.ask("POST", f"/jobs/{first}/cancel")
    await api.ask("DELETE", f"/jobs/{first}")
    api.parts.quotas._stored.clear()  # as after some seconds
    assert (await submit(api)).status_code == 200


async def test_an_instance_keeps_as_many_bytes_as_its_plan_allows(api: Api, monkeypatch):
    limit(api, monkeypatch, storage_mb=1)
    job_id = await api.submit()
    size = (await api.store.stored((await api.record(job_id)).instance))[1]
    assert size > 0
    await api.store.add_metrics(job_id, {}, 2**20 - 2 * size)  # its result leaves room for one more
    api.parts.quotas._stored.clear()
    assert (await submit(api)).status_code == 200

    answer = await submit(api)

    assert (answer.status_code, one(answer)["code"]) == (507, 1507)
    assert "over its limit of 1 MiB" in one(answer)["message"]


async def test_on_a_full_disk_no_jobs_are_taken_and_everything_else_goes_on(api: Api):
    job_id = (await submit(api)).json()["id"]
    full = SimpleNamespace(has_room_for=lambda _: False, free=0, is_there=False)
    object.__setattr__(api.parts, "reserve", full)

    answer = await submit(api)

    assert (answer.status_code, one(answer)["code"]) == (507, 1507)
    assert (await api.ask("GET", f"/jobs/{job_id}")).status_code == 200
    assert (await api.ask("POST", f"/jobs/{job_id}/cancel")).status_code == 204
    assert (await api.ask("DELETE", f"/jobs/{job_id}")).status_code == 204
    assert (await api.http.get("/ready")).json() == {"ready": False, "reason": "disk"}
