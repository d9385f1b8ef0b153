"""What only a real database does."""

import asyncio
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.store.records import START, ended, job, job_details

from queuebit.errors import ConfigError
from queuebit.store import listing, queries
from queuebit.store.connect import connect
from queuebit.store.database import Database, JobQuery
from queuebit.store.listing import EntryStatus, WorkloadQuery

LAB = JobQuery(instance="lab")


async def test_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path: Path):
    engines = connect(f"sqlite:///{tmp_path}/queuebit.db")
    async with engines.writer.begin() as connection:
        found = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    await engines.dispose()

    full = 2
    assert found == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }


async def test_a_reader_cannot_write(tmp_path: Path):
    engines = connect(f"sqlite:///{tmp_path}/queuebit.db")
    async with engines.reader.connect() as connection:
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            await connection.exec_driver_sql("CREATE TABLE late (id)")
    await engines.dispose()


async def test_a_write_holds_the_lock_from_its_beginning(tmp_path: Path):
    """One that only becomes a writer half-way can fail there with "database is locked"."""
    engines = connect(f"sqlite:///{tmp_path}/queuebit.db")
    with sqlite3.connect(tmp_path / "queuebit.db", timeout=0) as other:
        async with engines.writer.begin():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("CREATE TABLE late (id)")
    other.close()
    await engines.dispose()


async def test_readers_see_a_save_as_soon_as_it_returns_and_never_half(database: Database):
    async def read() -> set[int]:
        seen = set()
        while 40 not in seen:
            seen.add((await database.jobs(LAB))[1])
        return seen

    async def write() -> None:
        for seq in range(1, 40, 4):
            records = [job(f"j{seq + k}", seq + k) for k in range(4)]
            await database.save(records, [job_details(record.id) for record in records])
            assert (await database.jobs(LAB))[1] == seq + 3

    seen, _ = await asyncio.gather(read(), write())

    assert all(count % 4 == 0 for count in seen)


async def test_writes_from_many_tasks_stand_in_line(database: Database):
    records = [job(f"j{seq}", seq) for seq in range(1, 31)]
    await asyncio.gather(*(database.save([record], [job_details(record.id)]) for record in records))

    await asyncio.gather(
        *(database.add_metrics("j1", {f"m{number}": number}) for number in range(20)),
        *(database.set_tags(record.id, [record.id]) for record in records),
    )

    stored = await database.job("j1")
    assert stored is not None
    assert stored.metrics == {f"m{number}": number for number in range(20)}
    assert (await database.load()).records == records
    assert [one.details.tags for one in (await database.jobs(LAB))[0]] == [
        (record.id,) for record in reversed(records)
    ]


async def test_a_call_goes_to_its_end_though_its_caller_is_cancelled(database: Database):
    """A client that hangs up cancels its request, wherever that is."""
    await database.save([job("j0", 100)], [job_details("j0")])
    for seq in range(1, 31):
        records = [job(f"a{seq}", seq), job(f"b{seq}", seq)]
        details = [job_details(record.id, tags=("t",)) for record in records]
        saving = asyncio.create_task(database.save(records, details))
        reading = asyncio.create_task(database.jobs(LAB))
        for _ in range(seq):
            await asyncio.sleep(0.0002)
        saving.cancel()
        reading.cancel()
        await asyncio.wait({saving, reading})

    await database.set_tags("j0", [])  # in line behind all of them

    stored = await database.known_jobs()
    assert stored == {"j0", *(f"{letter}{seq}" for letter in "ab" for seq in range(1, 31))}
    await database.save([job("last", 200)], [job_details("last")])
    assert (await database.load()).last_seq == 200


async def test_closing_lets_a_save_end(url: str):
    database = Database(url)
    await database.open()
    saving = asyncio.create_task(database.save([job("j1", 1)], [job_details("j1")]))
    await asyncio.sleep(0)
    saving.cancel()
    await database.close()

    again = Database(url)
    await again.open()
    assert await again.known_jobs() == {"j1"}
    await again.close()


async def test_a_job_of_no_workload_is_refused_whole(database: Database):
    with pytest.raises(sa.exc.IntegrityError):
        await database.save([job("j1", 1, workload_id="nobody")], [job_details("j1")])

    assert await database.known_jobs() == set()


async def test_no_tags_are_left_of_a_deleted_job(database: Database):
    await database.save([ended("j1", 1, at=START)], [job_details("j1", tags=("a", "b"))])

    await database.delete_job("j1")

    async with database._engines.reader.connect() as connection:
        count = await connection.execute(sa.text("SELECT count(*) FROM job_tags"))
        assert count.scalar_one() == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://localhost/queuebit", "'mysql' is not supported: use sqlite or postgresql"),
        ("sqlite://", "needs a file"),
        ("sqlite+aiosqlite:///:memory:", "needs a file"),
        ("not a url", "cannot be read"),
    ],
)
def test_a_url_that_will_not_do_is_refused(url: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Database(url)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(ConfigError, match=r"pip install 'psycopg\[binary\]'"):
        Database("postgresql://ada:secret@localhost/queuebit")


def test_a_message_does_not_tell_the_password():
    with pytest.raises(ConfigError) as caught:
        Database("mysql://ada:secret@localhost/queuebit")

    assert "secret" not in str(caught.value)


SOME = WorkloadQuery(instance="lab")


def where(**asked):
    given = {"pending": None, "tags": (), "created": (None, None), "equal": {}} | asked
    return queries.jobs_where(**given | {"equal": {"instance": "lab"} | given["equal"]})


def page(**asked):
    return queries.jobs_page(where(**asked), newest_first=True, limit=10, offset=0)


@pytest.mark.parametrize(
    "statement",
    [
        queries.JOB,
        queries.WORKLOAD,
        queries.UNFINISHED_JOBS,
        queries.OPEN_WORKLOADS,
        queries.JOB_COUNTS,
        queries.WAITS,
        queries.LAST_SEQ,
        queries.USAGE,
        queries.UPDATE_JOB.values(run=1),
        queries.UPDATE_WORKLOAD.values(active_ms=1),
        queries.DELETE_TAGS,
        page(),
        page(pending=True),
        page(created=(1, 2)),
        page(tags=("a", "b")),
        page(equal={"workload_id": "w"}),
        queries.jobs_count(where()),
        queries.jobs_count(where(tags=("a",))),
        queries.JOBS.params(keys=["a", "b"]),
        queries.WORKLOADS.params(keys=["a", "b"]),
        listing.page(SOME),
        listing.page(replace(SOME, after=(1, 1), newest_first=True)),
        listing.page(replace(SOME, statuses=frozenset({EntryStatus.PENDING}))),
        listing.page(replace(SOME, tags=("a", "b"), search="a")),
        listing.any_behind(SOME, (1, 1)),
        listing.count(SOME),
        listing.count(replace(SOME, search="a")),
    ],
)
async def test_no_table_is_read_from_end_to_end(tmp_path: Path, statement):
    steps = await plan(tmp_path, statement)

    small = ("ix_jobs_pending", "ix_jobs_unfinished", "ix_workloads_open")
    whole = [step for step in steps if step.startswith(WHOLE) and not step.endswith(small)]
    assert any(step.startswith(("SEARCH", "SCAN")) for step in steps)
    assert whole == []


@pytest.mark.parametrize(
    "query",
    [
        SOME,
        replace(SOME, newest_first=True, after=(1, 1)),
        replace(SOME, before=(1, 1)),
    ],
)
async def test_workloads_are_found_in_their_order_from_where_a_page_begins(
    tmp_path: Path, query: WorkloadQuery
):
    """Of either kind no more than a page is read and then merged: it costs the same always."""
    steps = await plan(tmp_path, listing.page(query))

    found = [step for step in steps if step.startswith("SEARCH")]
    assert [step.split()[4] for step in found] == ["ix_jobs_alone", "ix_workloads_listed"]
    if query.after or query.before:
        assert all("(instance=? AND (created_at,seq)" in step for step in found)
    sorts = [at for at, step in enumerate(steps) if "TEMP B-TREE" in step]
    assert all(steps[at - 1].startswith("SCAN anon_") for at in sorts)  # only what was found


@pytest.mark.parametrize(
    "statement",
    [page(), page(created=(1, 2)), page(pending=True), page(equal={"workload_id": "w"})],
)
async def test_jobs_are_not_sorted_to_find_a_page(tmp_path: Path, statement):
    """They lie in order, so that a page costs the same however many jobs there are."""
    steps = await plan(tmp_path, statement)

    assert "USE TEMP B-TREE FOR ORDER BY" not in steps[: steps.index("SCAN page")]


WHOLE = ("SCAN jobs", "SCAN workloads", "SCAN job_tags", "SCAN deleted_jobs")


async def plan(tmp_path: Path, statement: sa.Executable) -> list[str]:
    """The steps in which SQLite carries out the statement."""
    database = Database(f"sqlite:///{tmp_path}/queuebit.db")
    await database.open()
    async with database._engines.reader.connect() as connection:
        expanded = {"render_postcompile": True}
        text = statement.compile(dialect=connection.dialect, compile_kwargs=expanded)
        unknown = tuple("1" for _ in text.positiontup)  # a plan does not depend on values
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", unknown)
        steps = [row.detail for row in rows]
    await database.close()
    return steps
