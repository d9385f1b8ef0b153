"""Verified fakes: each passes the suite of the real thing (tests/store/test_store.py)."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.fakes_tenants import MemoryAudit, MemoryTenants

from queuebit.core.hourly import HOUR_MS, end_of
from queuebit.core.model import (
    FINAL,
    BackendState,
    Calibrated,
    Charge,
    Job,
    JobStatus,
    Mode,
    Record,
    Workload,
)
from queuebit.core.usage import active_now_ms
from queuebit.errors import ServiceFault
from queuebit.store.analytics import DAY_MS, AnalyticsQuery, Cell, Sum, Totals
from queuebit.store.audit import Entry
from queuebit.store.database import (
    JobQuery,
    Loaded,
    StoredJob,
    StoredWorkload,
    WorkloadPage,
    latest_instant,
)
from queuebit.store.details import Details, JobDetails, Submitted, WorkloadDetails
from queuebit.store.listing import EntryMode, WorkloadQuery, status_of


class MemoryStore:
    """A `Database` that forgets everything with the process."""

    def __init__(self) -> None:
        self.audit = MemoryAudit()
        self.tenants = MemoryTenants(self.audit)
        self._jobs: dict[str, StoredJob] = {}
        self._workloads: dict[str, StoredWorkload] = {}
        self._deleted: dict[str, Job] = {}
        self._charges: dict[tuple[str, int], Charge] = {}
        self._states: dict[str, BackendState] = {}
        self._result_bytes: dict[str, int] = {}
        self._submissions: dict[str, tuple[Submitted, str]] = {}
        self._calibrated: dict[tuple[str, int], Calibrated] = {}

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def load(self) -> Loaded:
        jobs = [stored.record for stored in self._jobs.values()]
        workloads = [stored.record for stored in self._workloads.values()]
        given = (*jobs, *workloads, *self._deleted.values())
        on_record: Iterable[Record] = (*given, *self._states.values())
        return Loaded(
            records=[
                *sorted(self._states.values(), key=lambda state: state.id),
                *sorted((w for w in workloads if w.closed_at is None), key=lambda w: w.seq),
                *sorted((j for j in jobs if j.ended_at is None), key=lambda j: j.seq),
            ],
            last_seq=max((record.seq for record in given), default=0),
            last_at=max(map(latest_instant, on_record), default=0),
        )

    async def save(
        self,
        records: Sequence[Record],
        details: Sequence[Details],
        entries: Sequence[Entry] = (),
        charges: Sequence[Charge] = (),
    ) -> None:
        told = {detail.id: detail for detail in details}
        states = [record for record in records if isinstance(record, BackendState)]
        records = [record for record in records if not isinstance(record, BackendState)]
        ids = {record.id for record in records}
        known = self._jobs.keys() | self._workloads.keys() | told.keys()
        if not told.keys() <= ids or not ids <= known:
            raise ServiceFault("a record without details, or the reverse")
        await self.audit.record(entries)
        self._charges.update({(charge.source, charge.at): charge for charge in charges})
        self._states.update({state.id: state for state in states})
        for state in states:
            if state.calibrated is not None:
                self._calibrated.setdefault((state.id, state.calibrated.at), state.calibrated)
        for record in records:
            if isinstance(record, Workload):
                self._save_workload(record, told.get(record.id))
            else:
                self._save_job(record, told.get(record.id))

    def _save_job(self, record: Job, detail: Details | None) -> None:
        stored = self._jobs.get(record.id)
        details = detail if detail is not None else stored and stored.details
        assert isinstance(details, JobDetails)
        if detail is not None and details.submitted is not None:
            self._submissions[details.submitted.key] = details.submitted, record.id
            details = replace(details, submitted=None)
        metrics = stored.metrics if stored is not None else {}
        self._jobs[record.id] = StoredJob(record=record, details=details, metrics=metrics)

    def _save_workload(self, record: Workload, detail: Details | None) -> None:
        details = detail if detail is not None else self._workloads[record.id].details
        assert isinstance(details, WorkloadDetails)
        self._workloads[record.id] = StoredWorkload(record=record, details=details)

    async def charges(self, since: int) -> list[Charge]:
        records = (await self.tenants.read()).instances
        found: Counter[tuple[str, str, int]] = Counter()
        credited: Counter[tuple[str, str, int]] = Counter()
        for charge in self._charges.values():
            owned = records.get(charge.instance)
            began = None if owned is None else owned.config.since
            if charge.at >= max(since, 0 if began is None else began.timestamp() * 1_000):
                key = (charge.instance, charge.user, charge.at // HOUR_MS)
                found[key] += charge.ms
                credited[key] += charge.credited_ms
        return [
            Charge(instance=instance, user=user, at=end_of(hour), ms=ms, credited_ms=credited[key])
            for key, ms in found.items()
            for instance, user, hour in [key]
        ]

    async def job(self, job_id: str) -> StoredJob | None:
        return self._jobs.get(job_id)

    async def jobs(self, query: JobQuery) -> tuple[list[StoredJob], int]:
        found = [stored for stored in self._jobs.values() if _matches(stored, query)]
        found.sort(key=lambda one: _age(one.record), reverse=query.newest_first)
        return found[query.offset : query.offset + query.limit], len(found)

    async def workload(self, workload_id: str) -> StoredWorkload | None:
        return self._workloads.get(workload_id)

    async def workloads(self, query: WorkloadQuery) -> WorkloadPage:
        every: list[StoredJob | StoredWorkload] = [*self._jobs.values(), *self._workloads.values()]
        found = [stored for stored in every if _is_listed(stored, query)]
        found.sort(key=lambda one: _age(one.record), reverse=query.newest_first)
        sign = -1 if query.newest_first else 1
        order = [(sign * at, sign * seq) for at, seq in (_age(one.record) for one in found)]
        first, last = 0, len(found)
        if query.after is not None:
            first = bisect_right(order, (sign * query.after[0], sign * query.after[1]))
        if query.before is not None:
            last = bisect_left(order, (sign * query.before[0], sign * query.before[1]))
            first = max(0, last - query.limit)
        last = min(first + query.limit, last)
        return WorkloadPage(
            entries=found[first:last],
            count=len(found),
            more_before=first < last and first > 0,
            more_after=last < len(found) and first < last,
        )

    async def set_tags(
        self, job_id: str, tags: Sequence[str], entries: Sequence[Entry] = ()
    ) -> None:
        stored = self._jobs.get(job_id)
        if stored is not None:
            details = replace(stored.details, tags=tuple(tags))
            self._jobs[job_id] = replace(stored, details=details)
            await self.audit.record(entries)

    async def add_metrics(
        self, job_id: str, metrics: Mapping[str, Any], result_bytes: int = 0
    ) -> None:
        self._result_bytes[job_id] = result_bytes or self._result_bytes.get(job_id, 0)
        stored = self._jobs.get(job_id)
        if stored is not None:
            self._jobs[job_id] = replace(stored, metrics={**stored.metrics, **metrics})

    async def delete_job(self, job_id: str, entries: Sequence[Entry] = ()) -> None:
        stored = self._jobs.get(job_id)
        if stored is not None and stored.record.ended_at is not None:
            self._deleted[job_id] = self._jobs.pop(job_id).record
            await self.audit.record(entries)

    async def usage_ms(self, instance: str, since: int, now: int = 0) -> int:
        charged = sum(
            charge.ms
            for charge in self._charges.values()
            if charge.instance == instance and charge.at >= since
        )
        workloads = (stored.record for stored in self._workloads.values())
        return charged + sum(
            active_now_ms(session, now)
            for session in workloads
            if session.instance == instance and session.mode is Mode.SESSION and now
        )

    async def queue_lengths(self) -> dict[str, int]:
        return self._counts(JobStatus.QUEUED)

    async def running_jobs(self) -> dict[str, int]:
        return self._counts(JobStatus.RUNNING)

    def _counts(self, status: JobStatus) -> dict[str, int]:
        jobs = [stored.record for stored in self._jobs.values()]
        return dict(Counter(job.backend for job in jobs if job.status is status))

    async def tags(self, instance: str, search: str, limit: int) -> list[str]:
        found = {
            tag
            for stored in self._jobs.values()
            if stored.record.instance == instance
            for tag in stored.details.tags
            if search.lower() in tag.lower()
        }
        return sorted(found)[:limit]

    async def analytics(self, query: AnalyticsQuery) -> list[Cell]:
        cells: dict[tuple[str, str, str, int], Totals] = {}
        every: list[tuple[Job | Workload, str]] = [
            (job, job.user)
            for job in (*(s.record for s in self._jobs.values()), *self._deleted.values())
        ]
        every += [(s.record, s.details.user) for s in self._workloads.values()]
        for record, user in every:
            at = record.created_at
            if (
                record.instance not in query.instances
                or (query.since is not None and at < query.since)
                or (query.until is not None and at >= query.until)
                or (query.backends and record.backend not in query.backends)
                or (query.users and user not in query.users)
            ):
                continue
            key = (record.instance, record.backend, user, at // DAY_MS)
            totals = cells.setdefault(key, Totals())
            if isinstance(record, Job):
                one = totals.alone if record.workload_id is None else totals.members
                one.add(Sum(1, record.usage_ms, record.usage_ms))
                if record.started_at is not None:
                    waited = record.started_at - at
                    totals.queued.add(Sum(1, waited, waited))
            elif record.mode is Mode.BATCH:
                totals.batches.add(Sum(1, record.jobs_ms, record.jobs_ms))
            else:
                used_ms = record.active_ms + record.modelled_ms
                totals.sessions.add(Sum(1, used_ms, used_ms))
        return [
            Cell(instance=i, backend=b, user=u, day=d, totals=totals)
            for (i, b, u, d), totals in cells.items()
        ]

    async def waits(self, backend: str, limit: int) -> list[int]:
        found = [
            (stored.record.started_at, stored.record.created_at)
            for stored in self._jobs.values()
            if stored.record.backend == backend and stored.record.started_at is not None
        ]
        found.sort(key=lambda one: one[0], reverse=True)
        return [started - created for started, created in found[:limit]]

    async def calibrated(self, backend: str, by: int) -> Calibrated | None:
        found = [at for name, at in self._calibrated if name == backend and at <= by]
        return self._calibrated[backend, max(found)] if found else None

    async def backend_states(self) -> dict[str, BackendState]:
        return dict(self._states)

    async def submission(self, key: str, since: int) -> tuple[Submitted, str] | None:
        found = self._submissions.get(key)
        return found if found is not None and found[0].at >= since else None

    async def forget_submissions(self, before: int) -> None:
        self._submissions = {k: v for k, v in self._submissions.items() if v[0].at >= before}

    async def stored(self, instance: str) -> tuple[int, int]:
        return (await self.stored_by_instance()).get(instance, (0, 0))

    async def stored_by_instance(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for job_id, stored in self._jobs.items():
            jobs, size = found.get(stored.record.instance, (0, 0))
            size += stored.details.input_bytes + self._result_bytes.get(job_id, 0)
            found[stored.record.instance] = jobs + 1, size
        return found

    async def known_jobs(self) -> set[str]:
        return set(self._jobs)


def _age(record: Record) -> tuple[int, int]:
    return record.created_at, record.seq


def _matches(stored: StoredJob, query: JobQuery) -> bool:
    job, details = stored.record, stored.details
    return (
        job.instance == query.instance
        and query.pending in (None, job.status not in FINAL)
        and query.program_id in (None, details.program_id)
        and query.backend in (None, job.backend)
        and job.backend not in query.without
        and query.workload_id in (None, job.workload_id)
        and _is_within(job, query)
        and set(query.tags) <= set(details.tags)
    )


def _is_listed(stored: StoredJob | StoredWorkload, query: WorkloadQuery) -> bool:
    record = stored.record
    if isinstance(stored, StoredJob):
        mode, tags, user = EntryMode.JOB, stored.details.tags, stored.record.user
    else:
        mode = EntryMode.BATCH if stored.record.mode is Mode.BATCH else EntryMode.SESSION
        tags, user = (), stored.details.user
    return (
        record.instance == query.instance
        and (isinstance(record, Workload) or record.workload_id is None)
        and query.backend in (None, record.backend)
        and (isinstance(record, Workload) or record.backend not in query.without)
        and query.user in (None, user)
        and query.mode in (None, mode)
        and (not query.statuses or status_of(record) in query.statuses)
        and query.search in (None, record.id, *tags)
        and set(query.tags) <= set(tags)
        and _is_within(record, query)
    )


def _is_within(record: Record, query: JobQuery | WorkloadQuery) -> bool:
    first, last = query.created_after, query.created_before
    return (first is None or record.created_at >= first) and (
        last is None or record.created_at <= last
    )
