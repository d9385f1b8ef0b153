"""What instances were charged: the scheduler's ledger after a restart."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.core.ledger import HOUR_MS
from queuebit.core.model import Charge, Mode, WorkloadState
from queuebit.store.tables import deleted_jobs, jobs, workloads


async def load_charges(connection: AsyncConnection, since: int) -> list[Charge]:
    """What ended at `since` or later: jobs by the hour, sessions by their active windows."""
    found: list[Charge] = []
    for table in (jobs, deleted_jobs):
        rows = (await connection.execute(_by_hour(table), {"since": since})).all()
        found += [
            Charge(instance=row.instance, at=(row.hour + 1) * HOUR_MS - 1, ms=int(row.ms))
            for row in rows
        ]
    for row in (await connection.execute(_SESSIONS, {"since": since})).all():
        began = None
        for state, at in row.transitions:
            if began is not None and at >= since:
                found.append(Charge(instance=row.instance, at=at, ms=at - began))
            began = at if state is WorkloadState.ACTIVE else None
    return found


def _by_hour(table: sa.Table) -> sa.Select[Any]:
    """QPU time of jobs in job mode and in batches, by instance and hour."""
    hour = table.c.ended_at // HOUR_MS
    in_session = sa.exists().where(
        workloads.c.id == table.c.workload_id, workloads.c.mode == Mode.SESSION
    )
    return (
        sa.select(table.c.instance, hour.label("hour"), sa.func.sum(table.c.usage_ms).label("ms"))
        .where(table.c.ended_at >= sa.bindparam("since"), table.c.usage_ms > 0, ~in_session)
        .group_by(table.c.instance, hour)
    )


_SESSIONS = sa.select(workloads.c.instance, workloads.c.transitions).where(
    workloads.c.mode == Mode.SESSION,
    sa.or_(workloads.c.closed_at.is_(None), workloads.c.closed_at >= sa.bindparam("since")),
)
