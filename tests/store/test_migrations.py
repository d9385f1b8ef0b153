from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.store.records import job, job_details

from queuebit.config import InstanceConfig
from queuebit.core.model import BackendState, Calibrated
from queuebit.errors import ConfigError
from queuebit.store.connect import connect, make_folder
from queuebit.store.database import Database
from queuebit.store.migrations import migrate
from queuebit.store.tables import metadata
from queuebit.tenancy import InstanceRecord, Role, User


async def in_database(url: str, function: Callable[[sa.Connection], Any]) -> Any:
    """What `function` gives, called with a connection in a transaction."""
    engines = connect(url)
    make_folder(engines)
    try:
        async with engines.writer.begin() as connection:
            return await connection.run_sync(function)
    finally:
        await engines.dispose()


async def test_migrating_from_nothing_gives_the_declared_tables(database: Database, url: str):
    def differences(connection: sa.Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, metadata)

    assert await in_database(url, differences) == []


async def test_migrating_from_nothing_is_creating_the_declared_tables(tmp_path: Path):
    """Alembic compares neither partial indexes nor what a deletion takes along."""
    migrated, created = f"sqlite:///{tmp_path}/migrated.db", f"sqlite:///{tmp_path}/created.db"
    await in_database(migrated, migrate)
    await in_database(created, metadata.create_all)

    assert await in_database(migrated, schema) == await in_database(created, schema)


def schema(connection: sa.Connection) -> dict[str, Any]:
    """Tables without the order of their columns, which a later step can only add at the end."""
    query = sa.text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found: dict[str, Any] = {}
    for kind, name, statement in connection.execute(query):
        if kind == "table":
            columns = connection.execute(sa.text(f"PRAGMA table_info({name})"))
            keys = connection.execute(sa.text(f"PRAGMA foreign_key_list({name})"))
            found[name] = (sorted(row[1:] for row in columns), sorted(row[2:] for row in keys))
        else:
            found[name] = " ".join(statement.split())
    found.pop("alembic_version", None)
    return found


async def test_opening_again_keeps_everything(url: str):
    first = Database(url)
    await first.open()
    await first.save([job("j1", 1)], [job_details("j1", tags=("a",))])
    stored = await first.job("j1")
    await first.close()

    second = Database(url)
    await second.open()

    assert await second.job("j1") == stored
    assert (await second.load()).records == [job("j1", 1)]
    await second.close()


async def test_a_calibration_from_before_there_was_drift_keeps_its_date(url: str):
    """From 0002: a calibration had ended, and another was going on when the service stopped."""

    def as_of_0002(connection: sa.Connection) -> None:
        migrate(connection, "0002")
        written = (
            "INSERT INTO backends (id, status, status_reason, scheduled, due, calibrating, run,"
            " calibrated_at) VALUES ('q', 'online', 'available', '[]', '[]', 'monitor', 4, 1000),"
            " ('r', 'online', 'available', '[]', '[]', NULL, 0, NULL)"
        )
        connection.execute(sa.text(written))

    await in_database(url, as_of_0002)
    late = Database(url)
    await late.open()

    states = await late.backend_states()
    assert states["q"] == BackendState(id="q", calibrating="monitor", run=4, calibrated_at=1_000)
    assert states["r"] == BackendState(id="r")
    assert await late.calibrated("q", 2_000) == Calibrated(at=1_000)
    assert await late.calibrated("q", 999) is None
    assert await late.calibrated("r", 2_000) is None
    await late.close()


async def test_a_newer_database_is_refused_by_name(database: Database, url: str):
    future = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await in_database(url, lambda connection: connection.execute(future).rowcount)
    late = Database(url)

    with pytest.raises(ConfigError, match=r"step '9999'.*newer"):
        await late.open()

    await late.close()


async def test_a_migration_that_fails_leaves_nothing_behind(url: str):
    def migrate_and_fail(connection: sa.Connection) -> None:
        migrate(connection)
        connection.execute(sa.text("SELECT nonsense"))

    with pytest.raises(sa.exc.DBAPIError):
        await in_database(url, migrate_and_fail)

    assert await in_database(url, lambda found: sa.inspect(found).get_table_names()) == []


async def test_what_was_charged_before_there_were_charges_still_counts(url: str):
    """From 0005: jobs in each mode, one deleted, a session of two windows, one going on."""

    def as_of_0005(connection: sa.Connection) -> None:
        migrate(connection, "0005")
        workload = (
            "INSERT INTO workloads VALUES ('{0}', 1, 'lab', 'q', '{1}', 0, 1, 1, 1, 1, '{2}',"
            " '', {3}, 10, 10, NULL, 10, 10, NULL, 0, 0, NULL, '{4}', 'ada')"
        )
        windows = '[["open", 0], ["active", 10], ["inactive", 40], ["active", 100], {}]'
        over, active = windows.format('["closed", 300]'), windows.format('["active", 400]')
        yes = "true" if connection.dialect.name == "postgresql" else "1"
        for row in (
            ("batch", "batch", "active", yes, over),
            ("session", "dedicated", "closed", yes, over),
            ("going", "dedicated", "active", yes, active.replace('["active", 100], ', "")),
        ):
            connection.exec_driver_sql(workload.format(*row))
        job = (
            "INSERT INTO {} (id, seq, instance, workload_id, ended_at, usage_ms{})"
            " VALUES ('{}', 1, 'lab', {}, {}, {}{})"
        )
        more = ', backend, created_at, status, run, "user", program_id, private'
        values = f", 'q', 0, 'Completed', 1, 'ada', 'sampler', {yes}"
        for job_id, of, at, ms in (
            ("alone", "NULL", 50, 1_000),
            ("in batch", "'batch'", 60, 2_000),
            ("in session", "'session'", 70, 9_999),
            ("free", "NULL", 80, 0),
            ("running", "NULL", "NULL", 9_999),
        ):
            connection.exec_driver_sql(job.format("jobs", more, job_id, of, at, ms, values))
        connection.exec_driver_sql(job.format("deleted_jobs", "", "gone", "NULL", 90, 4_000, ""))

    await in_database(url, as_of_0005)
    late = Database(url)
    await late.open()

    assert await late.usage_ms("lab", 0) == 1_000 + 2_000 + 4_000 + 30 + 200 + 30
    assert await late.usage_ms("lab", 61) == 4_000 + 200
    assert sum(charge.ms for charge in await late.charges(0)) == await late.usage_ms("lab", 0)
    await late.close()


async def test_names_of_tenants_become_their_ids_and_removed_ones_keep_theirs(url: str):
    """From 0006: instance `gone` and user `left` were removed, but their jobs are on record."""

    def as_of_0006(connection: sa.Connection) -> None:
        migrate(connection, "0006")
        for statement in (
            (
                "INSERT INTO instances (name, plan, account, tags, allocation_s, declared)"
                " VALUES ('lab', 'premium', 'physics', '[\"a\"]', 1.5, true)"
            ),
            "INSERT INTO users (name, admin, declared, created_at) VALUES ('ada', true, true, 5)",
            (
                'INSERT INTO keys (id, "user", label, digest, declared, created_at)'
                " VALUES ('k', 'ada', '', 'd', false, 6)"
            ),
            (
                'INSERT INTO grants ("user", instance, role, declared)'
                " VALUES ('ada', 'lab', 'manager', true)"
            ),
        ):
            connection.execute(sa.text(statement))
        rows = [("j1", "lab", "ada", 10), ("j2", "gone", "left", 20), ("j3", "gone", "left", 30)]
        for seq, (job_id, instance, user, at) in enumerate(rows):
            columns = {"id": job_id, "seq": seq, "instance": instance, "user": user}
            columns |= {"backend": "q", "created_at": at, "status": "queued", "run": 0}
            columns |= {"usage_ms": 0, "program_id": "sampler", "private": False}
            table = sa.table("jobs", *map(sa.column, columns))
            connection.execute(sa.insert(table).values(columns))

    await in_database(url, as_of_0006)
    late = Database(url)
    await late.open()

    read = await late.tenants.read()
    again = await late.tenants.add(
        InstanceRecord(id="", config=InstanceConfig(name="gone", account="physics"))
    )
    user = await late.tenants.add(User(id="", name="left"))
    await late.close()

    assert (read.instances["lab"].created_at, read.instances["lab"].config.tags) == (10, ("a",))
    assert set(read.users) == {"ada"}
    assert set(read.keys) == {"k"}
    assert read.role("ada", "lab") is Role.MANAGER
    assert (again.id, user.id) == ("gone#2", "left#2")
