import urllib.parse

import pytest
from tests.api.conftest import BOB, SAMPLER, Api
from tests.api.test_problems import one

from queuebit.api import problems
from queuebit.api.workloads import WorkloadList
from queuebit.core.model import Reason, Stage
from queuebit.engines.task import Outcome

BATCH = {"mode": "batch", "backend": "fake_manila"}
SESSION = {"mode": "dedicated", "backend": "fake_lagos"}


async def listed(api: Api, query: str = "", **more) -> dict:
    answer = await api.ask("GET", f"/workloads{query}", **more)
    assert answer.status_code == 200, answer.text
    WorkloadList.model_validate_json(answer.content, extra="forbid")
    told: dict = answer.json()
    return told


def ids(told: dict) -> list[str]:
    return [workload["id"] for workload in told["workloads"]]


async def opened(api: Api, wish: dict) -> str:
    answer = await api.ask("POST", "/sessions", json=wish)
    session_id: str = answer.json()["id"]
    return session_id


async def test_without_any_the_list_is_empty(api: Api):
    assert await listed(api) == {"workloads": [], "total_count": 0, "limit": 10}


async def test_a_job_is_told(api: Api):
    job_id = await api.submit(tags=["b", "a"])
    crn = api.headers()["Service-CRN"]

    (queued,) = (await listed(api))["workloads"]
    api.clock.advance(3_000)
    await api.finish(job_id)
    (ended,) = (await listed(api))["workloads"]

    assert queued == {
        "id": job_id,
        "created": "2026-09-21T14:13:20.000Z",
        "backend": "fake_manila",
        "instance": crn,
        "user_id": "alice",
        "mode": "job",
        "status": "in_progress",
        "accepting_jobs": None,
        "tags": ["b", "a"],
        "usage": {"qpu_charge_time_seconds": 0.0, "status": "pending"},
        "usage_seconds": 0.0,
    }
    assert ended == queued | {
        "ended": "2026-09-21T14:13:23.000Z",
        "status": "completed",
        "usage": {"qpu_charge_time_seconds": 2.1, "status": "complete"},
        "usage_seconds": 2.1,
        "estimated_running_time_seconds": 2.5,
    }


async def test_a_failed_job_tells_why(api: Api):
    api.workers.outcomes[Stage.PREPARE] = Outcome(error=Reason(message="Too large.", code=3243))
    await api.finish(await api.submit())

    (told,) = (await listed(api))["workloads"]

    assert (told["status"], told["status_reason"]) == ("failed", "Too large.")


async def test_a_session_is_told_and_stands_for_its_jobs(api: Api):
    session_id = await opened(api, SESSION)
    await api.submit(session_id=session_id, backend="fake_lagos", tags=["inside"])
    api.clock.advance(4_000)

    told = await listed(api)

    assert told["total_count"] == 1
    assert told["workloads"] == [
        {
            "id": session_id,
            "created": "2026-09-21T14:13:20.000Z",
            "backend": "fake_lagos",
            "instance": api.headers()["Service-CRN"],
            "user_id": "alice",
            "mode": "session",
            "status": "in_progress",
            "accepting_jobs": True,
            "tags": [],
            "usage": {"qpu_charge_time_seconds": 4.0},
            "usage_seconds": 4.0,
        }
    ]


async def test_a_batch_goes_from_pending_to_completed(api: Api):
    batch_id = await opened(api, BATCH)
    told = [(await listed(api))["workloads"][0]]
    job_id = await api.submit(session_id=batch_id)
    told += (await listed(api))["workloads"]
    await api.finish(job_id)
    api.clock.advance(60_000)
    await api.submit(backend="fake_lagos")  # an event, whatever it is
    told += (await listed(api, "?mode=batch"))["workloads"]
    await api.ask("PATCH", f"/sessions/{batch_id}", json={"accepting_jobs": False})
    told += (await listed(api, "?mode=batch"))["workloads"]

    statuses = [one["status"] for one in told]
    assert statuses == ["pending", "in_progress", "pending", "completed"]
    assert [one["accepting_jobs"] for one in told] == [True, True, True, False]
    assert told[-1]["ended"] == "2026-09-21T14:14:20.000Z"
    assert told[-1]["usage"] == {"qpu_charge_time_seconds": 2.1}


async def test_a_batch_that_its_user_cancelled_is_canceled(api: Api):
    for cancelled in (True, False):
        batch_id = await opened(api, BATCH)
        if not cancelled:
            await api.ask("PATCH", f"/sessions/{batch_id}", json={"accepting_jobs": False})
        await api.ask("DELETE", f"/sessions/{batch_id}/close")

    statuses = [one["status"] for one in (await listed(api))["workloads"]]
    assert statuses == ["canceled", "completed"]  # the second was closed before


async def test_only_those_of_the_instance_are_listed(api: Api):
    await api.submit()

    assert (await listed(api, instance="class"))["total_count"] == 0
    assert (await listed(api, key=BOB, instance="other"))["total_count"] == 0


async def test_links_lead_through_all_pages_and_back(api: Api):
    expected = []
    for number in range(7):
        make = opened(api, BATCH) if number % 2 else api.submit(tags=["x y", "é"])
        expected.append(await make)
        api.clock.advance(number % 3)  # some at one instant

    told = [await listed(api, "?limit=3&sort=-createdAt")]
    while "next" in told[-1]:
        told.append(await followed(api, told[-1]["next"]))
    back = told[-1:]
    while "previous" in back[0]:
        back.insert(0, await followed(api, back[0]["previous"]))

    assert [len(ids(page)) for page in told] == [3, 3, 1]
    assert [name for page in told for name in ids(page)] == expected[::-1]
    assert [ids(page) for page in back] == [ids(page) for page in told]
    assert {(page["total_count"], page["limit"]) for page in told} == {(7, 3)}
    assert ["previous" in page for page in told] == [False, True, True]


async def followed(api: Api, link: dict) -> dict:
    url = urllib.parse.urlsplit(link["href"])
    assert f"{url.scheme}://{url.netloc}{url.path}" == "http://queuebit/api/v1/workloads"
    return await listed(api, f"?{url.query}")


async def test_a_link_asks_for_what_was_asked_for(api: Api):
    first, other, second = [await api.submit(tags=tags) for tags in (["x y", "é"], [], ["x y"])]
    assert other

    told = await listed(api, "?tags=x%20y&limit=1&status=pending&status=in_progress")
    beyond = await followed(api, told["next"])

    assert (ids(told), ids(beyond)) == ([first], [second])
    assert beyond["total_count"] == 2
    assert "next" not in beyond


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [0, 1, 2, 3]),
        ("?sort=createdAt&limit=50&include_mocks=True", [0, 1, 2, 3]),
        ("?sort=-createdAt", [3, 2, 1, 0]),
        ("?limit=2", [0, 1]),
        ("?mode=job", [1, 3]),
        ("?mode=session", [0]),
        ("?mode=batch", [2]),
        ("?backend=fake_lagos", [0, 3]),
        ("?status=completed", [1]),
        ("?status=completed&status=in_progress", [1, 3]),
        ("?status=failed", []),
        ("?tags=x&tags=y", [3]),
        ("?search=y", [3]),
        ("?search=", [0, 1, 2, 3]),
        ("?created_after=2026-09-21T14:13:22Z", [2, 3]),
        ("?created_before=2026-09-21T16:13:21%2B02:00", [0, 1]),
        ("?user=me", [0, 1, 2, 3]),
    ],
)
async def test_workloads_are_listed_by(api: Api, query: str, found: list[int]):
    made = [await opened(api, SESSION)]
    api.clock.advance(1_000)
    made.append(await api.submit(tags=["x"]))
    await api.finish(made[1])
    api.clock.advance(1_000)
    made.append(await opened(api, BATCH))
    made.append(await api.submit(tags=["y", "x"], backend="fake_lagos"))

    assert ids(await listed(api, query)) == [made[at] for at in found]


async def test_a_workload_is_found_by_its_id(api: Api):
    made = [await api.submit(), await opened(api, BATCH)]

    assert [ids(await listed(api, f"?search={one}")) for one in made] == [[one] for one in made]


async def test_a_job_in_a_batch_is_not_listed_beside_it(api: Api):
    batch_id = await opened(api, BATCH)
    job_id = (await api.ask("POST", "/jobs", json=SAMPLER | {"session_id": batch_id})).json()["id"]

    assert ids(await listed(api)) == [batch_id]
    assert ids(await listed(api, f"?search={job_id}")) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=51", "limit: Input should be less than or equal to 50"),
        ("sort=created", "sort: Input should be 'createdAt' or '-createdAt'"),
        ("status=Running", "status.0: Input should be 'pending', 'in_progress'"),
        ("mode=dedicated", "mode: Input should be 'job', 'batch' or 'session'"),
        ("user=bob", "user: Input should be 'me'"),
        ("created_after=yesterday", "created_after: Input should be a valid datetime"),
        ("next=AAAA", "The cursor is none of ours."),
        ("previous=%C3%A9", "The cursor is none of ours."),
        ("next=AAAAAAAAAAAAAAAAAAAAAA&previous=AAAAAAAAAAAAAAAAAAAAAA", "exclude each other"),
    ],
)
async def test_a_query_that_breaks_a_rule_is_refused_by_name(api: Api, query: str, message: str):
    answer = await api.ask("GET", f"/workloads?{query}")

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)
    assert message in one(answer)["message"]
