"""Writes records and details, each kind in as few statements as there can be."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from queuebit.core.model import BackendState, Charge, Job, Workload
from queuebit.errors import ServiceFault
from queuebit.store import queries
from queuebit.store.details import Details, JobDetails, Submitted
from queuebit.store.submissions import write_submissions
from queuebit.store.tables import (
    BACKEND_RECORD,
    CALIBRATED,
    CHARGE,
    JOB_CHANGES,
    JOB_DETAILS,
    JOB_RECORD,
    WORKLOAD_CHANGES,
    WORKLOAD_DETAILS,
    WORKLOAD_RECORD,
)


async def save_workloads(
    connection: AsyncConnection, records: Iterable[Workload], told: Mapping[str, Details]
) -> None:
    """Put new workloads and update those there are."""
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for record in records:
        detail = told.get(record.id)
        if detail is None:
            changed.append({"key": record.id, **_values(record, WORKLOAD_CHANGES)})
        else:
            new.append({**_values(record, WORKLOAD_RECORD), **_values(detail, WORKLOAD_DETAILS)})
    if new:
        await connection.execute(queries.upsert_workloads(connection.dialect.name), new)
    if changed:
        await _update(connection, queries.UPDATE_WORKLOAD, changed)


async def save_jobs(
    connection: AsyncConnection, records: Iterable[Job], told: Mapping[str, Details]
) -> None:
    """Put new jobs and update those there are; their workloads come before them."""
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    tags: dict[str, Sequence[str]] = {}
    submitted: list[tuple[str, Submitted]] = []
    for record in records:
        detail = told.get(record.id)
        if isinstance(detail, JobDetails):
            new.append({**_values(record, JOB_RECORD), **_values(detail, JOB_DETAILS)})
            if detail.tags:  # one that is put again has those that it had
                tags[record.id] = detail.tags
            if detail.submitted is not None:
                submitted.append((record.id, detail.submitted))
        else:
            changed.append({"key": record.id, **_values(record, JOB_CHANGES)})
    if new:
        await connection.execute(queries.upsert_jobs(connection.dialect.name), new)
        if tags:
            await write_tags(connection, tags)
        if submitted:
            await write_submissions(connection, submitted)
    if changed:
        await _update(connection, queries.UPDATE_JOB, changed)


async def _update(
    connection: AsyncConnection, statement: sa.Update, rows: list[dict[str, Any]]
) -> None:
    """Update each row's record; ServiceFault, and nothing is saved, if one is not there."""
    result = await connection.execute(statement, rows)
    if result.rowcount != len(rows):
        keys = ", ".join(row["key"] for row in rows)
        raise ServiceFault(f"a record is not in the store and came without details, one of {keys}")


async def write_tags(connection: AsyncConnection, tags: Mapping[str, Sequence[str]]) -> None:
    """Replace the tags of some jobs."""
    await connection.execute(queries.DELETE_TAGS, [{"key": job_id} for job_id in tags])
    rows = [
        {"job_id": job_id, "position": position, "tag": tag}
        for job_id, job_tags in tags.items()
        for position, tag in enumerate(job_tags)
    ]
    if rows:
        await connection.execute(queries.INSERT_TAGS, rows)


def _values(source: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


async def save_backends(connection: AsyncConnection, states: Sequence[BackendState]) -> None:
    """Put or replace what becomes of some backends, and keep what their calibrations were."""
    dialect = connection.dialect.name
    if states:
        rows = [_values(state, BACKEND_RECORD) for state in states]
        await connection.execute(queries.upsert_backends(dialect), rows)
    done = [(state.id, state.calibrated) for state in states if state.calibrated is not None]
    if done:
        rows = [{"backend": name, **_values(each, CALIBRATED)} for name, each in done]
        await connection.execute(queries.keep_calibrations(dialect), rows)


async def save_charges(connection: AsyncConnection, charges: Sequence[Charge]) -> None:
    """Put what was charged; what is there already is that."""
    if charges:
        rows = [_values(charge, CHARGE) for charge in charges]
        await connection.execute(queries.keep_charges(connection.dialect.name), rows)
