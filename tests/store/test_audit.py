"""The table of the audit trail."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from tests.store.records import Store, job, job_details

from queuebit.api.trail import Trail
from queuebit.errors import ServiceFault
from queuebit.store.audit import REFUSED, AuditQuery, Entry
from queuebit.store.database import Database
from queuebit.tenancy import Key, User

ALL = AuditQuery(limit=100)


def entry(action: str, at: int = 1_000, **more: Any) -> Entry:
    return Entry(at=at, action=action, **{"user": "alice", **more})


@pytest.mark.parametrize(
    ("asked", "targets"),
    [
        ({}, ["e", "d", "c", "b", "a"]),
        ({"limit": 2}, ["e", "d"]),
        ({"user": "bob"}, ["d"]),
        ({"instance": "lab"}, ["b"]),
        ({"target": "c"}, ["c"]),
        ({"outcome": "refused"}, ["e"]),
        ({"action": "job"}, ["d", "b", "a"]),
        ({"action": "job.submit"}, ["b", "a"]),
        ({"action": "job.sub"}, []),
        ({"action": "%"}, []),
        ({"since": 30, "until": 50}, ["d", "c"]),
    ],
)
async def test_entries_are_found(store: Store, asked: dict[str, Any], targets: list[str]):
    await store.audit.record(
        [
            entry("job.submit", 10, target="a"),
            entry("job.submit", 20, target="b", instance="lab"),
            entry("session.open", 30, target="c"),
            entry("job.cancel", 40, target="d", user="bob"),
            entry("GET /jobs", 50, target="e", user=None, outcome=REFUSED, times=7),
        ]
    )

    found = await store.audit.read(AuditQuery(**{"limit": 10, **asked}))
    older = await store.audit.read(AuditQuery(limit=10, before=found[0].id)) if found else []

    assert [one.target for one in found] == targets
    assert all(one.id < found[0].id for one in older)
    await store.audit.check()


async def test_an_entry_is_there_exactly_if_its_change_is(database: Database):
    told = [entry("job.submit", target="j1")]
    await database.save([job("j1", 1)], [job_details("j1")], told)
    with pytest.raises(ServiceFault):  # it comes without details, so nothing of it is saved
        await database.save([job("j2", 2)], [], [entry("job.submit", target="j2")])
    await database.delete_job("j1", [entry("job.delete", target="j1")])  # it is not final
    await database.set_tags("j3", ["x"], [entry("job.tags", target="j3")])  # there is none
    key = Key(id="k", user="nobody there", digest="d")
    with pytest.raises(sa.exc.IntegrityError):
        await database.tenants.put(key, [entry("key.make")])
    await database.tenants.put(User(id="ada", name="ada"), [entry("user.add", target="ada")])

    found = await database.audit.read(ALL)

    assert [(one.action, one.target) for one in found] == [
        ("user.add", "ada"),
        ("job.submit", "j1"),
    ]


async def test_what_is_old_is_forgotten(database: Database):
    await database.audit.record([entry("job.submit", at=1), entry("job.cancel", at=2**52)])
    running = asyncio.create_task(Trail().run(database.audit, keep_days=1))
    async with asyncio.timeout(10):
        while len(found := await database.audit.read(ALL)) > 1:  # noqa: ASYNC110 - another table's
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})

    assert [one.action for one in found] == ["job.cancel"]


async def test_what_waits_is_written_when_the_service_stops(database: Database):
    trail = Trail()
    running = asyncio.create_task(trail.run(database.audit, keep_days=0))
    await asyncio.sleep(0)
    trail.note(entry("token.make"))
    running.cancel()
    await asyncio.wait({running})

    assert [one.action for one in await database.audit.read(ALL)] == ["token.make"]
