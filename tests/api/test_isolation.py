"""Two tenants on one service: no answer to one holds anything of the other."""

import asyncio
from typing import Any

import pytest
from tests.api.conftest import BOB, SAMPLER, Api
from tests.fakes_tenants import crn_of

HIDDEN = "xyzzy"  # stands in every name, tag, reason and text of the other tenant

JOB_ROUTES = (
    "/jobs/{id}",
    "/jobs/{id}/results",
    "/jobs/{id}/metrics",
    "/jobs/{id}/logs",
    "/queuebit/jobs/{id}/why",
)
LISTS = (
    "/jobs",
    "/jobs?exclude_params=false&limit=200",
    "/jobs?tags=xyzzy-tag",
    "/jobs?session_id={batch}",
    "/jobs?program=sampler&pending=true",
    "/workloads?limit=50",
    "/workloads?search=xyzzy-tag",
    "/workloads?search={job}",
    "/workloads?search={batch}",
    "/workloads?tags=xyzzy-tag",
    "/tags?type=job&search=xyzzy",
    "/tags?type=job&search=%25%25%25",
    "/tags?type=job&search=___",
    "/backends?fields=wait_time_seconds",
    "/backends/fake_manila/status",
    "/instance",
    "/instances/usage",
    "/usage",
    "/instances/configuration",
    "/analytics/usage",
    "/analytics/usage?user_id=bob",
    "/analytics/usage?instance={crn}",
    *(
        f"/analytics/usage_grouped?group_by={key}"
        for key in ("instance", "backend", "user_id", "plan", "subscription_id")
    ),
    "/analytics/usage_grouped_by_date?group_by=instance",
    "/analytics/filters",
    "/accounts/{account}",
    "/queuebit/instances",
    "/queuebit/users/me",
    "/queuebit/users/me/keys",
    "/queuebit/backends",
)


async def bobs(api: Api) -> dict[str, str]:
    """A batch, jobs that run, wait and have ended, all of the other tenant."""

    async def ask(path: str, **body: Any) -> str:
        answer = await api.ask("POST", path, key=BOB, instance="other", json=body)
        assert answer.status_code == 200, answer.text
        identifier: str = answer.json()["id"]
        return identifier

    job = SAMPLER | {"tags": [f"{HIDDEN}-tag"], "params": {"pubs": [], "note": HIDDEN}}
    ended = await ask("/jobs", **job)
    await api.finish(ended)
    batch = await ask("/sessions", mode="batch", backend="fake_manila")
    running = [await ask("/jobs", **job, session_id=batch) for _ in range(3)]
    queued = [await ask("/jobs", **job) for _ in range(3)]
    return {"batch": batch, "ended": ended} | {
        f"job{number}": one for number, one in enumerate(running + queued)
    }


async def test_no_answer_holds_anything_of_another_tenant(api: Api):
    hidden = await bobs(api)
    own = [await api.submit(tags=["mine"]) for _ in range(3)]
    opened = await api.ask("POST", "/sessions", json={"mode": "batch", "backend": "fake_manila"})
    batch = opened.json()["id"]
    own.append(await api.submit(session_id=batch))
    other = next(one for one in api.config.instances if one.name == "other")
    secrets = [*hidden.values(), HIDDEN, crn_of(other)]
    names = {
        "job": hidden["job0"],
        "batch": hidden["batch"],
        "crn": crn_of(other),
        "account": other.account_id,
    }
    paths = [
        *(path.format(**names) for path in LISTS),
        *(path.format(id=one) for one in own for path in JOB_ROUTES),
        f"/sessions/{batch}",
        f"/queuebit/sessions/{batch}/why",
    ]

    told = {}
    for path in paths:
        answer = await api.ask("GET", path)
        assert answer.status_code in {200, 204}, (path, answer.text)
        told[path] = answer

    for path, answer in told.items():
        seen = answer.text + str(answer.headers)
        asked = path  # an answer may repeat what was asked for: the next page's link
        leaks = [one for one in secrets if one in seen and one not in asked]
        assert not leaks, (path, leaks, answer.text)
        assert '"bob"' not in answer.text, path
    # Not because there was nothing to tell: positions count the other's jobs.
    why = told[f"/queuebit/jobs/{own[-1]}/why"].json()
    assert (await api.record(own[-1])).status == "Queued"
    assert why["position"] > 1
    backends = told["/queuebit/backends"].json()["backends"]
    assert next(one for one in backends if one["name"] == "fake_manila")["queued"] > 4


@pytest.mark.parametrize("path", [*JOB_ROUTES, "/sessions/{id}", "/queuebit/sessions/{id}/why"])
async def test_what_is_anothers_is_answered_as_what_is_nowhere(api: Api, path: str):
    hidden = await bobs(api)
    theirs = hidden["batch" if "sessions" in path else "job5"]
    nowhere = theirs[:-1] + ("0" if theirs[-1] != "0" else "1")

    answers = [await api.ask("GET", path.format(id=one)) for one in (theirs, nowhere)]

    texts = [
        one.text.replace(one.json()["trace"], "").replace(name, "")
        for one, name in zip(answers, (theirs, nowhere), strict=True)
    ]
    assert [one.status_code for one in answers] == [404, 404]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("path", ["/jobs?limit=5&sort=asc", "/workloads?limit=5"])
async def test_lists_are_exact_while_others_come(api: Api, path: str):
    """Every entry once, in one order, and the count is what the last page ends at."""
    first = [await api.submit() for _ in range(7)]
    coming = asyncio.create_task(_submit(api, 20))
    found: list[str] = []
    link, offset = f"/api/v1{path}", 0
    while True:
        page = (await api.http.get(link, headers=api.headers())).json()
        entries = [one["id"] for one in page.get("jobs") or page.get("workloads") or []]
        if not entries and coming.done():
            break
        found += entries
        offset += len(entries)
        if "jobs" in page:
            assert page["count"] >= offset
            link = f"/api/v1{path}&offset={offset}"
        elif "next" in page:
            link = page["next"]["href"]
        elif coming.done():
            break
        else:  # the end so far: once more, and without what was there
            found = found[: len(found) - len(entries)]
        await asyncio.sleep(0)

    last = await api.ask("GET", path)
    total = last.json().get("count", last.json().get("total_count"))
    assert found[:7] == first
    assert found == first + await coming
    assert total == len(found) == 27


async def _submit(api: Api, count: int) -> list[str]:
    return [await api.submit() for _ in range(count)]
