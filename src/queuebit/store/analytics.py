"""Usage over time, for IBM's analytics: counted in the database, merged by whatever is asked for.

What was created in an interval counts in it, whenever it ran. Times are milliseconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.core.model import Mode
from queuebit.store.tables import deleted_jobs, jobs, workloads

DAY_MS = 86_400_000


@dataclass(slots=True)
class Sum:
    """How many of something, how much in all, and the most of one."""

    count: int = 0
    total: int = 0
    most: int = 0

    def add(self, other: "Sum") -> None:
        """Count `other` in."""
        self.count += other.count
        self.total += other.total
        self.most = max(self.most, other.most)

    @property
    def average(self) -> float:
        """Of one; 0 of none."""
        return self.total / self.count if self.count else 0.0


@dataclass(slots=True)
class Totals:
    """What some workloads come to."""

    alone: Sum = field(default_factory=Sum)
    """Jobs in job mode, and their QPU time."""
    members: Sum = field(default_factory=Sum)
    """Jobs in batches and sessions, and theirs."""
    batches: Sum = field(default_factory=Sum)
    sessions: Sum = field(default_factory=Sum)
    queued: Sum = field(default_factory=Sum)
    """Jobs that have started, and how long each had been queued."""

    def add(self, other: "Totals") -> None:
        """Count `other` in."""
        for one in fields(self):
            getattr(self, one.name).add(getattr(other, one.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one user created for one instance on one backend in one day."""

    instance: str
    backend: str | None
    """None, like `user`, of jobs that were deleted before these were kept."""
    user: str | None
    day: int
    """Days since the epoch, in UTC."""
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsQuery:
    """What to count. Empty, or None: any."""

    instances: Sequence[str]
    """Only these, also if there is none."""
    since: int | None = None
    """Inclusive."""
    until: int | None = None
    """Exclusive."""
    backends: Sequence[str] = ()
    users: Sequence[str] = ()


async def count(connection: AsyncConnection, query: AnalyticsQuery) -> list[Cell]:
    """What was created, by instance, backend, user and day."""
    found: dict[tuple[Any, ...], Totals] = {}
    for name, source in _sources():
        for row in (await connection.execute(_grouped(query, source))).all():
            totals = found.setdefault((row.instance, row.backend, row.user, row.day), Totals())
            getattr(totals, name).add(Sum(row.count_, int(row.total), int(row.most)))
    return [
        Cell(instance=instance, backend=backend, user=user, day=day, totals=totals)
        for (instance, backend, user, day), totals in found.items()
    ]


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows that count, when each was created, and what is summed."""

    table: sa.Table
    where: sa.ColumnElement[bool]
    created: sa.ColumnElement[Any]
    amount: sa.ColumnElement[Any]


def _sources() -> Iterator[tuple[str, _Source]]:
    """By the name of the sum in the totals that each goes to."""
    for table in (jobs, deleted_jobs):
        column = table.c
        created = sa.func.coalesce(column.created_at, column.ended_at)
        waited = column.started_at - created
        alone = column.workload_id.is_(None)
        yield "alone", _Source(table, alone, created, column.usage_ms)
        yield "members", _Source(table, ~alone, created, column.usage_ms)
        yield "queued", _Source(table, column.started_at.is_not(None), created, waited)
    column = workloads.c
    for name, mode, used in (
        ("batches", Mode.BATCH, column.jobs_ms),
        ("sessions", Mode.SESSION, column.active_ms + column.modelled_ms),
    ):
        yield name, _Source(workloads, column.mode == mode, column.created_at, used)


def _grouped(query: AnalyticsQuery, source: _Source) -> sa.Select[Any]:
    column = source.table.c
    day = (source.created // DAY_MS).label("day")
    where = [source.where, column.instance.in_(query.instances)]
    if query.since is not None:
        where.append(source.created >= query.since)
    if query.until is not None:
        where.append(source.created < query.until)
    if query.backends:
        where.append(column.backend.in_(query.backends))
    if query.users:
        where.append(column.user.in_(query.users))
    return (
        sa.select(
            column.instance,
            column.backend,
            column.user,
            day,
            sa.func.count().label("count_"),
            sa.func.sum(source.amount).label("total"),
            sa.func.max(source.amount).label("most"),
        )
        .where(*where)
        .group_by(column.instance, column.backend, column.user, day)
    )
