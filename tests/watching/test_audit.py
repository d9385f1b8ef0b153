"""The audit trail: who did what, and who was refused."""

import asyncio
from typing import Any

from tests.api.conftest import ADA, ALICE, BOB, SAMPLER, Api

from queuebit.api.trail import KINDS_MAX, OTHERS, Trail
from queuebit.core.events import JobCancelRequested
from queuebit.store.audit import AuditQuery, Entry

ALL = AuditQuery(limit=100)


async def trail(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.ask("GET", "/queuebit/audit", key=ADA, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def what(entries: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(entry["user"], entry["action"], entry["target"]) for entry in reversed(entries)]


async def test_every_change_is_told_with_who_and_from_where(api: Api):
    job_id = await api.submit(tags=["planted"])
    await api.ask("PUT", f"/jobs/{job_id}/tags", json={"tags": ["planted", "two"]})
    cancelled = await api.ask("POST", f"/jobs/{job_id}/cancel")
    await api.ask("DELETE", f"/jobs/{job_id}")
    batch = {"mode": "batch", "backend": "fake_manila"}
    opened = (await api.ask("POST", "/sessions", json=batch)).json()["id"]
    await api.ask("PATCH", f"/sessions/{opened}", json={"accepting_jobs": False})
    await api.ask("DELETE", f"/sessions/{opened}/close")
    by_ada = {"key": ADA}
    paused = {"status": "paused", "reason": "warm"}
    await api.ask("PATCH", "/queuebit/backends/fake_lagos", json=paused, **by_ada)
    await api.ask("POST", "/queuebit/instances", json={"name": "new"}, **by_ada)
    await api.ask("PATCH", "/queuebit/instances/new", json={"limit_seconds": 5}, **by_ada)
    await api.ask("POST", "/queuebit/users", json={"name": "grace"}, **by_ada)
    made = await api.ask("POST", "/queuebit/users/grace/keys", json={"label": "x"}, **by_ada)
    await api.ask("PUT", "/queuebit/instances/new/users/grace", json={"role": "member"}, **by_ada)
    await api.ask("DELETE", "/queuebit/instances/new/users/grace", **by_ada)
    key_id = made.json()["id"]
    await api.ask("DELETE", f"/queuebit/users/grace/keys/{key_id}", **by_ada)
    await api.ask("DELETE", "/queuebit/users/grace", **by_ada)
    await api.ask("DELETE", "/queuebit/instances/new", **by_ada)

    entries = await trail(api)

    assert what(entries) == [
        ("alice", "job.submit", job_id),
        ("alice", "job.tags", job_id),
        ("alice", "job.cancel", job_id),
        ("alice", "job.delete", job_id),
        ("alice", "session.open", opened),
        ("alice", "session.close", opened),
        ("alice", "session.cancel", opened),
        ("ada", "backend.status", "fake_lagos"),
        ("ada", "instance.add", "new"),
        ("ada", "instance.change", "new"),
        ("ada", "user.add", "grace"),
        ("ada", "key.make", key_id),
        ("ada", "role.add", "grace"),
        ("ada", "role.remove", "grace"),
        ("ada", "key.revoke", key_id),
        ("ada", "user.remove", "grace"),
        ("ada", "instance.remove", "new"),
    ]
    (cancel,) = [entry for entry in entries if entry["action"] == "job.cancel"]
    assert cancel["request"] == cancelled.headers["uber-trace-id"]
    assert (cancel["instance"], cancel["address"]) == ("lab", "127.0.0.1")
    assert cancel["key_id"] in api.parts.identity.directory.keys
    assert "planted" not in str(entries)
    assert made.json()["key"] not in str(entries)
    by_action = {entry["action"]: entry["detail"] for entry in entries}
    assert by_action["backend.status"] == "status=paused reason=warm"
    assert "limit_s=5" in by_action["instance.change"]
    assert by_action["role.add"] == "instance=new role=member"


async def test_what_was_not_done_is_not_told_as_done(api: Api):
    job_id = await api.submit()
    await api.finish(job_id)

    refused = await api.ask("POST", f"/jobs/{job_id}/cancel")
    await api.send(JobCancelRequested(job_id=job_id))

    assert refused.status_code == 409
    assert [action for _, action, _ in what(await trail(api))] == ["job.submit"]


async def test_refusals_and_logins_are_told_and_summed_up(api: Api):
    grant = "urn:ibm:params:oauth:grant-type:apikey"
    for key in (ALICE, "wrong"):
        await api.http.post("/identity/token", data={"grant_type": grant, "apikey": key})
    for _ in range(20):
        await api.ask("GET", "/jobs", key="wrong")
    await api.ask("GET", "/queuebit/users", key=BOB, instance="other")

    entries = await trail(api)

    told = [(e["user"], e["action"], e["outcome"], e["times"]) for e in reversed(entries)]
    assert told == [
        ("alice", "token.make", "done", 1),
        (None, "POST /identity/token", "refused", 1),
        (None, "GET /jobs", "refused", 20),
        ("bob", "GET /queuebit/users", "refused", 1),
    ]


async def test_it_is_asked_page_by_page_and_by_what_matters(api: Api):
    ids = [await api.submit() for _ in range(5)]
    await api.ask("POST", f"/jobs/{ids[0]}/cancel")

    first = (await api.ask("GET", "/queuebit/audit?limit=4", key=ADA)).json()
    second = await trail(api, limit=4, before=first["next"])

    assert len(first["entries"]) == 4
    assert [e["target"] for e in second] == [ids[1], ids[0]]
    assert len(await trail(api, action="job")) == 6
    assert len(await trail(api, action="jo")) == 0
    assert len(await trail(api, action="job.cancel", target=ids[0], user="alice")) == 1
    assert await trail(api, user="bob") == []
    assert await trail(api, until="2020-01-01T00:00:00Z") == []


async def test_nobody_can_have_the_disk_written_to_without_end():
    written: list[Entry] = []

    class Table:
        async def record(self, entries) -> None:
            written.extend(entries)

    trail = Trail()
    for number in range(KINDS_MAX + 500):
        trail.note(Entry(at=1, action="GET /jobs", address=str(number), outcome="refused"))
    await trail.flush(Table())

    assert len(written) == KINDS_MAX + 1
    assert (written[-1].action, written[-1].times) == (OTHERS, 500)
    await trail.flush(Table())
    assert len(written) == KINDS_MAX + 1


async def test_submitting_costs_no_transaction_of_its_own(api: Api):
    saves: list[int] = []
    save = api.store.save

    async def counting(records, details, entries=(), charges=()) -> None:
        saves.append(len(entries))
        await save(records, details, entries, charges)

    api.store.save = counting
    answers = [api.ask("POST", "/jobs", json=SAMPLER) for _ in range(6)]
    await asyncio.gather(*answers)

    assert sum(saves) == 6
    assert api.parts.watch.trail._waiting == {}
