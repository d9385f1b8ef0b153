"""A damaged row costs the job that it belongs to, and nobody else."""

import pytest
import sqlalchemy as sa
from tests.store.records import job, job_details, workload, workload_details

from queuebit.core.scheduler import Scheduler
from queuebit.errors import ConfigError, DamagedRecord
from queuebit.store.database import Database, JobQuery
from queuebit.store.listing import WorkloadQuery

UNREADABLE = {
    "unknown status": "UPDATE jobs SET status = 'Foo' WHERE id = 'bad'",
    "unknown stage": "UPDATE jobs SET stage = 'dreaming' WHERE id = 'bad'",
    "reason of another form": """UPDATE jobs SET reason = '{"words": 1}' WHERE id = 'bad'""",
}
UNSOUND = {
    "running without times": "UPDATE jobs SET status = 'Running', stage = 'quantum'"
    " WHERE id = 'bad'",
    "running without a stage": "UPDATE jobs SET status = 'Running' WHERE id = 'bad'",
    "final without an end": "UPDATE jobs SET status = 'Completed' WHERE id = 'bad'",
    "queued in a stage": "UPDATE jobs SET stage = 'finish' WHERE id = 'bad'",
}


async def change(database: Database, statement: str) -> None:
    async with database._engines.writer.begin() as connection:
        await connection.execute(sa.text(statement))


@pytest.fixture
async def damaged(database: Database) -> Database:
    records = [job("good", 1), job("bad", 2), job("other", 3)]
    await database.save(records, [job_details(record.id) for record in records])
    return database


@pytest.mark.parametrize("statement", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_row_that_cannot_be_read_is_named_and_set_aside(damaged: Database, statement):
    await change(damaged, statement)

    loaded = await damaged.load()
    assert [record.id for record in loaded.records] == ["good", "other"]
    assert list(loaded.set_aside) == ["bad"]
    assert loaded.last_seq == 3
    with pytest.raises(DamagedRecord, match="record of bad in the service's database is damaged"):
        await damaged.job("bad")
    assert (await damaged.job("good")).record.id == "good"
    found, count = await damaged.jobs(JobQuery(instance="lab"))
    assert ([one.record.id for one in found], count) == (["other", "good"], 3)
    found, _ = await damaged.jobs(JobQuery(instance="lab", limit=1, offset=2))
    assert [one.record.id for one in found] == ["good"]
    page = await damaged.workloads(WorkloadQuery(instance="lab", limit=9))
    assert [one.record.id for one in page.entries] == ["good", "other"]


@pytest.mark.parametrize("statement", UNSOUND.values(), ids=UNSOUND)
async def test_what_the_scheduler_cannot_have_made_is_set_aside(damaged: Database, statement):
    await change(damaged, statement)

    loaded = await damaged.load()

    assert [record.id for record in loaded.records] == ["good", "other"]
    assert list(loaded.set_aside) == ["bad"]
    Scheduler([], loaded.records)


async def test_a_damaged_batch_takes_its_jobs_along_and_no_others(database: Database):
    batches = [workload("w1", 1), workload("w2", 2)]
    jobs = [job("j1", 3, workload_id="w1"), job("j2", 4, workload_id="w2")]
    details = [workload_details("w1"), workload_details("w2"), job_details("j1"), job_details("j2")]
    await database.save([*batches, *jobs], details)
    await change(database, "UPDATE workloads SET state = 'asleep' WHERE id = 'w1'")

    loaded = await database.load()

    assert [record.id for record in loaded.records] == ["w2", "j2"]
    assert set(loaded.set_aside) == {"w1", "j1"}
    assert "its batch or session w1 is" in loaded.set_aside["j1"]
    with pytest.raises(DamagedRecord):
        await database.workload("w1")


async def test_a_sqlite_value_of_another_type_is_set_aside(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/queuebit.db")
    await database.open()
    await database.save([job("good", 1), job("bad", 2)], [job_details("good"), job_details("bad")])
    await change(database, "UPDATE jobs SET created_at = 'yesterday' WHERE id = 'bad'")

    loaded = await database.load()

    assert [record.id for record in loaded.records] == ["good"]
    assert loaded.set_aside == {"bad": "created_at is 'yesterday'"}
    await database.close()


async def test_a_database_that_lost_its_version_is_refused_by_name(database: Database, url: str):
    await change(database, "DELETE FROM alembic_version")
    late = Database(url)

    with pytest.raises(ConfigError, match="alembic_version is empty"):
        await late.open()
    await late.close()
