"""Analytics, the instance, its account, tags: for users of the API that are not the client."""

import pytest
from tests.api.conftest import ADA, ALICE, BOB, Api
from tests.api.test_problems import one

from queuebit.api import problems
from queuebit.tenancy import Grant, Role

DAY_MS = 86_400_000


async def analytics(api: Api, query: str, key: str = ALICE) -> dict:
    answer = await api.ask("GET", f"/analytics/{query}", key=key)
    assert answer.status_code == 200, answer.text
    told: dict = answer.json()
    return told


@pytest.fixture
async def used(api: Api) -> Api:
    """Two jobs of one's own and one in a batch by alice, one of bob elsewhere."""
    api.workers.usage_ms = 3_000
    wish = {"mode": "batch", "backend": "fake_manila"}
    batch = (await api.ask("POST", "/sessions", json=wish)).json()["id"]
    mine = [
        await api.submit(),
        await api.submit(backend="fake_lagos", tags=["Bell-pair"]),
        await api.submit(session_id=batch),
    ]
    theirs = await api.ask(
        "POST",
        "/jobs",
        key=BOB,
        instance="other",
        json={"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}},
    )
    await api.finish(*mine, theirs.json()["id"])
    return api


async def test_usage_sums_what_is_ones_own(used: Api):
    mine, theirs = await analytics(used, "usage"), await analytics(used, "usage", BOB)

    assert (mine["jobs"], mine["individual_jobs"], mine["batch_sessions"]) == (3, 2, 1)
    assert mine["individual_jobs_usage"] == 2 * mine["max_individual_jobs_usage"] > 0
    assert mine["avg_individual_jobs_usage"] == mine["max_individual_jobs_usage"]
    assert mine["usage"] == mine["individual_jobs_usage"] + mine["sessions_usage"]
    assert mine["sessions_usage"] == mine["batch_sessions_usage"] > 0
    assert mine["dedicated_sessions"] == 0
    assert (theirs["jobs"], theirs["batch_sessions"]) == (1, 0)


@pytest.mark.parametrize(
    ("query", "jobs"),
    [
        ("backend=fake_lagos", 1),
        ("backend=fake_lagos&backend=fake_manila", 3),
        ("user_id=bob", 0),
        ("user_id=alice&plan=premium", 3),
        ("plan=open", 0),
        ("subscription_id=6f3c1c9a-3a86-4d4e-9a0e-6d8f1f2b7a51", 0),
        ("interval_end=2026-09-21T00:00:00Z", 0),
        ("interval_start=2026-09-21T00:00:00Z&simulators=false", 3),
    ],
)
async def test_usage_is_filtered(used: Api, query: str, jobs: int):
    assert (await analytics(used, f"usage?{query}"))["jobs"] == jobs


async def test_usage_is_grouped(used: Api):
    crn = used.headers()["Service-CRN"]
    grouped = {
        by: {
            each["key"]: each["jobs"]
            for each in (await analytics(used, f"usage_grouped?group_by={by}"))["data"]
        }
        for by in ("instance", "backend", "user_id", "plan", "subscription_id")
    }

    assert grouped == {
        "instance": {crn: 3},
        "backend": {"fake_lagos": 1, "fake_manila": 2},
        "user_id": {"alice": 3},
        "plan": {"premium": 3},
        "subscription_id": {None: 3},
    }


async def test_usage_is_grouped_by_day(used: Api):
    used.clock.advance(2 * DAY_MS)
    await used.submit()
    used.clock.advance(1)  # an interval ends before its end
    told = await analytics(used, "usage_grouped_by_date?group_by=instance")

    assert [(day["interval_start"], day["jobs"]) for day in told["data"]] == [
        ("2026-09-21T00:00:00.000Z", 3),
        ("2026-09-23T00:00:00.000Z", 1),
    ]


async def test_filters_name_only_what_is_ones_own(used: Api):
    told = await analytics(used, "filters", BOB)

    assert told == {
        "backends": [{"name": "fake_manila"}],
        "instances": [{"id": used.headers(instance="other")["Service-CRN"], "deleted": False}],
        "users": [{"id": "bob"}],
        "plans": [{"name": "premium"}],
        "subscriptions": [],
    }


@pytest.mark.parametrize(
    "query",
    [
        "usage?interval_start=2026-09-22T00:00:00Z&interval_end=2026-09-21T00:00:00Z",
        "usage?interval_start=yesterday",
        "usage_grouped",
        "usage_grouped?group_by=colour",
        "usage_grouped_by_date?interval_start=2020-01-01T00:00:00Z",
        "usage?" + "&".join(["backend=x"] * 201),
    ],
)
async def test_a_wrong_question_is_refused(api: Api, query: str):
    answer = await api.ask("GET", f"/analytics/{query}")

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)


async def test_tags_are_searched_in_ones_own_instance(used: Api):
    found = await used.ask("GET", "/tags?type=job&search=bell")
    elsewhere = await used.ask("GET", "/tags?type=job&search=bell", key=BOB, instance="other")
    short = await used.ask("GET", "/tags?type=job&search=be")

    assert (found.json(), elsewhere.json()) == ({"tags": ["Bell-pair"]}, {"tags": []})
    assert short.status_code == 400


async def test_the_instance_and_its_account(api: Api):
    told = (await api.ask("GET", "/instance", instance="class")).json()
    crn = api.headers()["Service-CRN"]
    account = crn.split(":")[6].removeprefix("a/")
    plans = (await api.ask("GET", f"/accounts/{account}")).json()["plans"]
    picked = (await api.ask("GET", f"/accounts/{account}?plan_id={told['plan_id']}")).json()

    assert (told["instance_limit_seconds"], told["usage_allocation_seconds"]) == ("600", "36000")
    assert told["backends"] == ["fake_manila", "fake_lagos"]
    assert {plan["subscription_name"]: plan["max_ttl"] for plan in plans} == {
        "premium": 28_800,
        "open": 600,
    }
    assert [plan["plan_id"] for plan in picked["plans"]] == [told["plan_id"]]


async def test_a_manager_sets_the_limit_but_not_below_what_was_used(api: Api):
    await api.ask("POST", "/queuebit/instances", key=ADA, json={"name": "chemistry"})
    await api.parts.identity.put(Grant(user="alice", instance="chemistry", role=Role.MANAGER))
    crn = {"Service-CRN": api.parts.identity.directory.instances["chemistry"].crn}
    limit = {"instance_limit": 90.5}
    put = await api.ask("PUT", "/instances/configuration", headers=crn, json=limit)
    read = await api.ask("GET", "/instances/configuration", headers=crn)
    usage = await api.ask("GET", "/instances/usage", headers=crn)
    declared = await api.ask("PUT", "/instances/configuration", json=limit)

    assert (put.status_code, read.json()) == (204, limit)
    assert usage.json()["usage_limit_seconds"] == 90
    assert declared.status_code == 403  # a member of "lab"


async def test_no_limit_is_below_what_was_used(api: Api):
    await api.ask("POST", "/queuebit/instances", key=ADA, json={"name": "chemistry"})
    await api.parts.identity.put(Grant(user="alice", instance="chemistry", role=Role.MANAGER))
    crn = {"Service-CRN": api.parts.identity.directory.instances["chemistry"].crn}
    job_id = (
        await api.ask(
            "POST",
            "/jobs",
            headers=crn,
            json={"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}},
        )
    ).json()["id"]
    await api.finish(job_id)

    answer = await api.ask(
        "PUT", "/instances/configuration", headers=crn, json={"instance_limit": 0}
    )

    assert (answer.status_code, one(answer)["code"]) == (409, problems.CONFLICT)
