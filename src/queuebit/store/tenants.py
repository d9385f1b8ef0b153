"""Users, keys, instances and roles in the database.

What the configuration declares is written at each start, so that nothing of it outlives it there;
what administrators added stays. A user or an instance that is removed leaves its row, because its
id must never be given to another one: jobs, charges and the audit trail name it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.config import InstanceConfig
from queuebit.store.audit import Entry, write
from queuebit.store.connect import Engines
from queuebit.store.tables import JSON, metadata
from queuebit.tenancy import (
    Directory,
    Grant,
    InstanceRecord,
    Key,
    Role,
    User,
    directory,
    unused_id,
)

Named = TypeVar("Named", InstanceRecord, User)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("tags", JSON, nullable=False),
    sa.Column("allocation_s", sa.Double, nullable=False),
    sa.Column("limit_s", sa.Double),
    sa.Column("since", sa.BigInteger),  # ms
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),  # ms
    sa.Column("removed_at", sa.BigInteger),  # ms; NULL: it exists
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("removed_at", sa.BigInteger),
)

for _table in (instances, users):
    sa.Index(
        f"ix_{_table.name}_name",
        _table.c.name,
        unique=True,
        sqlite_where=_table.c.removed_at.is_(None),
        postgresql_where=_table.c.removed_at.is_(None),
    )

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, sa.ForeignKey(users.c.id), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("made_with", sa.Text, sa.ForeignKey("keys.id", ondelete="CASCADE")),
    sa.Column("expires_at", sa.BigInteger),  # ms
    sa.Column("declared", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
sa.Index("ix_keys_digest", keys.c.digest, unique=True)

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("user", sa.Text, sa.ForeignKey(users.c.id), primary_key=True),
    sa.Column("instance", sa.Text, sa.ForeignKey(instances.c.id), primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("declared", sa.Boolean, nullable=False),
)


class Tenants:
    """The tables above; each change is one transaction, durable on return."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def read(self) -> Directory:
        """Everything that exists."""
        async with self._engines.reader.connect() as connection:
            rows = [
                (await connection.execute(select)).mappings().all()
                for select in (
                    sa.select(instances).where(instances.c.removed_at.is_(None)),
                    sa.select(users).where(users.c.removed_at.is_(None)),
                    sa.select(keys),
                    sa.select(grants),
                )
            ]
        return directory(
            (_instance(row) for row in rows[0]),
            (_user(row) for row in rows[1]),
            (Key(**row) for row in rows[2]),
            (Grant(**{**row, "role": Role(row["role"])}) for row in rows[3]),
        )

    async def declare(self, declared: Directory, now: int) -> None:
        """Make this what the configuration declares, whose ids are names so far.

        What an administrator added under a name that is declared now becomes the declared one.
        What is declared again after a time is the one that it was: the same operator says so. An
        instance that comes back under another account is a new one.
        """
        async with self._engines.lead.writing() as connection:
            await connection.execute(sa.delete(grants).where(grants.c.declared))
            kept = list(declared.keys)
            gone = keys.c.declared & keys.c.id.not_in(kept)
            await connection.execute(sa.delete(keys).where(gone))
            user_ids: dict[str, str] = {}
            instance_ids: dict[str, str] = {}
            for table, things, ids in (
                (users, declared.users, user_ids),
                (instances, declared.instances, instance_ids),
            ):
                names = [thing.name for thing in things.values()]
                await _retire_undeclared(connection, table, names, now)
                for thing in things.values():
                    ids[thing.name] = await _declare(connection, table, thing, now)
            for key in declared.keys.values():
                same = (keys.c.digest == key.digest) & (keys.c.id != key.id)
                await connection.execute(sa.delete(keys).where(same))
                await _put(connection, keys, asdict(replace(key, user=user_ids[key.user])))
            for grant in declared.grants.values():
                user, instance = user_ids[grant.user], instance_ids[grant.instance]
                row = asdict(replace(grant, user=user, instance=instance))
                await _put(connection, grants, row)

    async def add(self, thing: Named, entries: Sequence[Entry] = ()) -> Named:
        """Add an instance or a user, under an id that nothing had before; with that id."""
        table = instances if isinstance(thing, InstanceRecord) else users
        async with self._engines.lead.writing() as connection:
            made = replace(thing, id=await _unused_id(connection, table, thing.name))
            await connection.execute(sa.insert(table).values(_row(made)))
            await write(connection, entries)
        return made

    async def put(
        self, thing: InstanceRecord | User | Key | Grant, entries: Sequence[Entry] = ()
    ) -> None:
        """Change the instance or user of this id, add or replace the key or grant.

        `entries` tell who did it.
        """
        async with self._engines.lead.writing() as connection:
            await _put(connection, _table_of(thing), _row(thing))
            await write(connection, entries)

    async def remove(
        self,
        thing: InstanceRecord | User | Key | Grant,
        now: int,
        entries: Sequence[Entry] = (),
    ) -> None:
        """Remove an instance or a user with roles and keys, or a key with those made with it."""
        async with self._engines.lead.writing() as connection:
            match thing:
                case InstanceRecord(id=instance_id):
                    await _retire(connection, instances, instances.c.id == instance_id, now)
                case User(id=user_id):
                    await _retire(connection, users, users.c.id == user_id, now)
                case Key(id=key_id):
                    await connection.execute(sa.delete(keys).where(keys.c.id == key_id))
                case Grant(user=user, instance=instance):
                    same = _where(grants, [user, instance])
                    await connection.execute(sa.delete(grants).where(same))
            await write(connection, entries)


def _table_of(thing: InstanceRecord | User | Key | Grant) -> sa.Table:
    match thing:
        case InstanceRecord():
            return instances
        case User():
            return users
        case Key():
            return keys
        case Grant():
            return grants


async def _put(connection: AsyncConnection, table: sa.Table, row: Mapping[str, Any]) -> None:
    """Update in place: deleting the old row would take what hangs on it along."""
    same = _where(table, [row[column.name] for column in table.primary_key])
    done = await connection.execute(sa.update(table).where(same).values(row))
    if not done.rowcount:
        await connection.execute(sa.insert(table).values(row))


async def _declare(
    connection: AsyncConnection, table: sa.Table, thing: InstanceRecord | User, now: int
) -> str:
    """Write a declared instance or user; its id."""
    row = _row(thing)
    same = table.c.name == thing.name
    if table is instances:
        same &= table.c.removed_at.is_(None) | (table.c.account == row["account"])
    # What exists, else what was declared last: what administrators removed stays removed.
    may = table.c.removed_at.is_(None) | table.c.declared
    latest = table.c.removed_at.desc().nulls_first()
    known = sa.select(table.c.id, table.c.created_at).where(same & may).order_by(latest).limit(1)
    found = (await connection.execute(known)).first()
    if found is None:
        thing_id = await _unused_id(connection, table, thing.name)
        row |= {"id": thing_id, "created_at": now}
        await connection.execute(sa.insert(table).values(row))
        return thing_id
    row |= {"id": found.id, "created_at": found.created_at, "removed_at": None}
    await connection.execute(sa.update(table).where(table.c.id == found.id).values(row))
    return str(found.id)


async def _retire_undeclared(
    connection: AsyncConnection, table: sa.Table, names: Sequence[str], now: int
) -> None:
    """Retire what is declared no longer."""
    gone = table.c.declared & table.c.name.not_in(list(names)) & table.c.removed_at.is_(None)
    await _retire(connection, table, gone, now)


async def _retire(
    connection: AsyncConnection, table: sa.Table, which: sa.ColumnElement[bool], now: int
) -> None:
    """Mark rows as removed, and remove the roles and keys that hang on them."""
    ids = sa.select(table.c.id).where(which)
    hangs_on = grants.c.user if table is users else grants.c.instance
    await connection.execute(sa.delete(grants).where(hangs_on.in_(ids)))
    if table is users:
        # Others keep the keys that an administrator made for them and who leaves now.
        own = sa.select(keys.c.id).where(keys.c.user.in_(ids)).scalar_subquery()
        others = keys.c.made_with.in_(own) & keys.c.user.not_in(ids)
        await connection.execute(sa.update(keys).where(others).values(made_with=None))
        await connection.execute(sa.delete(keys).where(keys.c.user.in_(ids)))
    await connection.execute(sa.update(table).where(which).values(removed_at=now))


async def _unused_id(connection: AsyncConnection, table: sa.Table, name: str) -> str:
    used = sa.select(sa.func.count()).where(table.c.name == name)
    return unused_id(name, (await connection.execute(used)).scalar_one())


def _where(table: sa.Table, key: Sequence[Any]) -> sa.ColumnElement[bool]:
    pairs = zip(table.primary_key, key, strict=True)
    return sa.and_(*(column == value for column, value in pairs))


def _row(thing: InstanceRecord | User | Key | Grant) -> dict[str, Any]:
    if not isinstance(thing, InstanceRecord):
        return asdict(thing)
    config = thing.config
    since = None if config.since is None else round(config.since.timestamp() * 1_000)
    return {
        **config.model_dump(mode="json"),
        "since": since,
        "id": thing.id,
        "declared": thing.declared,
        "created_at": thing.created_at,
    }


def _instance(row: sa.RowMapping) -> InstanceRecord:
    settings = {name: row[name] for name in InstanceConfig.model_fields if name != "since"}
    since = None if row["since"] is None else datetime.fromtimestamp(row["since"] / 1_000, UTC)
    return InstanceRecord(
        id=row["id"],
        config=InstanceConfig(**settings, since=since),
        declared=row["declared"],
        created_at=row["created_at"],
    )


def _user(row: sa.RowMapping) -> User:
    return User(**{name: value for name, value in row.items() if name != "removed_at"})
