"""The scheduler: events and the time in, changed records and commands out.

Two kinds of moves. *Event-triggered*: something happened (`_apply`). *State-triggered*: this may
not stand, whatever happened, so move on until nothing moves any more (`_settle`). Time is a kind of
event: what fell due since the last call happens first, at its own instant (`_expire`).
"""

from collections.abc import Iterable
from dataclasses import replace
from heapq import heappop, heappush
from typing import assert_never

from queuebit.core import policy
from queuebit.core.events import (
    Event,
    JobCancelRequested,
    JobSubmitted,
    Refusal,
    Restarted,
    Rule,
    RunStage,
    StageEnded,
    StageFailed,
    Step,
    StopJob,
    Tick,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.index import Index
from queuebit.core.model import (
    Backend,
    Job,
    JobStatus,
    Mode,
    Reason,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.moves import to_stage, to_state, to_status
from queuebit.core.usage import charged_when_stopped

# "Job is part of a session that's been closed" (semantics 6.4, code 4001; decisions 1).
MAX_TTL_REACHED = Reason(
    code=4001,
    message="The maximum time to live of the {mode} {id} was reached while the job was queued.",
    solution="Open a new one with a larger max_time, or submit fewer jobs to it.",
)


class Scheduler:
    """Decides for all backends; knows every job that is not final and every workload not closed."""

    def __init__(
        self, backends: Iterable[Backend], records: Iterable[Record] = (), last_seq: int = 0
    ) -> None:
        """Start from saved records; `last_seq` is the highest `seq` ever given."""
        self.index = Index(backends)
        self._seq = last_seq
        self._deadlines: list[tuple[int, str]] = []  # may hold instants that no longer count
        self._pushed: set[tuple[int, str]] = set()  # what is in it
        self._step = Step()
        for record in sorted(records, key=lambda r: (isinstance(r, Job), r.seq)):
            self._seq = max(self._seq, record.seq)
            self.index.put(record)
        for workload in self.workloads.values():
            self._push_deadline(workload)

    @property
    def jobs(self) -> dict[str, Job]:
        """Every job that is not final, by id; not to be changed."""
        return self.index.jobs

    @property
    def workloads(self) -> dict[str, Workload]:
        """Every workload that is not closed, by id; not to be changed."""
        return self.index.workloads

    def handle(self, event: Event, now: int) -> Step:
        """Decide what `event` brings about; `now` is in ms since the epoch and never steps back."""
        self._step = Step()
        self._expire(now)
        self._step.refusal = self._apply(event, now)
        self._settle(now)
        return self._step

    def next_deadline(self) -> int | None:
        """When `handle(Tick(), ...)` is next due; None: only events bring anything about."""
        while self._deadlines:
            at, workload_id = self._deadlines[0]
            if at == self._deadline(workload_id):
                return at
            self._pushed.remove(heappop(self._deadlines))
        return None

    # -- what happened

    def _apply(self, event: Event, now: int) -> Refusal | None:
        """Make the event's own moves, or say why not and make none."""
        match event:
            case JobSubmitted():
                return self._submit(event, now)
            case JobCancelRequested(job_id=job_id):
                return self._cancel_job(job_id, now)
            case StageEnded():
                self._end_stage(event, now)
            case StageFailed():
                self._fail_stage(event, now)
            case WorkloadOpened():
                self._open(event, now)
            case WorkloadCloseRequested(workload_id=workload_id):
                if workload_id in self.workloads:  # a second close changes nothing (decisions 17)
                    self._stop_accepting(workload_id, "session_closed_by_user")
            case WorkloadCancelRequested(workload_id=workload_id):
                if workload_id in self.workloads:
                    self._stop_accepting(workload_id, "session_cancelled_by_user")
                    self._end_queued(workload_id, JobStatus.CANCELLED, now, None)
            case Restarted():
                self._restart()
            case Tick():
                pass
            case _:  # pragma: no cover - mypy sees to it
                assert_never(event)
        return None

    def _submit(self, event: JobSubmitted, now: int) -> Refusal | None:
        if event.workload_id is not None:
            workload = self.workloads.get(event.workload_id)
            if workload is None or not workload.accepting_jobs:  # decisions 17
                return Refusal(Rule.WORKLOAD_CLOSED, f"Session {event.workload_id} is closed.")
            if workload.instance != event.instance:
                return Refusal(
                    Rule.WRONG_INSTANCE, f"Session {workload.id} belongs to another instance."
                )
            if workload.backend != event.backend:  # decisions 18
                return Refusal(
                    Rule.WRONG_BACKEND,
                    f"The job's backend {event.backend} is not {workload.backend}, "
                    f"the backend of session {workload.id}.",
                )
            if workload.idle_since is not None:
                self._save(replace(workload, idle_since=None))
        assert event.job_id not in self.jobs
        self._seq += 1
        job = Job(
            id=event.job_id,
            seq=self._seq,
            instance=event.instance,
            backend=event.backend,
            workload_id=event.workload_id,
            created_at=now,
        )
        self._save(job)
        return None

    def _cancel_job(self, job_id: str, now: int) -> Refusal | None:
        job = self.jobs.get(job_id)
        if job is None:
            return Refusal(Rule.NOT_CANCELLABLE, f"Job {job_id} is not queued or running.")
        if job.status is JobStatus.RUNNING:
            self._step.commands.append(StopJob(job.id))
        self._end(job, JobStatus.CANCELLED, now, usage_ms=charged_when_stopped(job, now))
        return None

    def _end_stage(self, event: StageEnded, now: int) -> None:
        job = self.jobs.get(event.job_id)
        if job is None or (job.run, job.stage) != (event.run, event.stage):
            return  # late or repeated news: its cancel or a restart was faster
        match event.stage:
            case Stage.PREPARE:
                job = to_stage(job, Stage.READY)
                self._save(replace(job, ready_at=now, estimated_ms=event.estimated_ms))
            case Stage.QUANTUM:
                job = to_stage(job, Stage.FINISH)
                self._save(replace(job, quantum_ended_at=now, usage_ms=event.usage_ms))
                self._step.commands.append(RunStage(job.id, job.run, Stage.FINISH))
            case Stage.FINISH:
                self._end(job, JobStatus.COMPLETED, now, usage_ms=job.usage_ms)
            case Stage.READY:  # pragma: no branch - the last of them
                raise AssertionError("no worker runs the stage in which a job waits")

    def _fail_stage(self, event: StageFailed, now: int) -> None:
        job = self.jobs.get(event.job_id)
        if job is None or (job.run, job.stage) != (event.run, event.stage):
            return
        usage_ms = 0 if event.service_fault else charged_when_stopped(job, now)
        self._end(job, JobStatus.FAILED, now, usage_ms=usage_ms, reason=event.reason)

    def _open(self, event: WorkloadOpened, now: int) -> None:
        assert event.workload_id not in self.workloads
        self._seq += 1
        workload = Workload(
            id=event.workload_id,
            seq=self._seq,
            instance=event.instance,
            backend=event.backend,
            mode=event.mode,
            created_at=now,
            max_ttl_ms=event.max_ttl_ms,
            interactive_ttl_ms=event.interactive_ttl_ms,
            active_ttl_ms=event.active_ttl_ms,
            unused_ttl_ms=event.unused_ttl_ms,
            idle_since=now,
            transitions=((WorkloadState.OPEN, now),),
        )
        self._save(workload)

    def _restart(self) -> None:
        """Whatever ran starts again from the beginning and is charged once (decisions 23)."""
        running = [job for job in self.jobs.values() if job.status is JobStatus.RUNNING]
        for job in sorted(running, key=lambda job: job.seq):
            self._save(
                replace(
                    to_stage(job, Stage.PREPARE),
                    run=job.run + 1,
                    estimated_ms=None,
                    usage_ms=0,
                    ready_at=None,
                    quantum_started_at=None,
                    quantum_ended_at=None,
                )
            )
            if self.index.backends[job.backend].backend.lanes:  # else not configured: it waits
                self._step.commands.append(RunStage(job.id, job.run + 1, Stage.PREPARE))

    # -- what time brings

    def _expire(self, now: int) -> None:
        """Let everything happen that fell due by `now`, in order, each at its own instant."""
        while (at := self.next_deadline()) is not None and at <= now:
            workload = self.workloads[self._deadlines[0][1]]
            if at == policy.max_ttl_at(workload, has_queued=self._has_queued(workload.id)):
                self._reach_max_ttl(workload, at)
            elif workload.state is WorkloadState.OPEN:  # never used (semantics 3.4)
                self._stop_accepting(workload.id, "session_never_used")
                self._close_if_done(workload.id, at)
            else:  # interactive TTL (semantics 3.2)
                self._move(workload, WorkloadState.INACTIVE, at, "interactive_ttl_reached")

    def _reach_max_ttl(self, workload: Workload, at: int) -> None:
        """Nothing more is accepted or started; what runs, runs on (guide, "Batch length")."""
        self._stop_accepting(workload.id, "max_ttl_reached")
        mode = "batch" if workload.mode is Mode.BATCH else "session"
        reason = replace(
            MAX_TTL_REACHED, message=MAX_TTL_REACHED.message.format(mode=mode, id=workload.id)
        )
        self._end_queued(workload.id, JobStatus.FAILED, at, reason)
        self._close_if_done(workload.id, at)

    # -- what may not stand

    def _settle(self, now: int) -> None:
        """Move on until nothing moves any more; looks only at what has changed."""
        index = self.index
        while index.touched_workloads or index.touched_backends:
            workloads, index.touched_workloads = index.touched_workloads, {}
            for workload_id in workloads:
                self._close_if_done(workload_id, now)
            backends, index.touched_backends = index.touched_backends, {}
            for name in backends:
                self._end_drain_if_overtaken(name)
                self._fill_lanes(name, now)
                self._fill_qpu(name, now)

    def _close_if_done(self, workload_id: str, at: int) -> None:
        """Close a workload that accepts nothing and has nothing left (semantics 1.4)."""
        workload = self.workloads.get(workload_id)
        if workload is None or workload.accepting_jobs or self.index.unfinished[workload_id]:
            return
        self._move(workload, WorkloadState.CLOSED, at, workload.state_reason)

    def _end_drain_if_overtaken(self, backend: str) -> None:
        """A session whose job at the head of the normal queue is gone is not next in line."""
        queues = self.index.backends[backend]
        if queues.drain is None:
            return
        head = self.index.first_normal(queues)
        if head is None or head.workload_id != queues.drain:
            self._save(replace(self.workloads[queues.drain], drain_seq=None))

    def _fill_lanes(self, backend: str, now: int) -> None:
        queues = self.index.backends[backend]
        self._begin_drain(backend)
        while queues.has_free_lane and (job := self._next_job(backend)) is not None:
            self._start(job, now)
            self._begin_drain(backend)

    def _begin_drain(self, backend: str) -> None:
        """A session at the head of the normal queue is next in line: remember since when.

        decisions 12: from then on nothing new starts except what active batches had queued before.
        """
        queues = self.index.backends[backend]
        if queues.session is not None or queues.drain is not None:
            return
        job = self.index.first_normal(queues)
        workload = None if job is None else self.index.workload_of(job)
        if workload is not None and workload.mode is Mode.SESSION:
            self._save(replace(workload, drain_seq=self._seq))

    def _next_job(self, backend: str) -> Job | None:
        """Who takes a free lane (decisions 12 to 15)."""
        queues = self.index.backends[backend]
        if queues.session is not None:  # exclusive: only its own
            return self.index.oldest_queued(queues.session)
        job = self.index.first_priority(queues)
        if job is not None:
            return job
        if queues.drain is not None:  # the session starts with all lanes
            return None if queues.lanes else self.index.oldest_queued(queues.drain)
        return self.index.first_normal(queues)

    def _start(self, job: Job, now: int) -> None:
        workload = self.index.workload_of(job)
        if workload is not None:
            if workload.state is not WorkloadState.ACTIVE:
                workload = self._move(workload, WorkloadState.ACTIVE, now, "session_active")
            self._save(replace(workload, last_job_started_at=now))
        job = replace(to_status(job, JobStatus.RUNNING), run=job.run + 1, started_at=now)
        self._save(to_stage(job, Stage.PREPARE))
        self._step.commands.append(RunStage(job.id, job.run, Stage.PREPARE))

    def _fill_qpu(self, backend: str, now: int) -> None:
        """Give the QPU to who is ready. A due calibration has its place before them (issue 3)."""
        queues = self.index.backends[backend]
        while queues.has_free_qpu and (job := self.index.take_ready(queues)) is not None:
            self._save(replace(to_stage(job, Stage.QUANTUM), quantum_started_at=now))
            self._step.commands.append(RunStage(job.id, job.run, Stage.QUANTUM))

    # -- moves

    def _end(
        self, job: Job, status: JobStatus, at: int, *, usage_ms: int, reason: Reason | None = None
    ) -> None:
        was_running = job.status is JobStatus.RUNNING
        if was_running:
            job = to_stage(job, None)
        self._save(replace(to_status(job, status), ended_at=at, usage_ms=usage_ms, reason=reason))
        workload = self.index.workload_of(job)
        if workload is None:
            return
        idles = not self.index.unfinished[workload.id] and (
            workload.state is not WorkloadState.INACTIVE
        )
        self._save(
            replace(
                workload,
                jobs_ms=workload.jobs_ms + usage_ms,
                last_job_completed_at=at if was_running else workload.last_job_completed_at,
                idle_since=at if idles else workload.idle_since,
            )
        )

    def _end_queued(
        self, workload_id: str, status: JobStatus, at: int, reason: Reason | None
    ) -> None:
        for job_id in list(self.index.queued[workload_id]):
            self._end(self.jobs[job_id], status, at, usage_ms=0, reason=reason)

    def _stop_accepting(self, workload_id: str, why: str) -> None:
        workload = self.workloads[workload_id]
        if workload.accepting_jobs:
            self._save(replace(workload, accepting_jobs=False, state_reason=why))

    def _move(self, workload: Workload, to: WorkloadState, at: int, why: str) -> Workload:
        moved = to_state(workload, to, at, why)
        self._save(moved)
        return moved

    def _save(self, record: Record) -> None:
        self._step.changed[record.id] = record
        self.index.put(record)
        if isinstance(record, Workload) and record.state is not WorkloadState.CLOSED:
            self._push_deadline(record)

    # -- deadlines

    def _has_queued(self, workload_id: str) -> bool:
        return bool(self.index.queued[workload_id])

    def _deadline(self, workload_id: str) -> int | None:
        workload = self.workloads.get(workload_id)
        if workload is None:
            return None
        return policy.deadline(workload, has_queued=self._has_queued(workload_id))

    def _push_deadline(self, workload: Workload) -> None:
        at = self._deadline(workload.id)
        if at is not None and (at, workload.id) not in self._pushed:
            heappush(self._deadlines, (at, workload.id))
            self._pushed.add((at, workload.id))
