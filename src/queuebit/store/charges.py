"""What instances were charged: the scheduler's ledger after a restart."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.core.ledger import HOUR_MS
from queuebit.core.model import Charge
from queuebit.store.tables import charges
from queuebit.store.tenants import instances


async def load_charges(connection: AsyncConnection, since: int) -> list[Charge]:
    """What was charged at `since` or later and counts for its instance, by the hour."""
    rows = (await connection.execute(_BY_HOUR, {"since": since})).all()
    return [
        Charge(instance=row.instance, at=(row.hour + 1) * HOUR_MS - 1, ms=int(row.ms))
        for row in rows
    ]


_HOUR = charges.c.at // HOUR_MS
_BY_HOUR = (
    sa.select(charges.c.instance, _HOUR.label("hour"), sa.func.sum(charges.c.ms).label("ms"))
    .join(instances, instances.c.id == charges.c.instance, isouter=True)
    .where(
        charges.c.at >= sa.bindparam("since"),
        # In the hour in which an instance's usage begins to count, not all of it does.
        charges.c.at >= sa.func.coalesce(instances.c.since, 0),
    )
    .group_by(charges.c.instance, _HOUR)
)
