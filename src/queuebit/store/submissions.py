"""Which job each Idempotency-Key made, for as long as the key counts.

A row is written in the transaction that makes the job, so neither is there without the other.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.store.details import Submitted
from queuebit.store.tables import metadata

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),  # which may be deleted by now
    sa.Column("at", sa.BigInteger, nullable=False),
)
sa.Index("ix_submissions_at", submissions.c.at)

_FIND = sa.select(submissions).where(
    submissions.c.key == sa.bindparam("key"), submissions.c.at >= sa.bindparam("since")
)
_FORGET = sa.delete(submissions).where(submissions.c.at < sa.bindparam("before"))


async def find(connection: AsyncConnection, key: str, since: int) -> tuple[Submitted, str] | None:
    """The submission with a key, made at `since` or later, and its job; None: there is none."""
    row = (await connection.execute(_FIND, {"key": key, "since": since})).one_or_none()
    if row is None:
        return None
    return Submitted(key=row.key, body=row.body, at=row.at), row.job_id


async def write_submissions(
    connection: AsyncConnection, made: Sequence[tuple[str, Submitted]]
) -> None:
    """Note which jobs were made with which keys; a key that counts no more is used again."""
    keys = [{"used": one.key} for _, one in made]
    used = submissions.c.key == sa.bindparam("used")
    await connection.execute(sa.delete(submissions).where(used), keys)
    rows = [
        {"key": one.key, "body": one.body, "job_id": job_id, "at": one.at} for job_id, one in made
    ]
    await connection.execute(sa.insert(submissions), rows)


async def forget(connection: AsyncConnection, before: int) -> None:
    """Delete what was submitted before an instant."""
    await connection.execute(_FORGET, {"before": before})
