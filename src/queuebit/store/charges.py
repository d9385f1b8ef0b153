"""What instances were charged: the scheduler's ledger after a restart."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.core.hourly import HOUR_MS, end_of
from queuebit.core.model import Charge
from queuebit.store.tables import charges
from queuebit.store.tenants import instances


async def load_charges(connection: AsyncConnection, since: int) -> list[Charge]:
    """What was charged and credited at `since` or later and counts, by user and hour."""
    rows = (await connection.execute(_BY_HOUR, {"since": since})).all()
    return [
        Charge(
            instance=row.instance,
            user=row.user,
            at=end_of(row.hour),
            ms=int(row.ms),
            credited_ms=int(row.credited_ms),
        )
        for row in rows
    ]


_HOUR = charges.c.at // HOUR_MS
_BY_HOUR = (
    sa.select(
        charges.c.instance,
        charges.c.user,
        _HOUR.label("hour"),
        sa.func.sum(charges.c.ms).label("ms"),
        sa.func.sum(charges.c.credited_ms).label("credited_ms"),
    )
    .join(instances, instances.c.id == charges.c.instance, isouter=True)
    .where(
        charges.c.at >= sa.bindparam("since"),
        # In the hour in which an instance's usage begins to count, not all of it does.
        charges.c.at >= sa.func.coalesce(instances.c.since, 0),
    )
    .group_by(charges.c.instance, charges.c.user, _HOUR)
)
