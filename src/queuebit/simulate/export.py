"""A service's records as a trace: what its clients did, as far as the records tell.

A client of a session is taken to wait for results: a job that came when another had ended before is
submitted that much later after it. Everybody else is taken to submit at an instant of their own.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median_low

from queuebit.core.events import (
    JobCancelRequested,
    JobSubmitted,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import FINAL, Backend, Instance, Job, JobStatus, Mode, Stage, Workload
from queuebit.errors import QueuebitError
from queuebit.simulate.trace import Entry, Machine, Trace, TraceEvent, Work

CLOSED_BY_USER = "session_closed_by_user"
CANCELLED_BY_USER = "session_cancelled_by_user"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """An entry, and where it stands in the trace."""

    at: int
    seq: int  # at the same instant, the order of arrival; what ends something comes last
    entry: Entry


def export(
    jobs: Iterable[Job],
    workloads: Iterable[Workload],
    *,
    backends: Iterable[Backend] = (),
    instances: Iterable[Instance] = (),
) -> Trace:
    """What happened, as a trace that begins with the first record; QueuebitError without any.

    `backends` tells of those that the service has now; others get the usual lanes.
    """
    jobs = sorted(jobs, key=lambda job: job.seq)
    workloads = sorted(workloads, key=lambda workload: workload.seq)
    records: list[Job | Workload] = [*jobs, *workloads]
    if not records:
        raise QueuebitError("there is nothing to export: no job or workload on record")
    known = {backend.name: backend for backend in backends}
    names = dict.fromkeys(record.backend for record in records)
    start = min(record.created_at for record in records)
    tenants = {record.instance for record in records}
    told = sorted(_Exporter(jobs, workloads).told(), key=lambda one: (one.at, one.seq))
    return Trace(
        machines=tuple(Machine(backend=known.get(name, Backend(name=name))) for name in names),
        instances=tuple(
            replace(instance, since=max(0, instance.since - start))
            for instance in instances
            if instance.id in tenants
        ),
        entries=tuple(one.entry for one in told),
    )


class _Exporter:
    """Works out what clients must have done."""

    def __init__(self, jobs: Sequence[Job], workloads: Sequence[Workload]) -> None:
        self._jobs = jobs
        self._workloads = workloads
        records: list[Job | Workload] = [*jobs, *workloads]
        self._start = min(record.created_at for record in records)
        self._last_seq = max(record.seq for record in records)
        self._usual = _Usual(jobs)
        self._of: dict[str, list[Job]] = {workload.id: [] for workload in workloads}
        for job in jobs:
            if job.workload_id is not None:
                self._of[job.workload_id].append(job)

    def told(self) -> Iterator[_Told]:
        """All entries, in no order."""
        together = {job.id for w in self._workloads for job in self._cancelled_with(w)}
        ends = {w.id: _Ends(self._of[w.id]) for w in self._workloads if w.mode is Mode.SESSION}
        latest: dict[str, Entry] = {}  # submission to each workload
        for workload in self._workloads:
            yield self._at(workload.created_at, workload.seq, _opened(workload))
        for job in self._jobs:
            entry = self._submitted(job, ends.get(job.workload_id or ""))
            yield _Told(at=job.created_at, seq=job.seq, entry=entry)
            if job.workload_id is not None:
                latest[job.workload_id] = entry
            # With a reason, the service stopped it, and will again.
            is_by_user = job.status is JobStatus.CANCELLED and job.reason is None
            if is_by_user and job.id not in together:
                assert job.ended_at is not None
                yield self._at(job.ended_at, self._last_seq, JobCancelRequested(job_id=job.id))
        for workload in self._workloads:
            yield from self._closed(workload, latest.get(workload.id))

    def _submitted(self, job: Job, ends: "_Ends | None") -> Entry:
        """When and how a job was submitted; `ends` of its session's jobs."""
        event = JobSubmitted(
            job_id=job.id,
            instance=job.instance,
            backend=job.backend,
            workload_id=job.workload_id,
            limit_ms=job.limit_ms,
        )
        work = self._usual.work(job)
        before = None if ends is None else ends.before(job)
        if before is None:
            return Entry(event=event, delay_ms=job.created_at - self._start, work=work)
        assert before.ended_at is not None
        delay_ms = job.created_at - before.ended_at
        return Entry(event=event, delay_ms=delay_ms, after=(before.id,), work=work)

    def _at(self, at: int, seq: int, event: TraceEvent) -> _Told:
        return _Told(at=at, seq=seq, entry=Entry(event=event, delay_ms=at - self._start))

    def _closed(self, workload: Workload, latest: Entry | None) -> Iterator[_Told]:
        """How its user ended it, if it was its user.

        The record tells when nothing was left. Had it something to run when it was closed, it
        accepted nothing after its last job came: closing it right then is the same to everybody.
        """
        if workload.state_reason not in (CLOSED_BY_USER, CANCELLED_BY_USER):
            return
        closed = WorkloadCloseRequested(workload_id=workload.id)
        jobs = self._of[workload.id]
        cancelled = self._cancelled_with(workload)
        last_end = max((job.ended_at or 0 for job in jobs), default=0)
        if cancelled:
            assert cancelled[0].ended_at is not None
            event = WorkloadCancelRequested(workload_id=workload.id)
            yield self._at(cancelled[0].ended_at, self._last_seq, event)
        elif latest is None:
            assert workload.closed_at is not None
            yield self._at(workload.closed_at, self._last_seq, closed)
        elif workload.closed_at is None or workload.closed_at <= last_end:
            created_at = max(job.created_at for job in jobs)
            entry = Entry(event=closed, delay_ms=latest.delay_ms, after=latest.after)
            yield _Told(at=created_at, seq=self._last_seq, entry=entry)
        else:  # it had nothing left: its user waited for the jobs first
            after = tuple(job.id for job in jobs)
            entry = Entry(event=closed, delay_ms=workload.closed_at - last_end, after=after)
            yield _Told(at=workload.closed_at, seq=self._last_seq, entry=entry)

    def _cancelled_with(self, workload: Workload) -> list[Job]:
        """Jobs that were queued when their workload was cancelled."""
        if workload.state_reason != CANCELLED_BY_USER:
            return []
        never_ran = [
            job
            for job in self._of[workload.id]
            if job.status is JobStatus.CANCELLED and job.started_at is None
        ]
        latest = max((job.ended_at or 0 for job in never_ran), default=0)
        return [job for job in never_ran if job.ended_at == latest]


class _Ends:
    """Finds the job of a session that ended last before another came."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        ended = [job for job in jobs if job.status in FINAL]
        self._jobs = sorted(ended, key=lambda job: (job.ended_at or 0, job.seq))
        self._instants = [job.ended_at or 0 for job in self._jobs]

    def before(self, job: Job) -> Job | None:
        """The job for whose end the client of `job` may have waited."""
        place = bisect_right(self._instants, job.created_at)
        while place and self._jobs[place - 1].seq >= job.seq:  # ended as it came
            place -= 1
        return self._jobs[place - 1] if place else None


class _Usual:
    """How long the stages of jobs last; where a job never got so far, the median of the others."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._prepare_ms = _medians(jobs, _prepare_ms)
        self._quantum_ms = _medians(jobs, _quantum_ms)
        self._finish_ms = _medians(jobs, _finish_ms)
        self._usage_ms = _medians(jobs, _usage_ms)

    def work(self, job: Job) -> Work:
        """The stages of `job`."""
        measured = [_prepare_ms(job), _quantum_ms(job), _finish_ms(job), _usage_ms(job)]
        usual = [self._prepare_ms, self._quantum_ms, self._finish_ms, self._usage_ms]
        prepare_ms, quantum_ms, finish_ms, usage_ms = (
            medians.get(job.backend, 0) if own is None else own
            for own, medians in zip(measured, usual, strict=True)
        )
        if job.quantum_started_at is not None and job.ended_at is not None:  # if only so far
            quantum_ms = max(quantum_ms, _left_qpu_at(job, job.ended_at) - job.quantum_started_at)
        return Work(
            prepare_ms=prepare_ms,
            quantum_ms=quantum_ms,
            finish_ms=finish_ms,
            usage_ms=usage_ms,
            fails_in=_fails_in(job),
            service_fault=_is_service_fault(job),
        )


def _left_qpu_at(job: Job, ended_at: int) -> int:
    return ended_at if job.quantum_ended_at is None else job.quantum_ended_at


def _medians(jobs: Iterable[Job], of: Callable[[Job], int | None]) -> dict[str, int]:
    """By backend."""
    found: dict[str, list[int]] = {}
    for job in jobs:
        duration_ms = of(job)
        if duration_ms is not None:
            found.setdefault(job.backend, []).append(duration_ms)
    return {backend: median_low(durations) for backend, durations in found.items()}


def _fails_in(job: Job) -> Stage | None:
    """In which stage it failed; None if it did not, or never ran."""
    if job.status is not JobStatus.FAILED or job.started_at is None:
        return None
    if job.quantum_ended_at is not None:
        return Stage.FINISH
    return Stage.PREPARE if job.quantum_started_at is None else Stage.QUANTUM


def _prepare_ms(job: Job) -> int | None:
    until = job.ended_at if _fails_in(job) is Stage.PREPARE else job.ready_at
    return _lasted(job.started_at, until)


def _quantum_ms(job: Job) -> int | None:
    until = job.ended_at if _fails_in(job) is Stage.QUANTUM else job.quantum_ended_at
    return _lasted(job.quantum_started_at, until)


def _finish_ms(job: Job) -> int | None:
    until = None if job.status is JobStatus.CANCELLED else job.ended_at
    return _lasted(job.quantum_ended_at, until)


def _is_service_fault(job: Job) -> bool:
    """Whether it failed on the QPU or later and was charged nothing (decisions 4)."""
    return _fails_in(job) in (Stage.QUANTUM, Stage.FINISH) and not job.usage_ms


def _usage_ms(job: Job) -> int | None:
    """What it was charged, or would have been."""
    if job.quantum_ended_at is None or _is_service_fault(job):
        return job.estimated_ms
    return job.usage_ms


def _lasted(since: int | None, until: int | None) -> int | None:
    return None if since is None or until is None else max(0, until - since)


def _opened(workload: Workload) -> WorkloadOpened:
    return WorkloadOpened(
        workload_id=workload.id,
        instance=workload.instance,
        backend=workload.backend,
        mode=workload.mode,
        max_ttl_ms=workload.max_ttl_ms,
        interactive_ttl_ms=workload.interactive_ttl_ms,
        active_ttl_ms=workload.active_ttl_ms,
        unused_ttl_ms=workload.unused_ttl_ms,
        ends_idle=workload.ends_idle,
    )
