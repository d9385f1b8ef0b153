"""Reading rows of which one may be damaged: it is named, and the others are read."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.errors import DamagedRecord

log = logging.getLogger(__name__)

# What SQLAlchemy raises for a value that is none of its column: no word of an enumeration, no JSON.
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


async def rows_of(
    connection: AsyncConnection,
    statement: sa.Select[Any],
    values: Mapping[str, Any] | None = None,
    *,
    keys: sa.Select[Any],
    one: sa.Select[Any],
) -> tuple[Sequence[sa.RowMapping], dict[str, str]]:
    """The rows of `statement`, and what is wrong with those that cannot be read, by key.

    `keys` selects the keys of the same rows, `one` the rows of the key `key`; both are used only if
    there is one that cannot be read.
    """
    try:
        return (await connection.execute(statement, values)).mappings().all(), {}
    except UNREADABLE:
        rows: list[sa.RowMapping] = []
        faults: dict[str, str] = {}
        for key in (await connection.execute(keys, values)).scalars().all():
            try:
                rows += (await connection.execute(one, {"key": key})).mappings().all()
            except UNREADABLE as error:
                faults[key] = str(error).splitlines()[0]
                log.warning("record cannot be read", extra={"job": key, "fault": faults[key]})
        return rows, faults


async def rows_of_key(
    connection: AsyncConnection, statement: sa.Select[Any], key: str
) -> Sequence[sa.RowMapping]:
    """The rows of one key; DamagedRecord if they cannot be read."""
    try:
        rows: Sequence[sa.RowMapping] = (
            (await connection.execute(statement, {"key": key})).mappings().all()
        )
    except UNREADABLE as error:
        raise DamagedRecord(
            f"The record of {key} in the service's database is damaged.",
            1000,
            "Tell the operator; other jobs are not concerned.",
        ) from error
    return rows
