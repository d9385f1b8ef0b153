"""Which process decides: one for each database, and every write checks that it is still this one.

A lock says at once that somebody decides: on a file beside a SQLite database, in the session of the
writing connection on PostgreSQL. But a connection can be lost without a word, and with it the lock.
So the table `service` has an epoch, which whoever begins to decide raises; a write of an earlier
epoch changes nothing. That needs no clock.
"""

import asyncio
import fcntl
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from queuebit.errors import ConfigError, ServiceFault
from queuebit.store.tables import metadata

_LOCK = 7_301_453  # any number, the same for all; with the schema it names the advisory lock

service = sa.Table(
    "service",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # 1: there is one row
    sa.Column("database_id", sa.Text, nullable=False),  # which data folders have, too
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("saves", sa.BigInteger, nullable=False),  # of this epoch
    sa.Column("holder", sa.Text, nullable=False),  # who decides, for people
)

# A server may take a moment to see that the service before us is dead.
_PAUSES_S = (0.1, 0.4, 0.5, 1.0, 1.0, 1.0, 1.0)

_ROW = sa.select(service)
_FENCE = sa.select(service.c.epoch).with_for_update(read=True)
_SAVE = (
    sa.update(service)
    .where(service.c.epoch == sa.bindparam("mine"), service.c.saves == sa.bindparam("number") - 1)
    .values(saves=sa.bindparam("number"))
)
_LOCK_POSTGRESQL = f"SELECT pg_try_advisory_lock({_LOCK}, hashtext(current_schema()))"


class Lead:
    """The right to write, once it was taken; before that, and for tests, writes are not checked."""

    def __init__(self, writer: AsyncEngine) -> None:
        self._writer = writer
        self._epoch: int | None = None  # None: not taken
        self._saves = 0
        self._file: int | None = None

    async def lock(self) -> None:
        """Let nobody else lead this database; ConfigError, naming who does."""
        url = self._writer.url
        if url.get_backend_name() != "sqlite":
            if not sa.event.contains(self._writer.sync_engine, "connect", _lock_connection):
                sa.event.listen(self._writer.sync_engine, "connect", _lock_connection)
            await self._writer.dispose()  # the next connection has the lock
            for pause_s in _PAUSES_S:
                with suppress(_Locked):
                    async with self._writer.connect():
                        return
                await asyncio.sleep(pause_s)
            sa.event.remove(self._writer.sync_engine, "connect", _lock_connection)
            raise ConfigError(await self._in_use())
        assert url.database is not None
        self.release()
        self._file = _open_lock(url.database)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(await self._in_use()) from None

    async def take(self, holder: str) -> str:
        """Begin a new epoch: from now on, who led before saves nothing any more.

        Returns the id of the database.
        """
        async with self._writer.begin() as connection:
            row = (await connection.execute(_ROW.with_for_update())).one_or_none()
            epoch = 1 if row is None else row.epoch + 1
            values: dict[str, Any] = {"epoch": epoch, "saves": 0, "holder": holder}
            database_id = uuid.uuid4().hex if row is None else str(row.database_id)
            if row is None:
                new = {"id": 1, "database_id": database_id, **values}
                await connection.execute(sa.insert(service).values(new))
            else:
                await connection.execute(sa.update(service).values(values))
        self._epoch, self._saves = epoch, 0
        return database_id

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, which fails with ServiceFault if somebody else leads by now."""
        async with self._writer.begin() as connection:
            if self._epoch is not None:
                epoch = (await connection.execute(_FENCE)).scalar_one()
                await self._check(connection, epoch)
            yield connection

    @asynccontextmanager
    async def saving(self) -> AsyncIterator[AsyncConnection | None]:
        """The same for the driver's saves, of which each is made once; None: this one was made.

        A commit whose answer was lost may have been made; whoever repeats its save is told so. A
        save that failed has to be repeated before there is another.
        """
        number = self._saves + 1
        async with self._writer.begin() as connection:
            if self._epoch is None or await self._count(connection, number):
                yield connection
            else:
                yield None
        self._saves = number

    async def _count(self, connection: AsyncConnection, number: int) -> bool:
        """Note that this save is made; False: it was already."""
        values = {"mine": self._epoch, "number": number}
        if (await connection.execute(_SAVE, values)).rowcount:
            return True
        row = (await connection.execute(_ROW)).one()
        await self._check(connection, row.epoch)
        if row.saves != number:
            raise ServiceFault(f"save {number} does not follow save {row.saves}")
        return False

    async def _check(self, connection: AsyncConnection, epoch: int) -> None:
        if epoch != self._epoch:
            holder = (await connection.execute(_ROW)).one().holder
            raise ServiceFault(f"another service has taken the database over: {holder}")

    def release(self) -> None:
        """Let somebody else lead."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _in_use(self) -> str:
        """Who leads, as far as the database can be read: it may be older than the table."""
        try:
            async with self._writer.connect() as connection:
                holder = (await connection.execute(_ROW)).one().holder
        except (sa.exc.SQLAlchemyError, OSError):
            holder = "which is not known"
        url = self._writer.url.set(drivername=self._writer.url.get_backend_name())
        return (
            f"database {url.render_as_string()}: is in use by another service, {holder}; "
            "stop that one, or give this one a database of its own"
        )


class _Locked(Exception):
    """Another session has the advisory lock; it passes, as PostgreSQL's own (store/faults.py)."""

    sqlstate = "55P03"


def _open_lock(database: str) -> int:
    """The descriptor of the file whose lock is that of a SQLite database, however it is named."""
    return os.open(f"{os.path.realpath(database)}.lock", os.O_CREAT | os.O_RDWR, 0o600)


def _lock_connection(connection: Any, _: object) -> None:
    """Take the lock in the session of a new connection; the server gives it up with the session."""
    cursor = connection.cursor()
    try:
        cursor.execute(_LOCK_POSTGRESQL)
        (is_ours,) = cursor.fetchone()
        if not is_ours:
            raise _Locked
    finally:
        cursor.close()
    connection.commit()
