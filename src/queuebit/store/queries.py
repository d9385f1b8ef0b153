"""Every statement that the database runs. `EXPLAIN` in a test shows that each is by an index."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from queuebit.core.model import Mode, WorkloadState
from queuebit.store.tables import (
    backends,
    calibrations,
    charges,
    deleted_jobs,
    job_tags,
    jobs,
    workloads,
)

_KEY: sa.BindParameter[str] = sa.bindparam("key")
KEYS: sa.BindParameter[list[str]] = sa.bindparam("keys", expanding=True)
_UNFINISHED = jobs.c.ended_at.is_(None)
_OPEN = workloads.c.closed_at.is_(None)

# A job's row comes once for each of its tags, in their order: one statement is one round trip.
_WITH_TAGS = (
    sa.select(jobs, job_tags.c.tag).join(job_tags, isouter=True).order_by(job_tags.c.position)
)
JOB = _WITH_TAGS.where(jobs.c.id == _KEY)
JOBS = _WITH_TAGS.where(jobs.c.id.in_(KEYS))
WORKLOAD = sa.select(workloads).where(workloads.c.id == _KEY)
WORKLOADS = sa.select(workloads).where(workloads.c.id.in_(KEYS))
UNFINISHED_JOBS = sa.select(jobs).where(_UNFINISHED)  # sorted by seq, SQLite would read all jobs
OPEN_WORKLOADS = sa.select(workloads).where(_OPEN).order_by(workloads.c.seq)
JOB_IDS = sa.select(jobs.c.id)
BACKENDS = sa.select(backends).order_by(backends.c.id)
CALIBRATED = (  # the latest one that had ended by an instant
    sa.select(calibrations.c.at, calibrations.c.drawn, calibrations.c.drift)
    .where(calibrations.c.backend == _KEY, calibrations.c.at <= sa.bindparam("by"))
    .order_by(calibrations.c.at.desc())
    .limit(1)
)
JOB_COUNTS = (
    sa.select(jobs.c.backend, sa.func.count().label("jobs"))
    .where(_UNFINISHED, jobs.c.status == sa.bindparam("status"))
    .group_by(jobs.c.backend)
)
WAITS = (
    sa.select((jobs.c.started_at - jobs.c.created_at).label("wait_ms"))
    .where(jobs.c.backend == sa.bindparam("backend"), jobs.c.started_at.is_not(None))
    .order_by(jobs.c.started_at.desc())
    .limit(sa.bindparam("limit"))
)


def _highest(*columns: sa.Column[int]) -> sa.Select[Any]:
    """The highest of all values of these columns; 0 if there are none."""
    each = [
        sa.select(sa.func.max(column).label("highest")).where(column.is_not(None))
        for column in columns
    ]
    found = sa.union_all(*each).subquery()
    return sa.select(sa.func.coalesce(sa.func.max(found.c.highest), 0))


def _usage() -> sa.Select[Any]:
    """What an `instance` was charged from `since`, and its sessions that are active by `now`."""
    instance: sa.BindParameter[str] = sa.bindparam("instance")
    now: sa.BindParameter[int] = sa.bindparam("now")
    charged = (
        sa.select(sa.func.coalesce(sa.func.sum(charges.c.ms), 0))
        .where(charges.c.instance == instance, charges.c.at >= sa.bindparam("since"))
        .scalar_subquery()
    )
    so_far = (
        sa.select(sa.func.coalesce(sa.func.sum(now - workloads.c.activated_at), 0))
        .where(
            workloads.c.instance == instance,
            workloads.c.mode == Mode.SESSION,
            _OPEN,
            workloads.c.state == WorkloadState.ACTIVE,
            workloads.c.activated_at < now,
        )
        .scalar_subquery()
    )
    return sa.select((charged + so_far).label("usage_ms"))


LAST_SEQ = _highest(jobs.c.seq, workloads.c.seq, deleted_jobs.c.seq)
# Reads whole indexes, but only when a service starts, which reads all ids of jobs as well.
LAST_END = _highest(jobs.c.ended_at, workloads.c.closed_at, deleted_jobs.c.ended_at)
USAGE = _usage()

UPDATE_JOB = sa.update(jobs).where(jobs.c.id == _KEY)
UPDATE_WORKLOAD = sa.update(workloads).where(workloads.c.id == _KEY)
LOCK_JOB = sa.select(jobs.c.metrics).where(jobs.c.id == _KEY).with_for_update()
SET_METRICS = sa.update(jobs).where(jobs.c.id == _KEY).values(metrics=sa.bindparam("metrics"))
SET_RESULT = sa.update(jobs).where(jobs.c.id == _KEY).values(result_bytes=sa.bindparam("size"))
DELETE_TAGS = sa.delete(job_tags).where(job_tags.c.job_id == _KEY)
INSERT_TAGS = sa.insert(job_tags)
DELETE_JOB = sa.delete(jobs).where(jobs.c.id == _KEY, jobs.c.ended_at.is_not(None))
_COUNTED = [jobs.c[column.name] for column in deleted_jobs.c]
KEEP_COUNTED = sa.insert(deleted_jobs).from_select(
    [column.name for column in deleted_jobs.c],
    sa.select(*_COUNTED).where(jobs.c.id == _KEY, jobs.c.ended_at.is_not(None)),
)


def tags_like(search: str) -> sa.Select[Any]:
    """The first `limit` tags of an `instance` that hold `search`, in either case."""
    return (
        sa.select(job_tags.c.tag)
        .join(jobs, jobs.c.id == job_tags.c.job_id)
        .where(
            jobs.c.instance == sa.bindparam("instance"),
            sa.func.lower(job_tags.c.tag).contains(search.lower(), autoescape=True),
        )
        .distinct()
        .order_by(job_tags.c.tag)
        .limit(sa.bindparam("limit"))
    )


@cache
def upsert_jobs(dialect: str) -> sa.Insert:
    """Insert jobs with their details; what is there is replaced, but for the metrics."""
    return _upsert(jobs, dialect, without={"metrics", "result_bytes"})


@cache
def upsert_workloads(dialect: str) -> sa.Insert:
    """Insert workloads with their details; what is there is replaced."""
    return _upsert(workloads, dialect, without=set())


@cache
def upsert_backends(dialect: str) -> sa.Insert:
    """Insert states of backends; what is there is replaced."""
    return _upsert(backends, dialect, without=set())


@cache
def keep_calibrations(dialect: str) -> sa.Insert:
    """Insert how calibrations left their backends; what is there already is that."""
    return _insert(calibrations, dialect).on_conflict_do_nothing()


@cache
def keep_charges(dialect: str) -> sa.Insert:
    """Insert charges; one that is there already, of a save that came twice, stays."""
    return _insert(charges, dialect).on_conflict_do_nothing()


def _insert(table: sa.Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _upsert(table: sa.Table, dialect: str, *, without: set[str]) -> sa.Insert:
    insert = _insert(table, dialect)
    names = [column.name for column in table.c if column.name not in {"id", *without}]
    return insert.on_conflict_do_update(
        index_elements=[table.c.id], set_={name: insert.excluded[name] for name in names}
    )


def jobs_where(
    *,
    equal: Mapping[str, str | None],
    pending: bool | None,
    created: tuple[int | None, int | None],
    tags: Iterable[str],
    without: Sequence[str] = (),
) -> list[sa.ColumnElement[bool]]:
    """The conditions of a query for jobs.

    `created` is the first and the last instant, `without` are backends whose jobs are left out.
    """
    where = [jobs.c[name] == value for name, value in equal.items() if value is not None]
    if without:
        where.append(jobs.c.backend.not_in(without))
    if pending is not None:
        where.append(_UNFINISHED if pending else jobs.c.ended_at.is_not(None))
    where += created_within(jobs, *created)
    where += [
        jobs.c.id.in_(sa.select(job_tags.c.job_id).where(job_tags.c.tag == tag))
        for tag in dict.fromkeys(tags)
    ]
    return where


def created_within(
    table: sa.Table, first: int | None, last: int | None
) -> list[sa.ColumnElement[bool]]:
    """The conditions of having been created from the instant `first` to the instant `last`."""
    where = [] if first is None else [table.c.created_at >= first]
    return where if last is None else [*where, table.c.created_at <= last]


def jobs_count(where: Iterable[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """How many jobs meet the conditions."""
    return sa.select(sa.func.count()).select_from(jobs).where(*where)


def jobs_page(
    where: Iterable[sa.ColumnElement[bool]], *, newest_first: bool, limit: int, offset: int
) -> sa.Select[Any]:
    """One page of the jobs that meet the conditions; a row for each of a job's tags, as in JOB."""
    found = _page([jobs], where, newest_first=newest_first, limit=limit, offset=offset)
    page = found.subquery("page")
    return (
        sa.select(page, job_tags.c.tag)
        .join(job_tags, job_tags.c.job_id == page.c.id, isouter=True)
        .order_by(*order(page, newest_first=newest_first), job_tags.c.position)
    )


def jobs_page_ids(
    where: Iterable[sa.ColumnElement[bool]], *, newest_first: bool, limit: int, offset: int
) -> sa.Select[Any]:
    """The ids of the same jobs."""
    return _page([jobs.c.id], where, newest_first=newest_first, limit=limit, offset=offset)


def _page(
    columns: Sequence[Any],
    where: Iterable[sa.ColumnElement[bool]],
    *,
    newest_first: bool,
    limit: int,
    offset: int,
) -> sa.Select[Any]:
    return (
        sa.select(*columns)
        .where(*where)
        .order_by(*order(jobs, newest_first=newest_first))
        .limit(limit)
        .offset(offset)
    )


def order(table: sa.FromClause, *, newest_first: bool) -> list[sa.ColumnElement[Any]]:
    """In the order of arrival, or the reverse."""
    by = (table.c.created_at, table.c.seq)
    return [column.desc() if newest_first else column.asc() for column in by]
