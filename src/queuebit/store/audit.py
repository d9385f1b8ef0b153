"""The audit trail: who changed what, from where, and who was refused.

An entry of a change is written in the change's own transaction: neither is there without the other,
and it costs no write to the disk of its own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.store.connect import Engines
from queuebit.store.tables import metadata

DONE = "done"
REFUSED = "refused"

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("user", sa.Text),
    sa.Column("key_id", sa.Text),
    sa.Column("instance", sa.Text),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("times", sa.BigInteger, nullable=False),
)
sa.Index("ix_audit_at", audit.c.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What somebody did, or was refused."""

    at: int
    """ms since the epoch, by the wall clock, however fast the service's own runs."""
    user: str | None = None  # None: nobody knows; likewise the next two
    key_id: str | None = None
    instance: str | None = None
    address: str = ""
    action: str
    """`job.submit`, `key.make` ...; of what was refused, the method and route."""
    target: str = ""
    """Id or name of what it was done to."""
    detail: str = ""
    outcome: str = DONE
    request: str = ""
    """Id of the request, as the answer and the logs have it."""
    times: int = 1
    """How often; only what changes nothing is summed up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry(Entry):
    """An entry, with its place in the trail."""

    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which entries, the newest first. None: any."""

    limit: int
    before: int | None = None
    """Only those with a lower id."""
    user: str | None = None
    instance: str | None = None
    target: str | None = None
    outcome: str | None = None
    action: str | None = None
    """The action itself, or what it begins with up to a dot: `job` is all that is done to jobs."""
    since: int | None = None  # inclusive
    until: int | None = None  # exclusive


class AuditTrail:
    """The table above, beside what is written with the changes themselves."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def record(self, entries: Sequence[Entry]) -> None:
        """Write what changed nothing."""
        async with self._engines.lead.writing() as connection:
            await write(connection, entries)

    async def check(self) -> None:
        """Raise unless the database can be written: take the right to write, and give it back."""
        async with self._engines.writer.connect() as connection:
            await (await connection.begin()).rollback()

    async def read(self, query: AuditQuery) -> list[StoredEntry]:
        """One page of the trail."""
        columns = audit.c
        asked = [
            columns[name] == value
            for name in ("user", "instance", "target", "outcome")
            if (value := getattr(query, name)) is not None
        ]
        if query.action is not None:
            begins = columns.action.startswith(f"{query.action}.", autoescape=True)
            asked.append((columns.action == query.action) | begins)
        if query.before is not None:
            asked.append(columns.id < query.before)
        if query.since is not None:
            asked.append(columns.at >= query.since)
        if query.until is not None:
            asked.append(columns.at < query.until)
        page = sa.select(audit).where(*asked).order_by(columns.id.desc()).limit(query.limit)
        async with self._engines.reader.connect() as connection:
            rows = (await connection.execute(page)).mappings().all()
        return [StoredEntry(**row) for row in rows]

    async def forget(self, before: int) -> None:
        """Delete what is older than an instant."""
        async with self._engines.lead.writing() as connection:
            await connection.execute(sa.delete(audit).where(audit.c.at < before))


async def write(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Write entries in a transaction that is under way."""
    rows: list[dict[str, Any]] = [asdict(entry) for entry in entries]
    if rows:
        await connection.execute(sa.insert(audit), rows)
