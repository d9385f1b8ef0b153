"""What is kept for some days is deleted after them, and nothing else."""

from pathlib import Path

import pytest
from tests.store.records import ended, job, job_details

from queuebit.clock import VirtualClock
from queuebit.config import Config
from queuebit.store.database import Database
from queuebit.store.payloads import Payloads
from queuebit.store.room import Reserve
from queuebit.upkeep import DAY_MS, Upkeep

NOW = 100 * DAY_MS
AGES = {"old": 40, "middle": 20, "new": 1}  # days


@pytest.fixture
async def database(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/queuebit.db")
    await database.open()
    payloads = Payloads(tmp_path / "payloads")
    for seq, (job_id, days) in enumerate(AGES.items(), 1):
        at = NOW - days * DAY_MS
        record = ended(job_id, seq, at=at, usage_ms=7, created_at=at, run=1)
        await database.save([record], [job_details(job_id, input_bytes=6)])
        await database.add_metrics(job_id, {}, 9)
        for name in ("params", "result.1", "log"):
            payloads.write(job_id, name, b"x", durable=False)
        payloads.settle(job_id)
    await database.save([job("waits", 9, created_at=0)], [job_details("waits", input_bytes=6)])
    payloads.write("waits", "params", b"x", durable=False)
    yield database
    await database.close()


async def kept(database: Database, folder: Path, **settings: float) -> dict[str, set[str]]:
    """The files of each job after a round of deleting."""
    config = Config(data=folder, **settings)
    payloads, clock = Payloads(folder / "payloads"), VirtualClock(NOW)
    await Upkeep(config, database, payloads, Reserve(folder, 0), clock).delete()
    assert await database.known_jobs() == set(payloads.jobs())
    found = {
        name: {p.name for p in (folder / "payloads" / name).iterdir()} for name in payloads.jobs()
    }
    assert found.pop("waits") == {"params"}
    return found


async def test_nothing_is_deleted_unless_somebody_said_so(database: Database, tmp_path: Path):
    found = await kept(database, tmp_path)

    assert found == {job_id: {"params", "result.1", "log"} for job_id in AGES}
    assert await database.stored("lab") == (4, 6 * 4 + 9 * 3)


async def test_jobs_are_deleted_after_their_days(database: Database, tmp_path: Path):
    found = await kept(database, tmp_path, keep_days=30)

    assert set(found) == {"middle", "new"}
    assert Payloads(tmp_path / "payloads").marked() == ["waits"]
    assert await database.stored("lab") == (3, 6 * 3 + 9 * 2)


async def test_inputs_and_results_have_days_of_their_own(database: Database, tmp_path: Path):
    found = await kept(database, tmp_path, keep_inputs_days=10, keep_results_days=30)

    assert found == {
        "old": {"log"},
        "middle": {"result.1", "log"},
        "new": {"params", "result.1", "log"},
    }
    assert await database.stored("lab") == (4, 6 * 2 + 9 * 2)
    assert await kept(database, tmp_path, keep_inputs_days=10, keep_results_days=30) == found
