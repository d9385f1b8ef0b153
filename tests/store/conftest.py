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
    """The URL of the PostgreSQL database, with nothing in it."""
    assert POSTGRES is not None
    engine = sa.create_engine(sa.make_url(POSTGRES).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return POSTGRES


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
