"""Users, keys, instances and roles in the database.

What the configuration declares is written anew at each start, so that nothing of it outlives it
there; what administrators added stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.config import InstanceConfig
from queuebit.store.audit import Entry, write
from queuebit.store.connect import Engines
from queuebit.store.tables import JSON, metadata
from queuebit.tenancy import Directory, Grant, Key, Owned, Role, User, directory

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("tags", JSON, nullable=False),
    sa.Column("allocation_s", sa.Double, nullable=False),
    sa.Column("limit_s", sa.Double),
    sa.Column("since", sa.BigInteger),  # ms
    sa.Column("declared", sa.Boolean, nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, sa.ForeignKey(users.c.name, ondelete="CASCADE"), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
sa.Index("ix_keys_digest", keys.c.digest, unique=True)

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("user", sa.Text, sa.ForeignKey(users.c.name, ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "instance", sa.Text, sa.ForeignKey(instances.c.name, ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
)


class Tenants:
    """The tables above; each change is one transaction, durable on return."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def read(self) -> Directory:
        """All that there is."""
        async with self._engines.reader.connect() as connection:
            found = [
                (await connection.execute(sa.select(table))).mappings().all()
                for table in (instances, users, keys, grants)
            ]
        return directory(
            (_owned(row) for row in found[0]),
            (User(**row) for row in found[1]),
            (Key(**row) for row in found[2]),
            (Grant(**{**row, "role": Role(row["role"])}) for row in found[3]),
        )

    async def declare(self, declared: Directory) -> None:
        """Have exactly this as what the configuration declares.

        What an administrator added under a name that is declared now becomes the declared one.
        """
        async with self._engines.writer.begin() as connection:
            await connection.execute(sa.delete(grants).where(grants.c.declared))
            await connection.execute(sa.delete(keys).where(keys.c.declared))
            await _leave_only(connection, users, declared.users)
            await _leave_only(connection, instances, declared.instances)
            for user in declared.users.values():
                await _put(connection, users, asdict(user))
            for owned in declared.instances.values():
                await _put(connection, instances, _row(owned))
            for key in declared.keys.values():
                await connection.execute(sa.delete(keys).where(keys.c.digest == key.digest))
                await _put(connection, keys, asdict(key))
            for grant in declared.grants.values():
                await _put(connection, grants, asdict(grant))

    async def put(self, thing: Owned | User | Key | Grant, entries: Sequence[Entry] = ()) -> None:
        """Add `thing`, or replace the one of its name; `entries` tell who did it."""
        async with self._engines.writer.begin() as connection:
            match thing:
                case Owned():
                    await _put(connection, instances, _row(thing))
                case User():
                    await _put(connection, users, asdict(thing))
                case Key():
                    await _put(connection, keys, asdict(thing))
                case Grant():
                    await _put(connection, grants, asdict(thing))
            await write(connection, entries)

    async def remove(
        self, thing: Owned | User | Key | Grant, entries: Sequence[Entry] = ()
    ) -> None:
        """Remove `thing` and what hangs on it; nothing to do if it is gone."""
        async with self._engines.writer.begin() as connection:
            match thing:
                case Owned(config=config):
                    await _remove(connection, instances, config.name)
                case User(name=name):
                    await _remove(connection, users, name)
                case Key(id=key_id):
                    await _remove(connection, keys, key_id)
                case Grant(user=user, instance=instance):
                    await _remove(connection, grants, user, instance)
            await write(connection, entries)


async def _put(connection: AsyncConnection, table: sa.Table, row: dict[str, Any]) -> None:
    """Update in place: deleting the old row would take what hangs on it along."""
    same = _where(table, [row[column.name] for column in table.primary_key])
    done = await connection.execute(sa.update(table).where(same).values(row))
    if not done.rowcount:
        await connection.execute(sa.insert(table).values(row))


async def _remove(connection: AsyncConnection, table: sa.Table, *key: str) -> None:
    await connection.execute(sa.delete(table).where(_where(table, key)))


async def _leave_only(connection: AsyncConnection, table: sa.Table, names: Iterable[str]) -> None:
    """Remove the declared rows that are declared no longer."""
    gone = table.c.declared & table.c.name.not_in(list(names))
    await connection.execute(sa.delete(table).where(gone))


def _where(table: sa.Table, key: Sequence[Any]) -> sa.ColumnElement[bool]:
    pairs = zip(table.primary_key, key, strict=True)
    return sa.and_(*(column == value for column, value in pairs))


def _row(owned: Owned) -> dict[str, Any]:
    config = owned.config
    since = None if config.since is None else round(config.since.timestamp() * 1_000)
    told = config.model_dump(mode="json")
    return {**told, "since": since, "declared": owned.declared}


def _owned(row: sa.RowMapping) -> Owned:
    given = {key: value for key, value in row.items() if key not in ("declared", "since")}
    since = None if row["since"] is None else datetime.fromtimestamp(row["since"] / 1_000, UTC)
    return Owned(config=InstanceConfig(**given, since=since), declared=row["declared"])
