"""What is kept of jobs that have ended, how much it is, and since when."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.core.model import JobStatus
from queuebit.store.tables import jobs

_BEFORE: sa.BindParameter[int] = sa.bindparam("before")
_LIMIT: sa.BindParameter[int] = sa.bindparam("limit")
_KEY: sa.BindParameter[str] = sa.bindparam("key")
_BYTES = sa.func.coalesce(sa.func.sum(jobs.c.input_bytes + jobs.c.result_bytes), 0)


def _ended(*columns: sa.Column[Any]) -> sa.Select[Any]:
    """Of jobs that ended before an instant, the first ones."""
    return (
        sa.select(*columns).where(jobs.c.ended_at < _BEFORE).order_by(jobs.c.ended_at).limit(_LIMIT)
    )


ENDED_BEFORE = _ended(jobs.c.id)
WITH_INPUTS = _ended(jobs.c.id).where(jobs.c.input_bytes > 0)
WITH_RESULT = _ended(jobs.c.id, jobs.c.run).where(
    jobs.c.result_bytes > 0, jobs.c.status == JobStatus.COMPLETED
)
FORGET_INPUTS = sa.update(jobs).where(jobs.c.id == _KEY).values(input_bytes=0)
FORGET_RESULT = sa.update(jobs).where(jobs.c.id == _KEY).values(result_bytes=0)
STORED = sa.select(sa.func.count().label("jobs"), _BYTES.label("bytes")).where(
    jobs.c.instance == sa.bindparam("instance")
)
# Reads all jobs, for /metrics.
STORED_BY_INSTANCE = sa.select(
    jobs.c.instance, sa.func.count().label("jobs"), _BYTES.label("bytes")
).group_by(jobs.c.instance)


async def jobs_of(
    connection: AsyncConnection, statement: sa.Select[Any], before: int, limit: int
) -> list[Any]:
    """The rows of one of the first three."""
    found = await connection.execute(statement, {"before": before, "limit": limit})
    return list(found.all())
