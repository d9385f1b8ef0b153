"""How to reach the database that a URL names: one connection that writes, a few that read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from queuebit.errors import ConfigError
from queuebit.store.lead import Lead

READERS_MAX = 4  # connections; a read takes well under a millisecond
BUSY_MS = 10_000  # how long SQLite waits for another process, say a backup, to let go
WAL_BYTES_MAX = 64 * 2**20  # to which SQLite cuts its log back after a burst

ANALYSED_MAX = 400  # entries of each index that statistics look at; milliseconds in all

# libpq's, where the URL has no other: a server that is cut off is noticed, and not waited for.
_SESSIONS = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}


@dataclass(frozen=True, slots=True)
class Engines:
    """Two doors to one database."""

    writer: AsyncEngine
    """One connection: writes stand in line for it, and none waits for a lock inside SQLite."""
    reader: AsyncEngine
    """Each statement on its own sees what was committed before it; no transactions to end."""
    lead: Lead
    """Every write goes through it."""

    async def dispose(self) -> None:
        """Close every connection, and let somebody else lead."""
        await self.reader.dispose()
        await self.writer.dispose()
        self.lead.release()


def connect(url: str) -> Engines:
    """Engines for `url`; nothing is opened yet. ConfigError if we cannot use it."""
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    try:
        return _postgresql(parsed)
    except ImportError as error:
        raise ConfigError(
            f"database {parsed.render_as_string()}: the driver psycopg is not installed;"
            " pip install 'psycopg[binary]'"
        ) from error


def _parse(url: str) -> sa.URL:
    """`url` with the driver that we use, whichever it names."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigError(
            "the database's URL cannot be read; examples: sqlite:////var/lib/queuebit/queuebit.db,"
            " postgresql://user@host/name"
        ) from error
    dialect = parsed.drivername.partition("+")[0]
    if dialect not in _DRIVERS:
        raise ConfigError(f"database {dialect!r} is not supported: use sqlite or postgresql")
    if dialect == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("a SQLite database needs a file: sqlite:////path/to/queuebit.db")
    return parsed.set(drivername=_DRIVERS[dialect])


def _sqlite(url: sa.URL) -> Engines:
    writer = create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_reset_on_return=None,  # every use is one transaction that ends itself
    )
    reader = create_async_engine(
        url,
        pool_size=READERS_MAX,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    sa.event.listen(writer.sync_engine, "connect", _set_up_writer)
    # At once a writer: a transaction that only becomes one later may fail half-way.
    sa.event.listen(
        writer.sync_engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN IMMEDIATE")
    )
    sa.event.listen(reader.sync_engine, "connect", _set_up_reader)
    return Engines(writer, reader, Lead(writer))


def _set_up_writer(connection: Any, _: object) -> None:
    connection.isolation_level = None  # our "begin" begins, not Python's sqlite3
    _pragmas(
        connection,
        "journal_mode = WAL",  # readers do not wait for the writer
        "synchronous = FULL",  # what is committed survives a power cut
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_MS}",
        f"journal_size_limit = {WAL_BYTES_MAX}",
    )


def _set_up_reader(connection: Any, _: object) -> None:
    _pragmas(connection, f"busy_timeout = {BUSY_MS}", "query_only = ON")


def _pragmas(connection: Any, *settings: str) -> None:
    cursor = connection.cursor()
    for setting in settings:
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _postgresql(url: sa.URL) -> Engines:
    # A server that was restarted has dropped our connections: ask before use.
    told = {name: value for name, value in _SESSIONS.items() if name not in url.query}
    writer = create_async_engine(
        url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=told
    )
    reader = create_async_engine(
        url,
        connect_args=told,
        pool_size=READERS_MAX,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    return Engines(writer, reader, Lead(writer))


def make_folder(engines: Engines) -> None:
    """Make the folder of a SQLite database; nothing to do for a server."""
    url = engines.writer.url
    if url.get_backend_name() == "sqlite" and url.database is not None:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def refresh_statistics(connection: sa.Connection) -> None:
    """Let SQLite know how rare what is: it then begins a search with a rare tag, not a large lab.

    PostgreSQL does so on its own.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA analysis_limit = {ANALYSED_MAX}")
        connection.exec_driver_sql("ANALYZE")
