"""What the scheduler does to records: every change goes through here, into the step being made."""

from dataclasses import replace

from queuebit.core.deadlines import Deadlines
from queuebit.core.events import Step, StopJob
from queuebit.core.index import Index
from queuebit.core.model import (
    Charge,
    Job,
    JobStatus,
    Mode,
    OnLimit,
    Reason,
    Record,
    Workload,
    WorkloadState,
)
from queuebit.core.moves import ended, interrupted, to_state
from queuebit.core.reasons import NEVER_RAN, STOPPED_AT_LIMIT
from queuebit.core.usage import beyond_real_ms, charged_when_stopped


class Changes:
    """The step being made, and the records and lines that it changes."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.ledger = index.ledger
        self.deadlines = Deadlines(index.deadline)
        self.step = Step()
        self.clock_moved = False
        """Whether a job that has ended set its session's clock forward."""
        self._over_cost: dict[str, None] = {}  # instances whose running jobs have to stop

    def end(
        self, job: Job, status: JobStatus, at: int, *, usage_ms: int, reason: Reason | None = None
    ) -> None:
        """End a job, with what that brings for its workload and its instance."""
        if not self.index.charges(job):
            usage_ms = 0
        usage_ms = self.index.affordable_ms(job, usage_ms)
        was_running = job.status is JobStatus.RUNNING
        self.save(ended(job, status, at, usage_ms=usage_ms, reason=reason))
        workload = self.index.workload_of(job)
        modelled_ms = 0
        if workload is not None and workload.mode is Mode.SESSION:
            # It is charged for its own time, not for its jobs (semantics 5.1).
            modelled_ms = beyond_real_ms(workload, job, usage_ms, at)
            self.clock_moved = self.clock_moved or modelled_ms > 0
            self.charge(Charge(instance=job.instance, at=at, ms=modelled_ms, source=job.id))
        else:
            self.charge(
                Charge(instance=job.instance, at=at, ms=usage_ms, source=job.id, user=job.user)
            )
        if workload is None:
            return
        idles = not self.index.unfinished[workload.id] and (
            workload.state is not WorkloadState.INACTIVE
        )
        self.save(
            replace(
                workload,
                jobs_ms=workload.jobs_ms + usage_ms,
                modelled_ms=workload.modelled_ms + modelled_ms,
                last_job_completed_at=at if was_running else workload.last_job_completed_at,
                idle_since=at if idles else workload.idle_since,
            )
        )

    def end_queued(
        self, workload_id: str, status: JobStatus, at: int, reason: Reason | None
    ) -> None:
        """End every queued job of a workload."""
        for job_id in list(self.index.queued[workload_id]):
            self.end(self.index.jobs[job_id], status, at, usage_ms=0, reason=reason)

    def stop_accepting(self, workload_id: str, why: str) -> None:
        """Let a workload take no more jobs; the first reason stands."""
        workload = self.index.workloads[workload_id]
        if workload.accepting_jobs:
            self.save(replace(workload, accepting_jobs=False, state_reason=why))

    def move(self, workload: Workload, to: WorkloadState, at: int, why: str) -> Workload:
        """Move a workload; a session's active window that ends is charged (semantics 5.1)."""
        moved = to_state(workload, to, at, why)
        self._save_charged(workload, moved, at)
        return moved

    def interrupt(self, session: Workload, left_at: int, back_at: int | None) -> None:
        """End the window of an active session with the service; it may begin anew `back_at`."""
        self._save_charged(session, interrupted(session, left_at, back_at), left_at)

    def _save_charged(self, workload: Workload, moved: Workload, at: int) -> None:
        self.save(moved)
        if workload.mode is Mode.SESSION:
            window_ms = moved.active_ms - workload.active_ms
            self.charge(Charge(instance=workload.instance, at=at, ms=window_ms, source=workload.id))

    def charge(self, charge: Charge) -> None:
        """Charge an instance, and note that it has reached its limit."""
        if charge.ms <= 0 and not charge.credited_ms:
            return
        self.step.charges.append(charge)
        was_limited = self.ledger.is_limited(charge.instance)
        self.ledger.add(charge)
        if self.ledger.is_limited(charge.instance):
            self.reach_limit(charge.instance, is_news=not was_limited)

    def credit(self, job: Job, ms: int, at: int) -> None:
        """Note QPU time that our fault wasted: nobody is charged for it (decisions 4)."""
        if ms:
            self.charge(Charge(instance=job.instance, at=at, ms=0, source=job.id, credited_ms=ms))

    def reach_limit(self, instance: str, *, is_news: bool = True) -> None:
        """An instance has used all that it may; `is_news`: it had not before."""
        self.note_over_cost(instance)
        if is_news:
            self.index.stand_back(instance)

    def note_over_cost(self, instance: str) -> None:
        """An instance is at its limit: what it has running stops, if its plan says so."""
        if self.ledger.instances[instance].on_limit is OnLimit.STOP:
            self._over_cost[instance] = None

    def stop_over_cost(self, now: int) -> list[str]:
        """Stop what instances at their cost limit have running or active (decisions 3).

        Their active workloads end with it: they would hold the backend, and nothing more starts.
        Returns these, by id.
        """
        stopped: list[str] = []
        if not self._over_cost:
            return stopped
        # A late look may find that the window has rolled meanwhile.
        stopping = {one for one in self._over_cost if self.ledger.is_limited(one)}
        self._over_cost.clear()
        for workload in sorted(self.index.workloads.values(), key=lambda workload: workload.seq):
            if workload.instance in stopping and workload.state is WorkloadState.ACTIVE:
                stopped.append(workload.id)
                self.stop_accepting(workload.id, "instance_limit_reached")
                self.end_queued(workload.id, JobStatus.CANCELLED, now, NEVER_RAN)
        lanes = [id_ for queues in self.index.backends.values() for id_ in queues.lanes]
        for job in sorted((self.index.jobs[id_] for id_ in lanes), key=lambda job: job.seq):
            if job.instance in stopping:
                self.step.commands.append(StopJob(job.id))
                usage_ms = charged_when_stopped(job, now)
                self.end(job, JobStatus.CANCELLED, now, usage_ms=usage_ms, reason=STOPPED_AT_LIMIT)
        return stopped

    def save(self, record: Record) -> None:
        """Put a new or changed record into the step and the lines."""
        self.step.changed[record.id] = record
        self.index.put(record)
        self.deadlines.note(record.id)
