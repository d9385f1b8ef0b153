"""Verified fakes: each passes the suite of the real thing (tests/store/test_store.py)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from queuebit.core.model import FINAL, Job, JobStatus, Mode, Record, Workload
from queuebit.errors import ServiceFault
from queuebit.store.database import JobQuery, Loaded, StoredJob, StoredWorkload
from queuebit.store.details import Details, JobDetails, WorkloadDetails


class MemoryStore:
    """A `Database` that forgets everything with the process."""

    def __init__(self) -> None:
        self._jobs: dict[str, StoredJob] = {}
        self._workloads: dict[str, StoredWorkload] = {}
        self._deleted: dict[str, Job] = {}

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def load(self) -> Loaded:
        jobs = [stored.record for stored in self._jobs.values()]
        workloads = [stored.record for stored in self._workloads.values()]
        given: Iterable[Record] = (*jobs, *workloads, *self._deleted.values())
        return Loaded(
            records=[
                *sorted((w for w in workloads if w.closed_at is None), key=lambda w: w.seq),
                *sorted((j for j in jobs if j.ended_at is None), key=lambda j: j.seq),
            ],
            last_seq=max((record.seq for record in given), default=0),
        )

    async def save(self, records: Sequence[Record], details: Sequence[Details]) -> None:
        told = {detail.id: detail for detail in details}
        ids = {record.id for record in records}
        known = self._jobs.keys() | self._workloads.keys() | told.keys()
        if not told.keys() <= ids or not ids <= known:
            raise ServiceFault("a record without details, or the reverse")
        for record in records:
            if isinstance(record, Workload):
                self._save_workload(record, told.get(record.id))
            else:
                self._save_job(record, told.get(record.id))

    def _save_job(self, record: Job, detail: Details | None) -> None:
        stored = self._jobs.get(record.id)
        details = detail if detail is not None else stored and stored.details
        assert isinstance(details, JobDetails)
        metrics = stored.metrics if stored is not None else {}
        self._jobs[record.id] = StoredJob(record=record, details=details, metrics=metrics)

    def _save_workload(self, record: Workload, detail: Details | None) -> None:
        details = detail if detail is not None else self._workloads[record.id].details
        assert isinstance(details, WorkloadDetails)
        self._workloads[record.id] = StoredWorkload(record=record, details=details)

    async def job(self, job_id: str) -> StoredJob | None:
        return self._jobs.get(job_id)

    async def jobs(self, query: JobQuery) -> tuple[list[StoredJob], int]:
        found = [stored for stored in self._jobs.values() if _matches(stored, query)]
        found.sort(key=lambda one: _age(one.record), reverse=query.newest_first)
        return found[query.offset : query.offset + query.limit], len(found)

    async def workload(self, workload_id: str) -> StoredWorkload | None:
        return self._workloads.get(workload_id)

    async def workloads(
        self,
        instance: str,
        *,
        limit: int = 50,
        backend: str | None = None,
        open_only: bool = False,
    ) -> list[StoredWorkload]:
        found = [
            stored
            for stored in self._workloads.values()
            if stored.record.instance == instance
            and backend in (None, stored.record.backend)
            and not (open_only and stored.record.closed_at is not None)
        ]
        found.sort(key=lambda one: _age(one.record), reverse=True)
        return found[:limit]

    async def set_tags(self, job_id: str, tags: Sequence[str]) -> None:
        stored = self._jobs.get(job_id)
        if stored is not None:
            details = replace(stored.details, tags=tuple(tags))
            self._jobs[job_id] = replace(stored, details=details)

    async def add_metrics(self, job_id: str, metrics: Mapping[str, Any]) -> None:
        stored = self._jobs.get(job_id)
        if stored is not None:
            self._jobs[job_id] = replace(stored, metrics={**stored.metrics, **metrics})

    async def delete_job(self, job_id: str) -> None:
        stored = self._jobs.get(job_id)
        if stored is not None and stored.record.ended_at is not None:
            self._deleted[job_id] = self._jobs.pop(job_id).record

    async def usage_ms(self, instance: str, since: int) -> int:
        every = [*(stored.record for stored in self._jobs.values()), *self._deleted.values()]
        of_jobs = sum(
            job.usage_ms
            for job in every
            if job.instance == instance
            and job.ended_at is not None
            and job.ended_at >= since
            and not self._in_session(job)
        )
        of_sessions = sum(
            session.active_ms
            for session in (stored.record for stored in self._workloads.values())
            if session.instance == instance
            and session.mode is Mode.SESSION
            and (session.closed_at is None or session.closed_at >= since)
        )
        return of_jobs + of_sessions

    def _in_session(self, job: Job) -> bool:
        if job.workload_id is None:
            return False
        return self._workloads[job.workload_id].record.mode is Mode.SESSION

    async def queue_lengths(self) -> dict[str, int]:
        return dict(
            Counter(
                stored.record.backend
                for stored in self._jobs.values()
                if stored.record.status is JobStatus.QUEUED
            )
        )

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
        and query.workload_id in (None, job.workload_id)
        and (query.created_after is None or job.created_at >= query.created_after)
        and (query.created_before is None or job.created_at <= query.created_before)
        and set(query.tags) <= set(details.tags)
    )
