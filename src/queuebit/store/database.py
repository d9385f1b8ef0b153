"""Records and details in SQLite or PostgreSQL: what survives a crash.

One process writes (its driver, and few others through it); any number may read. Every write is one
transaction, durable when its method returns.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from operator import attrgetter
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from queuebit.core.model import BackendState, Calibrated, Charge, Job, JobStatus, Record, Workload
from queuebit.core.soundness import job_fault, workload_fault
from queuebit.errors import ServiceFault
from queuebit.store import keeping, listing, queries, submissions, tables
from queuebit.store.analytics import AnalyticsQuery, Cell, count
from queuebit.store.audit import AuditTrail, Entry, write
from queuebit.store.charges import load_charges
from queuebit.store.connect import connect, make_folder, refresh_statistics
from queuebit.store.details import Details, JobDetails, Submitted, WorkloadDetails
from queuebit.store.instants import latest_instant
from queuebit.store.listing import WorkloadQuery
from queuebit.store.migrations import migrate
from queuebit.store.reading import rows_of, rows_of_key
from queuebit.store.tables import (
    BACKEND_RECORD,
    JOB_DETAILS,
    JOB_RECORD,
    WORKLOAD_DETAILS,
    WORKLOAD_RECORD,
)
from queuebit.store.tenants import Tenants
from queuebit.store.writing import (
    save_backends,
    save_charges,
    save_jobs,
    save_workloads,
    write_tags,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """All that is known of a job, but for its payloads."""

    record: Job
    details: JobDetails
    metrics: dict[str, Any]
    """JSON values that its stages reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWorkload:
    """All that is known of a batch or session."""

    record: Workload
    details: WorkloadDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs of an instance, and which page of them. None: any."""

    instance: str
    limit: int = 200
    offset: int = 0
    newest_first: bool = True
    pending: bool | None = None
    """True: Queued and Running; False: the final ones."""
    program_id: str | None = None
    backend: str | None = None
    created_after: int | None = None
    """Inclusive, like the next: the client's docstring says "greater than or equal to"."""
    created_before: int | None = None
    tags: tuple[str, ...] = ()
    """The job carries all of them."""
    workload_id: str | None = None
    without: tuple[str, ...] = ()
    """Backends whose jobs are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPage:
    """One page of workloads in the wide sense: jobs in job mode, batches, sessions."""

    entries: list[StoredJob | StoredWorkload]
    count: int
    """Of all that were asked for, before paging."""
    more_before: bool
    """Whether there are some ahead of these, in the order asked for."""
    more_after: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the scheduler is rebuilt from."""

    records: list[Record]
    """States of backends; unclosed workloads, then unfinished jobs, each in order of `seq`."""
    last_seq: int
    """The highest ever given, also to what has ended or was deleted; 0: none yet."""
    last_at: int
    """The latest instant on record, likewise of everything; 0: none yet."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Unfinished jobs and unclosed workloads that are damaged, and what is wrong with each."""


P = ParamSpec("P")
T = TypeVar("T")


def _to_its_end(
    call: Callable[Concatenate["Database", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Database", P], Coroutine[Any, Any, T]]:
    """Let `call` end although its caller is cancelled.

    A statement cut off in the middle takes its connection with it, and its lock for a while.
    """

    @wraps(call)
    async def whole(database: "Database", /, *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(call(database, *args, **kwargs))
        database.under_way.add(task)
        task.add_done_callback(database.under_way.discard)
        return await asyncio.shield(task)

    return whole


class Database:
    """The records at an SQLAlchemy URL of SQLite or PostgreSQL, whatever driver it names."""

    def __init__(self, url: str) -> None:
        self._engines = connect(url)
        self.tenants = Tenants(self._engines)
        """Users, keys, instances and roles."""
        self.audit = AuditTrail(self._engines)
        self.under_way: set[asyncio.Task[Any]] = set()
        """Calls that have not ended; those that nobody awaits any more, too."""

    async def lock(self) -> None:
        """Be the only one that opens it to write; ConfigError if another service does."""
        make_folder(self._engines)
        await self._engines.lead.lock()

    async def lead(self, holder: str) -> str:
        """Be the one who decides, `holder` for people; the id of the database."""
        return await self._engines.lead.take(holder)

    async def open(self) -> None:
        """Make the database or bring it up to date; ConfigError if a newer Queuebit used it."""
        make_folder(self._engines)
        async with self._engines.writer.begin() as connection:
            await connection.run_sync(migrate)
            await connection.run_sync(refresh_statistics)

    async def close(self) -> None:
        """Let end what is under way, then close every connection."""
        if self.under_way:
            await asyncio.wait(self.under_way)
        await self._engines.dispose()

    @_to_its_end
    async def load(self) -> Loaded:
        """What a scheduler needs to go on after a restart."""
        async with self._engines.reader.connect() as connection:
            workloads, faults = await rows_of(
                connection,
                queries.OPEN_WORKLOADS,
                keys=queries.OPEN_WORKLOADS.with_only_columns(tables.workloads.c.id),
                one=queries.WORKLOAD,
            )
            jobs, job_faults = await rows_of(
                connection,
                queries.UNFINISHED_JOBS,
                keys=queries.UNFINISHED_JOBS.with_only_columns(tables.jobs.c.id),
                one=queries.UNFINISHED_JOBS.where(tables.jobs.c.id == sa.bindparam("key")),
            )
            last_seq = (await connection.execute(queries.LAST_SEQ)).scalar_one()
            last_end = (await connection.execute(queries.LAST_END)).scalar_one()
            backends = (await connection.execute(queries.BACKENDS)).mappings().all()
        faults |= job_faults
        unclosed = [Workload(**_pick(row, WORKLOAD_RECORD)) for row in workloads]
        faults |= _faults(unclosed, workload_fault)
        unclosed = [workload for workload in unclosed if workload.id not in faults]
        known = {workload.id for workload in unclosed}
        unfinished = [Job(**_pick(row, JOB_RECORD)) for row in jobs]
        faults |= _faults(unfinished, lambda job: job_fault(job, known))
        unfinished = [job for job in unfinished if job.id not in faults]
        unfinished.sort(key=attrgetter("seq"))
        records: list[Record] = [*map(_backend_state, backends), *unclosed, *unfinished]
        return Loaded(
            records=records,
            last_seq=last_seq,
            last_at=max([last_end, *map(latest_instant, records)]),
            set_aside=faults,
        )

    @_to_its_end
    async def charges(self, since: int) -> list[Charge]:
        """What instances were charged at `since` or later, by the hour."""
        async with self._engines.reader.connect() as connection:
            return await load_charges(connection, since)

    @_to_its_end
    async def save(
        self,
        records: Sequence[Record],
        details: Sequence[Details],
        entries: Sequence[Entry] = (),
        charges: Sequence[Charge] = (),
    ) -> None:
        """Store all of it or nothing; on return it survives a power cut.

        If it fails, the same may be saved again, and is saved once.

        A new record comes with its details; later it comes alone and they stay as they are.
        `entries` tell who did it. A charge may come again, and counts once.
        """
        told = {detail.id: detail for detail in details}
        workloads = [record for record in records if isinstance(record, Workload)]
        jobs = [record for record in records if isinstance(record, Job)]
        states = [record for record in records if isinstance(record, BackendState)]
        if not told.keys() <= {record.id for record in records}:
            raise ServiceFault(f"details without a record: {sorted(told)}")
        async with self._engines.lead.saving() as connection:
            if connection is None:  # it was made, but the answer was lost
                return
            await save_workloads(connection, workloads, told)  # first: jobs point to them
            await save_jobs(connection, jobs, told)
            await save_backends(connection, states)
            await save_charges(connection, charges)
            await write(connection, entries)

    @_to_its_end
    async def job(self, job_id: str) -> StoredJob | None:
        """The job; None if there is none, or none any more; DamagedRecord if it is damaged."""
        async with self._engines.reader.connect() as connection:
            found = await rows_of_key(connection, queries.JOB, job_id)
        return next(iter(_stored_jobs(found)), None)

    @_to_its_end
    async def jobs(self, query: JobQuery) -> tuple[list[StoredJob], int]:
        """One page of the jobs asked for, ordered by (created_at, seq), and how many there are."""
        where = queries.jobs_where(
            pending=query.pending,
            tags=query.tags,
            without=query.without,
            equal={
                "instance": query.instance,
                "program_id": query.program_id,
                "backend": query.backend,
                "workload_id": query.workload_id,
            },
            created=(query.created_after, query.created_before),
        )
        part: dict[str, Any] = {
            "newest_first": query.newest_first,
            "limit": query.limit,
            "offset": query.offset,
        }
        page = queries.jobs_page(where, **part)
        async with self._engines.reader.connect() as connection:
            count = (await connection.execute(queries.jobs_count(where))).scalar_one()
            rows, _ = await rows_of(
                connection,
                page,
                keys=queries.jobs_page_ids(where, **part),
                one=queries.JOB,
            )
        return _stored_jobs(rows), count

    @_to_its_end
    async def workload(self, workload_id: str) -> StoredWorkload | None:
        """The batch or session; None if there is none; DamagedRecord if it is damaged."""
        async with self._engines.reader.connect() as connection:
            found = await rows_of_key(connection, queries.WORKLOAD, workload_id)
        return next((_stored_workload(row) for row in found), None)

    @_to_its_end
    async def workloads(self, query: WorkloadQuery) -> WorkloadPage:
        """One page of the workloads asked for, in order of (created_at, seq)."""
        async with self._engines.reader.connect() as connection:
            count = (await connection.execute(listing.count(query))).scalar_one()
            places = (await connection.execute(listing.page(query))).all()
            further, places = len(places) > query.limit, places[: query.limit]
            behind = False
            if places and (query.after or query.before):
                _, *place = places[0]
                found = await connection.execute(listing.any_behind(query, tuple(place)))
                behind = found.scalar_one()
            keys = {"keys": [place.id for place in places]}
            rows, _ = await rows_of(
                connection,
                queries.JOBS,
                keys,
                keys=sa.select(tables.jobs.c.id).where(tables.jobs.c.id.in_(queries.KEYS)),
                one=queries.JOB,
            )
            others, _ = await rows_of(
                connection,
                queries.WORKLOADS,
                keys,
                keys=queries.WORKLOADS.with_only_columns(tables.workloads.c.id),
                one=queries.WORKLOAD,
            )
        entries: list[StoredJob | StoredWorkload] = [
            *_stored_jobs(rows),
            *(_stored_workload(row) for row in others),
        ]
        entries.sort(
            key=lambda one: (one.record.created_at, one.record.seq), reverse=query.newest_first
        )
        backwards = query.before is not None
        return WorkloadPage(
            entries=entries,
            count=count,
            more_before=further if backwards else behind,
            more_after=behind if backwards else further,
        )

    @_to_its_end
    async def set_tags(
        self, job_id: str, tags: Sequence[str], entries: Sequence[Entry] = ()
    ) -> None:
        """Replace the job's tags; nothing to do if the job is gone."""
        async with self._engines.lead.writing() as connection:
            if (await connection.execute(queries.LOCK_JOB, {"key": job_id})).first() is not None:
                await write_tags(connection, {job_id: tags})
                await write(connection, entries)

    @_to_its_end
    async def add_metrics(
        self, job_id: str, metrics: Mapping[str, Any], result_bytes: int = 0
    ) -> None:
        """Add to the job's metrics: a key that is there already gets the new value.

        Nothing to do if the job is gone.
        """
        async with self._engines.lead.writing() as connection:
            found = await connection.execute(queries.LOCK_JOB, {"key": job_id})
            present = found.scalar_one_or_none()
            if present is not None:
                both = {**present, **metrics}
                await connection.execute(queries.SET_METRICS, {"key": job_id, "metrics": both})
                if result_bytes:
                    size = {"key": job_id, "size": result_bytes}
                    await connection.execute(queries.SET_RESULT, size)

    @_to_its_end
    async def delete_job(self, job_id: str, entries: Sequence[Entry] = ()) -> None:
        """Forget a final job but for its charge; nothing to do if it is not final or is gone."""
        async with self._engines.lead.writing() as connection:
            await connection.execute(queries.KEEP_COUNTED, {"key": job_id})
            if (await connection.execute(queries.DELETE_JOB, {"key": job_id})).rowcount:
                await write(connection, entries)

    @_to_its_end
    async def stored(self, instance: str) -> tuple[int, int]:
        """How many jobs of an instance are kept, and how many bytes their files have."""
        row = (await self._fetch(keeping.STORED, {"instance": instance}))[0]
        return row["jobs"], int(row["bytes"])

    @_to_its_end
    async def stored_by_instance(self) -> dict[str, tuple[int, int]]:
        """The same of every instance that keeps any."""
        rows = await self._fetch(keeping.STORED_BY_INSTANCE)
        return {row["instance"]: (row["jobs"], int(row["bytes"])) for row in rows}

    @_to_its_end
    async def ended_before(self, before: int, limit: int) -> list[str]:
        """Jobs that ended before an instant, the first ones."""
        async with self._engines.reader.connect() as connection:
            rows = await keeping.jobs_of(connection, keeping.ENDED_BEFORE, before, limit)
        return [row.id for row in rows]

    @_to_its_end
    async def with_inputs(self, before: int, limit: int) -> list[str]:
        """The same that have inputs."""
        async with self._engines.reader.connect() as connection:
            rows = await keeping.jobs_of(connection, keeping.WITH_INPUTS, before, limit)
        return [row.id for row in rows]

    @_to_its_end
    async def with_result(self, before: int, limit: int) -> list[tuple[str, int]]:
        """The same that have a result, and the run that it is of."""
        async with self._engines.reader.connect() as connection:
            rows = await keeping.jobs_of(connection, keeping.WITH_RESULT, before, limit)
        return [(row.id, row.run) for row in rows]

    @_to_its_end
    async def forget_inputs(self, job_id: str) -> None:
        """Note that a job's inputs are deleted."""
        async with self._engines.lead.writing() as connection:
            await connection.execute(keeping.FORGET_INPUTS, {"key": job_id})

    @_to_its_end
    async def forget_result(self, job_id: str) -> None:
        """Note that a job's result is deleted."""
        async with self._engines.lead.writing() as connection:
            await connection.execute(keeping.FORGET_RESULT, {"key": job_id})

    @_to_its_end
    async def submission(self, key: str, since: int) -> tuple[Submitted, str] | None:
        """The submission with an Idempotency-Key, made at `since` or later, and its job's id."""
        async with self._engines.reader.connect() as connection:
            return await submissions.find(connection, key, since)

    @_to_its_end
    async def forget_submissions(self, before: int) -> None:
        """Forget the Idempotency-Keys of what was submitted before an instant."""
        async with self._engines.lead.writing() as connection:
            await submissions.forget(connection, before)

    @_to_its_end
    async def usage_ms(self, instance: str, since: int, now: int = 0) -> int:
        """QPU time charged to `instance` at `since` or later, in milliseconds.

        Jobs are charged when they end, sessions when their active windows do; what is deleted
        since stays charged. The active window of a session that goes on counts until `now`.
        """
        asked = {"instance": instance, "since": since, "now": now}
        rows = await self._fetch(queries.USAGE, asked)
        return int(rows[0]["usage_ms"])

    @_to_its_end
    async def queue_lengths(self) -> dict[str, int]:
        """How many jobs are Queued, by backend; a backend without any is not in it."""
        rows = await self._fetch(queries.JOB_COUNTS, {"status": JobStatus.QUEUED})
        return {row["backend"]: row["jobs"] for row in rows}

    @_to_its_end
    async def running_jobs(self) -> dict[str, int]:
        """How many jobs are Running, by backend; a backend without any is not in it."""
        rows = await self._fetch(queries.JOB_COUNTS, {"status": JobStatus.RUNNING})
        return {row["backend"]: row["jobs"] for row in rows}

    @_to_its_end
    async def analytics(self, query: AnalyticsQuery) -> list[Cell]:
        """What was created, by instance, backend, user and day."""
        async with self._engines.reader.connect() as connection:
            return await count(connection, query)

    @_to_its_end
    async def tags(self, instance: str, search: str, limit: int) -> list[str]:
        """Tags of the instance's jobs that hold `search` in either case, in order."""
        rows = await self._fetch(queries.tags_like(search), {"instance": instance, "limit": limit})
        return [row["tag"] for row in rows]

    @_to_its_end
    async def waits(self, backend: str, limit: int) -> list[int]:
        """How many ms the `limit` jobs waited that started last on `backend`, the latest first."""
        rows = await self._fetch(queries.WAITS, {"backend": backend, "limit": limit})
        return [row["wait_ms"] for row in rows]

    @_to_its_end
    async def backend_states(self) -> dict[str, BackendState]:
        """What became of backends, by name; one that nothing ever happened to is not in it."""
        rows = await self._fetch(queries.BACKENDS)
        return {row["id"]: _backend_state(row) for row in rows}

    @_to_its_end
    async def calibrated(self, backend: str, by: int) -> Calibrated | None:
        """How the latest calibration that had ended by an instant left a backend; None: none."""
        rows = await self._fetch(queries.CALIBRATED, {"key": backend, "by": by})
        return next((Calibrated(**row) for row in rows), None)

    @_to_its_end
    async def known_jobs(self) -> set[str]:
        """The ids of all jobs, to tell the payloads of those that are gone."""
        async with self._engines.reader.connect() as connection:
            return set((await connection.execute(queries.JOB_IDS)).scalars())

    async def _fetch(
        self, statement: sa.Select[Any], values: Mapping[str, Any] | None = None
    ) -> Sequence[sa.RowMapping]:
        async with self._engines.reader.connect() as connection:
            result = await connection.execute(statement, values)
            rows: Sequence[sa.RowMapping] = result.mappings().all()
        return rows


Sound = TypeVar("Sound", Job, Workload)


def _faults(records: Iterable[Sound], fault_of: Callable[[Sound], str | None]) -> dict[str, str]:
    """What is wrong with those that are damaged."""
    found = {record.id: fault_of(record) for record in records}
    return {key: fault for key, fault in found.items() if fault is not None}


def _pick(row: sa.RowMapping, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _backend_state(row: sa.RowMapping) -> BackendState:
    values = _pick(row, BACKEND_RECORD)
    values["scheduled"] = tuple((kind, at) for kind, at in values["scheduled"])
    return BackendState(**{**values, "due": tuple(values["due"])})


def _stored_jobs(rows: Iterable[sa.RowMapping]) -> list[StoredJob]:
    """Jobs, from rows that hold a job with one of its tags each."""
    found: dict[str, tuple[sa.RowMapping, list[str]]] = {}
    for row in rows:
        _, tags = found.setdefault(row["id"], (row, []))
        if row["tag"] is not None:
            tags.append(row["tag"])
    return [
        StoredJob(
            record=Job(**_pick(row, JOB_RECORD)),
            details=JobDetails(id=job_id, tags=tuple(tags), **_pick(row, JOB_DETAILS)),
            metrics=row["metrics"],
        )
        for job_id, (row, tags) in found.items()
    ]


def _stored_workload(row: sa.RowMapping) -> StoredWorkload:
    return StoredWorkload(
        record=Workload(**_pick(row, WORKLOAD_RECORD)),
        details=WorkloadDetails(id=row["id"], **_pick(row, WORKLOAD_DETAILS)),
    )
