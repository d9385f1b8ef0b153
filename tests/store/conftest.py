import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.fakes import MemoryStore

from queuebit.store.database import Database

POSTGRES = os.environ.get("QUEUEBIT_TEST_POSTGRES")
"""URL of a PostgreSQL database that the tests may empty."""

NEEDS_POSTGRES = pytest.mark.skipif(POSTGRES is None, reason="QUEUEBIT_TEST_POSTGRES is not set")


def empty_postgres() -> str:
    """The URL of a PostgreSQL database with nothing in it; each process of tests has its own."""
    assert POSTGRES is not None
    given = sa.make_url(POSTGRES)
    own = given.set(database=f"tests_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")
    server = _engine(given).execution_options(isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        known = connection.execute(
            sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": own.database}
        )
        if known.first() is None:
            connection.execute(sa.text(f"CREATE DATABASE {own.database}"))
    server.dispose()
    engine = _engine(own)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return own.render_as_string(hide_password=False)


def _engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=NEEDS_POSTGRES)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return empty_postgres()
    return f"sqlite:///{tmp_path}/data/queuebit.db"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=NEEDS_POSTGRES)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Database | MemoryStore]:
    store: Database | MemoryStore
    if request.param == "memory":
        store = MemoryStore()
    elif request.param == "sqlite":
        store = Database(f"sqlite+aiosqlite:///{tmp_path}/queuebit.db")
    else:
        store = Database(empty_postgres())
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop for tests that Hypothesis drives: it calls plain functions."""
    with asyncio.Runner() as runner:
        yield runner
