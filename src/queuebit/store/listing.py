"""The list of workloads in the service's wide sense: jobs in job mode, batches, sessions.

They lie in two tables and are listed as one, in order of (created_at, seq). A place in that order
is found again whatever was added since, so pages begin at places and not at numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from queuebit.core.model import Job, JobStatus, Mode, Workload, WorkloadState
from queuebit.store.queries import created_within, jobs_where, order
from queuebit.store.tables import job_tags, jobs, workloads

CANCELLED_BY_USER = "session_cancelled_by_user"  # the scheduler's `state_reason`

Place = tuple[int, int]
"""Where an entry stands: created_at, and seq, which two never share."""


class EntryMode(StrEnum):
    """What an entry is; the values are the workloads API's own."""

    JOB = "job"
    BATCH = "batch"
    SESSION = "session"


class EntryStatus(StrEnum):
    """Where an entry is in its life; the values are the workloads API's own."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


_OF_JOBS = {
    JobStatus.QUEUED: EntryStatus.PENDING,
    JobStatus.RUNNING: EntryStatus.IN_PROGRESS,
    JobStatus.COMPLETED: EntryStatus.COMPLETED,
    JobStatus.FAILED: EntryStatus.FAILED,
    JobStatus.CANCELLED: EntryStatus.CANCELED,
}
_MODES = {EntryMode.BATCH: Mode.BATCH, EntryMode.SESSION: Mode.SESSION}
_ALIVE = frozenset({EntryStatus.PENDING, EntryStatus.IN_PROGRESS})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadQuery:
    """Which workloads of an instance, and which page of them. None, or empty: any."""

    instance: str
    limit: int = 10
    newest_first: bool = False
    after: Place | None = None
    """The first ones behind this place, in the order asked for."""
    before: Place | None = None
    """The last ones ahead of this place; not together with `after`."""
    backend: str | None = None
    user: str | None = None
    mode: EntryMode | None = None
    statuses: frozenset[EntryStatus] = frozenset()
    """It has one of them."""
    search: str | None = None
    """Exactly its id, or one of its tags."""
    tags: tuple[str, ...] = ()
    """It carries all of them. Batches and sessions carry none."""
    created_after: int | None = None
    """Inclusive, like the next."""
    created_before: int | None = None
    without: tuple[str, ...] = ()
    """Backends whose jobs are left out."""


def status_of(record: Job | Workload) -> EntryStatus:
    """Where a job, batch or session is in its life.

    A batch or session is pending while it has no priority (open: nothing of it started yet;
    inactive: it idled too long), in progress while active. Closed it is canceled if its user
    cancelled it, else completed, whatever became of its jobs: each of them tells that itself.
    """
    if not isinstance(record, Workload):
        return _OF_JOBS[record.status]
    match record.state:
        case WorkloadState.OPEN | WorkloadState.INACTIVE:
            return EntryStatus.PENDING
        case WorkloadState.ACTIVE:
            return EntryStatus.IN_PROGRESS
        case WorkloadState.CLOSED if record.state_reason == CANCELLED_BY_USER:
            return EntryStatus.CANCELED
        case WorkloadState.CLOSED:
            return EntryStatus.COMPLETED


def page(query: WorkloadQuery) -> sa.Select[Any]:
    """Ids and places, from `after` onwards or from `before` backwards, and one more than asked."""
    backwards = query.before is not None
    descending = query.newest_first is not backwards
    limit = query.limit + 1
    members = []
    for table, where in _conditions(query):
        if (place := query.after or query.before) is not None:
            where.append(_beyond(table, place, descending=descending))
        member = sa.select(table.c.id, table.c.created_at, table.c.seq).where(*where)
        ordered = member.order_by(*order(table, newest_first=descending)).limit(limit)
        members.append(sa.select(ordered.subquery()))
    both = sa.union_all(*members).subquery("both")
    return sa.select(both).order_by(*order(both, newest_first=descending)).limit(limit)


def any_behind(query: WorkloadQuery, place: Place) -> sa.Select[Any]:
    """Whether there is anything where the page of `query` comes from, seen from `place`."""
    backwards = query.before is not None
    descending = query.newest_first is backwards
    found = [
        sa.exists().where(*where, _beyond(table, place, descending=descending))
        for table, where in _conditions(query)
    ]
    return sa.select(sa.or_(*found))


def count(query: WorkloadQuery) -> sa.Select[Any]:
    """How many there are, before paging."""
    counts = [
        sa.select(sa.func.count()).select_from(table).where(*where).scalar_subquery()
        for table, where in _conditions(query)
    ]
    return sa.select(sum(counts[1:], counts[0]))


def _conditions(query: WorkloadQuery) -> list[tuple[sa.Table, list[sa.ColumnElement[bool]]]]:
    """Of each table, what an entry must meet, but for the page."""
    return [(jobs, _of_jobs(query)), (workloads, _of_workloads(query))]


def _of_jobs(query: WorkloadQuery) -> list[sa.ColumnElement[bool]]:
    where = jobs_where(
        equal={"instance": query.instance, "backend": query.backend, "user": query.user},
        # Said once more, for the index of what has not ended.
        pending=True if query.statuses and query.statuses <= _ALIVE else None,
        created=(query.created_after, query.created_before),
        tags=query.tags,
        without=query.without,
    )
    where.append(jobs.c.workload_id.is_(None))
    if query.mode not in {None, EntryMode.JOB}:
        where.append(jobs.c.id.in_([]))
    if query.statuses:
        meant = [status for status, told in _OF_JOBS.items() if told in query.statuses]
        where.append(jobs.c.status.in_(meant))
    if query.search is not None:
        tagged = sa.select(job_tags.c.job_id).where(job_tags.c.tag == query.search)
        itself = sa.select(sa.literal(query.search, sa.Text))
        where.append(jobs.c.id.in_(sa.union_all(itself, tagged)))  # an OR would use no index
    return where


def _of_workloads(query: WorkloadQuery) -> list[sa.ColumnElement[bool]]:
    equal = {
        "instance": query.instance,
        "backend": query.backend,
        "user": query.user,
        "id": query.search,
        "mode": _MODES.get(query.mode) if query.mode else None,
    }
    where = [workloads.c[name] == value for name, value in equal.items() if value is not None]
    if query.tags or query.mode is EntryMode.JOB:
        where.append(workloads.c.id.in_([]))
    where += created_within(workloads, query.created_after, query.created_before)
    if query.statuses:
        where.append(sa.or_(*_states(query.statuses)))
    return where


def _states(statuses: Iterable[EntryStatus]) -> list[sa.ColumnElement[bool]]:
    """`status_of`, the other way round."""
    state, reason = workloads.c.state, workloads.c.state_reason
    closed = state == WorkloadState.CLOSED
    meanings: dict[EntryStatus, sa.ColumnElement[bool]] = {
        EntryStatus.PENDING: state.in_([WorkloadState.OPEN, WorkloadState.INACTIVE]),
        EntryStatus.IN_PROGRESS: state == WorkloadState.ACTIVE,
        EntryStatus.COMPLETED: closed & (reason != CANCELLED_BY_USER),
        EntryStatus.FAILED: sa.false(),
        EntryStatus.CANCELED: closed & (reason == CANCELLED_BY_USER),
    }
    return [meanings[status] for status in sorted(statuses)]


def _beyond(table: sa.FromClause, place: Place, *, descending: bool) -> sa.ColumnElement[bool]:
    here = sa.tuple_(table.c.created_at, table.c.seq)
    there = sa.tuple_(*(sa.literal(part, sa.BigInteger) for part in place))
    return here < there if descending else here > there
