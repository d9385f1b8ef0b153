"""One process decides on a database: another is refused, and cannot save behind its back."""

import pytest
from tests.store.records import job, job_details

from queuebit.errors import ConfigError, ServiceFault
from queuebit.store import lead
from queuebit.store.audit import AuditQuery, Entry
from queuebit.store.database import Database


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead, "_PAUSES_S", (0.01,))


async def leading(url: str, holder: str) -> tuple[Database, str]:
    database = Database(url)
    await database.lock()
    await database.open()
    return database, await database.lead(holder)


async def test_a_second_service_is_refused_and_told_who_the_first_is(url: str):
    first, _ = await leading(url, "process 1 on a")

    second = Database(url)
    with pytest.raises(ConfigError, match="in use by another service, process 1 on a"):
        await second.lock()
    await second.close()
    await first.close()

    third, _ = await leading(url, "process 3 on c")
    await third.save([job("j1", 1)], [job_details("j1")])
    await third.close()


async def test_the_id_of_a_database_stays(url: str):
    first, database_id = await leading(url, "a")
    await first.close()
    second, again = await leading(url, "b")
    await second.close()

    assert database_id == again


async def test_who_was_taken_over_changes_nothing_any_more(url: str):
    """As after a lock that was lost without a word."""
    old, _ = await leading(url, "process 1 on a")
    await old.save([job("j1", 1)], [job_details("j1")])
    new = Database(url)
    await new.open()
    await new.lead("process 2 on b")

    with pytest.raises(ServiceFault, match="taken the database over: process 2 on b"):
        await old.save([job("j2", 2)], [job_details("j2")])
    with pytest.raises(ServiceFault, match="taken the database over"):
        await old.set_tags("j1", ["late"])
    with pytest.raises(ServiceFault, match="taken the database over"):
        await old.audit.record([])
    await new.save([job("j3", 2)], [job_details("j3")])

    assert await new.known_jobs() == {"j1", "j3"}
    assert (await new.job("j1")).details.tags == ()
    await old.close()
    await new.close()


async def test_a_save_whose_answer_was_lost_is_made_once(url: str, monkeypatch):
    """The commit was made; the driver saves the same again, with the entries of the audit trail."""
    database, _ = await leading(url, "a")
    entry = Entry(at=1, action="job.submit")
    lost = database._engines.lead
    monkeypatch.setattr(lost, "_saves", 0)
    await database.save([job("j1", 1)], [job_details("j1")], [entry])
    lost._saves = 0  # as if the answer had not come

    await database.save([job("j1", 1)], [job_details("j1")], [entry])
    await database.save([job("j2", 2)], [job_details("j2")], [entry])

    assert len(await database.audit.read(AuditQuery(limit=9))) == 2
    assert await database.known_jobs() == {"j1", "j2"}
    lost._saves = 0
    with pytest.raises(ServiceFault, match="save 1 does not follow save 2"):
        await database.save([job("j3", 3)], [job_details("j3")])
    await database.close()


async def test_a_link_to_a_sqlite_database_is_the_same_database(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    first, _ = await leading(f"sqlite:///{tmp_path}/real/a.db", "first")

    second = Database(f"sqlite:///{tmp_path}/link/a.db")
    with pytest.raises(ConfigError, match="first"):
        await second.lock()
    await second.close()
    await first.close()
