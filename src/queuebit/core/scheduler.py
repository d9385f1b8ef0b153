"""The scheduler: events and the time in, changed records and commands out.

Two kinds of moves. *Event-triggered*: something happened (`_apply`). *State-triggered*: this may
not stand, whatever happened, so move on until nothing moves any more (`_settle`). Time is a kind of
event: what fell due since the last call happens first, at its own instant (`_expire`).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from queuebit.core import calibrations, policy
from queuebit.core.away import interruptions
from queuebit.core.budgets import needed_ms
from queuebit.core.changes import Changes
from queuebit.core.events import (
    BackendStatusSet,
    CalibrationEnded,
    Event,
    InstanceSet,
    JobCancelRequested,
    JobSubmitted,
    Refusal,
    Restarted,
    Rule,
    RunCalibration,
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
from queuebit.core.ledger import Ledger
from queuebit.core.model import (
    Backend,
    BackendState,
    Charge,
    Instance,
    Job,
    JobStatus,
    Mode,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.moves import begun_again, opened, started, submitted, to_stage
from queuebit.core.reasons import RAN_TOO_LONG, STOPPED_AT_LIMIT, ttl_reached
from queuebit.core.usage import charged_when_stopped


class Scheduler:
    """Decides for all backends; knows every job that is not final and every workload not closed."""

    def __init__(
        self,
        backends: Iterable[Backend],
        records: Iterable[Record] = (),
        last_seq: int = 0,
        *,
        instances: Iterable[Instance] = (),
        charges: Iterable[Charge] = (),
    ) -> None:
        """Start from what was saved.

        `records` are those not final, `last_seq` the highest `seq` ever given, `charges` what final
        jobs and past active windows of sessions cost in their instances' windows.
        """
        self.ledger = Ledger(instances, charges)
        self.index = Index(backends, self.ledger)
        self._seq = last_seq
        self._changes = Changes(self.index)
        for record in sorted(records, key=_before):
            if not isinstance(record, BackendState):
                self._seq = max(self._seq, record.seq)
            self.index.put(record)
        for record_id in (
            *self.index.states,
            *self.workloads,
            *self.jobs,
        ):  # whether a workload has queued jobs counts
            self._changes.deadlines.note(record_id)

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
        self._changes.step = Step()
        if isinstance(event, Restarted):  # before what fell due while it was away
            self._come_back(event, now)
        self._expire(now)
        self._roll(now)
        self._changes.step.refusal = self._apply(event, now)
        self._settle(now)
        return self._changes.step

    def next_deadline(self) -> int | None:
        """When `handle(Tick(), ...)` is next due; None: only events bring anything about."""
        ledger = self.ledger
        due = (self._changes.deadlines.first(), ledger.next_reach(), ledger.next_relief())
        return min((one[0] for one in due if one is not None), default=None)

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
                    self._changes.stop_accepting(workload_id, "session_closed_by_user")
            case WorkloadCancelRequested(workload_id=workload_id):
                if workload_id in self.workloads:
                    self._changes.stop_accepting(workload_id, "session_cancelled_by_user")
                    self._changes.end_queued(workload_id, JobStatus.CANCELLED, now, None)
            case BackendStatusSet():
                state = self.index.states[event.backend]
                self._changes.save(replace(state, status=event.status, status_reason=event.reason))
            case CalibrationEnded():
                self._end_calibration(event, now)
            case InstanceSet(instance=instance, charges=charges):
                self._set_instance(instance, charges, now)
            case Restarted():
                self._restart(now)
            case Tick():
                pass
            case _:  # pragma: no cover - mypy sees to it
                assert_never(event)
        return None

    def _set_instance(self, instance: Instance, charges: Iterable[Charge], now: int) -> None:
        """Its place in the fair share, and whether it is at its limit, may be others now."""
        self.ledger.set(instance, charges)
        self._roll(now)
        self.index.stand_again(instance.id)
        if self.ledger.is_limited(instance.id):
            self._stop_at_limit(instance.id, now)

    def _submit(self, event: JobSubmitted, now: int) -> Refusal | None:
        workload = None
        if event.workload_id is not None:
            workload = self.workloads.get(event.workload_id)
            if workload is None:
                return Refusal(Rule.WORKLOAD_CLOSED, f"Session {event.workload_id} is closed.")
            refusal = policy.not_of(workload, event)
            if refusal is not None:
                return refusal
        budget_ms, refusal = self._reserve(event)
        if refusal is not None:
            return refusal
        instance = self.ledger.instances.get(event.instance)
        if instance is not None:
            is_limited = self.ledger.is_limited(instance.id)
            pending = self.index.pending.get(instance.id, 0)
            refusal = policy.over_limit(instance, is_limited=is_limited, pending=pending)
            if refusal is not None:
                return refusal
        if workload is not None and workload.idle_since is not None:
            self._changes.save(replace(workload, idle_since=None))
        assert event.job_id not in self.jobs
        self._seq += 1
        self._changes.save(submitted(event, self._seq, now, budget_ms))
        return None

    def _reserve(self, event: JobSubmitted) -> tuple[int, Refusal | None]:
        """How much QPU time to reserve for a job, or why there is not enough."""
        budget = self.ledger.budget(event.instance, event.user)
        queues = self.index.backends.get(event.backend)
        if budget is None or (queues is not None and not queues.backend.charges):
            return 0, None
        need_ms = needed_ms(event.estimated_ms, event.limit_ms)
        return need_ms, budget.refusal(need_ms)

    def _cancel_job(self, job_id: str, now: int) -> Refusal | None:
        job = self.jobs.get(job_id)
        if job is None:
            return Refusal(Rule.NOT_CANCELLABLE, f"Job {job_id} is not queued or running.")
        if job.status is JobStatus.RUNNING:
            self._changes.step.commands.append(StopJob(job.id))
        self._changes.end(job, JobStatus.CANCELLED, now, usage_ms=charged_when_stopped(job, now))
        return None

    def _end_stage(self, event: StageEnded, now: int) -> None:
        job = self.jobs.get(event.job_id)
        if job is None or (job.run, job.stage) != (event.run, event.stage):
            return  # late or repeated news: its cancel or a restart was faster
        match event.stage:
            case Stage.PREPARE:
                known_ms = (
                    event.estimated_ms if event.estimated_ms is not None else job.estimated_ms
                )
                self._end_prepare(job, known_ms, now)
            case Stage.QUANTUM:
                usage_ms = event.usage_ms if self.index.charges(job) else 0
                self._end_quantum(job, usage_ms, now)
            case Stage.FINISH:
                self._changes.end(job, JobStatus.COMPLETED, now, usage_ms=job.usage_ms)
            case Stage.READY:  # pragma: no branch - the last of them
                raise AssertionError("no worker runs the stage in which a job waits")

    def _end_prepare(self, job: Job, estimated_ms: int | None, now: int) -> None:
        """It is ready for the QPU, unless it needs more by now than its budget leaves."""
        budget = self.ledger.budget(job.instance, job.user)
        need_ms = needed_ms(estimated_ms, job.limit_ms)
        budget_ms = job.budget_ms
        if budget is not None and self.index.charges(job) and need_ms > budget_ms:
            if need_ms > budget_ms + budget.left_ms:
                reason = replace(budget, reserved_ms=budget.reserved_ms - budget_ms).reason(need_ms)
                self._changes.end(job, JobStatus.FAILED, now, usage_ms=0, reason=reason)
                return
            budget_ms = need_ms
        self._changes.save(
            to_stage(job, Stage.READY, ready_at=now, estimated_ms=estimated_ms, budget_ms=budget_ms)
        )

    def _end_quantum(self, job: Job, usage_ms: int, now: int) -> None:
        """It has left the QPU; what it used is known, and may be more than it may use."""
        if job.limit_ms is not None and usage_ms > job.limit_ms:
            self._run_too_long(job, now)
            return
        affordable_ms = self.index.affordable_ms(job, usage_ms)
        if usage_ms > affordable_ms:
            self._changes.end(
                job, JobStatus.CANCELLED, now, usage_ms=affordable_ms, reason=STOPPED_AT_LIMIT
            )
            return
        budget_ms = max(job.budget_ms, usage_ms) if job.budget_ms else 0
        self._changes.save(
            to_stage(
                job, Stage.FINISH, quantum_ended_at=now, usage_ms=usage_ms, budget_ms=budget_ms
            )
        )
        self._changes.step.commands.append(RunStage(job.id, job.run, Stage.FINISH))

    def _fail_stage(self, event: StageFailed, now: int) -> None:
        job = self.jobs.get(event.job_id)
        if job is None or (job.run, job.stage) != (event.run, event.stage):
            return
        usage_ms = charged_when_stopped(job, now) if self.index.charges(job) else 0
        if event.service_fault and self.ledger.may_credit(job.instance, usage_ms):
            self._changes.credit(job, usage_ms, now)
            usage_ms = 0
        self._changes.end(job, JobStatus.FAILED, now, usage_ms=usage_ms, reason=event.reason)

    def _open(self, event: WorkloadOpened, now: int) -> None:
        assert event.workload_id not in self.workloads
        self._seq += 1
        self._changes.save(opened(event, self._seq, now))

    def _end_calibration(self, event: CalibrationEnded, now: int) -> None:
        state = self.index.states[event.backend]
        if state.calibrating is None or state.run != event.run:
            return  # late or repeated news
        backend = self.index.backends[event.backend].backend
        self._changes.save(calibrations.ended(state, backend, now))

    def _come_back(self, event: Restarted, now: int) -> None:
        """Whatever ran starts again from the beginning and is charged once (decisions 23).

        While the service was away no job had the QPU, and none had its limit of it.
        """
        running = [job for job in self.jobs.values() if job.status is JobStatus.RUNNING]
        for job in sorted(running, key=lambda job: job.seq):
            self._changes.save(begun_again(job))
            if self.index.backends[job.backend].backend.lanes:  # else not configured: it waits
                self._changes.step.commands.append(RunStage(job.id, job.run + 1, Stage.PREPARE))
        if event.last_at is not None:
            for session, left_at, back_at in interruptions(self.index, event.last_at, now):
                self._changes.interrupt(session, left_at, back_at)

    def _restart(self, now: int) -> None:
        """Plan the calibrations, and look whether limits are others than before."""
        for name, queues in self.index.backends.items():
            state = self.index.states[name]
            planned = calibrations.scheduled(state, queues.backend, now)
            if planned != state:
                self._changes.save(planned)
        for instance in self.ledger.instances:  # a limit may be another than before
            if self.ledger.is_limited(instance):
                self._changes.note_over_cost(instance)

    # -- what time brings

    def _expire(self, now: int) -> None:
        """Let everything happen that fell due by `now`, in order, each at its own instant."""
        while True:
            due, reach = self._changes.deadlines.first(), self.ledger.next_reach()
            if reach is not None and reach[0] <= now and (due is None or reach[0] < due[0]):
                self._reach_limit(*reach)
                continue
            if due is None or due[0] > now:
                return
            at, record_id = due
            job = self.jobs.get(record_id)
            if job is not None:
                self._changes.step.commands.append(StopJob(job.id))
                self._run_too_long(job, at)
                continue
            if record_id in self.index.states:
                self._changes.save(calibrations.fallen_due(self.index.states[record_id], at))
                continue
            workload = self.workloads[record_id]
            has_queued = self.index.has_queued(workload.id)
            if at == policy.max_ttl_at(workload, has_queued=has_queued):
                self._reach_ttl(workload, at, "max")
            elif at == policy.active_ttl_at(workload, has_queued=has_queued):
                self._reach_ttl(workload, at, "active")
            elif workload.state is WorkloadState.OPEN:  # never used (semantics 3.4)
                self._changes.stop_accepting(workload.id, "session_never_used")
                self._close_if_done(workload.id, at)
            elif workload.ends_idle:  # FAQ: a batch ends "automatically when the last ... job ends"
                self._changes.stop_accepting(workload.id, "interactive_ttl_reached")
                self._close_if_done(workload.id, at)
            else:  # interactive TTL (semantics 3.2)
                self._changes.move(workload, WorkloadState.INACTIVE, at, "interactive_ttl_reached")

    def _reach_limit(self, at: int, instance: str) -> None:
        """The time of active sessions brings their instance to its limit (semantics 5.5)."""
        self._roll(at)  # a late look may find that some of its usage had left the window by then
        self._stop_at_limit(instance, at)

    def _stop_at_limit(self, instance: str, at: int) -> None:
        self._changes.reach_limit(instance)
        for workload_id in self._changes.stop_over_cost(at):
            self._close_if_done(workload_id, at)

    def _roll(self, now: int) -> None:
        """Let usage leave the windows of instances: they may stand further ahead."""
        for instance in self.ledger.roll(now):
            self.index.stand_again(instance)

    def _reach_ttl(self, workload: Workload, at: int, which: str) -> None:
        """Nothing more is accepted or started; what runs, runs on (guide, "Batch length")."""
        self._changes.stop_accepting(workload.id, f"{which}_ttl_reached")
        self._changes.end_queued(workload.id, JobStatus.FAILED, at, ttl_reached(which, workload))
        self._close_if_done(workload.id, at)

    def _run_too_long(self, job: Job, at: int) -> None:
        """A job has had all the QPU time that it may (semantics 3.5)."""
        assert job.limit_ms is not None
        self._changes.end(job, JobStatus.CANCELLED, at, usage_ms=job.limit_ms, reason=RAN_TOO_LONG)

    # -- what may not stand

    def _settle(self, now: int) -> None:
        """Move on until nothing moves any more; looks only at what has changed."""
        index = self.index
        while index.touched_workloads or index.touched_backends:
            if self._changes.clock_moved:
                self._changes.clock_moved = False
                self._expire(now)
            self._changes.stop_over_cost(now)
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
        self._changes.move(workload, WorkloadState.CLOSED, at, workload.state_reason)

    def _end_drain_if_overtaken(self, backend: str) -> None:
        drain = self.index.backends[backend].drain
        if drain is not None and self.index.is_overtaken(self.workloads[drain]):
            self._changes.save(replace(self.workloads[drain], drain_seq=None))

    def _fill_lanes(self, backend: str, now: int) -> None:
        queues = self.index.backends[backend]
        self._begin_drain(backend)
        while queues.has_free_lane and (job := self.index.next_job(backend)) is not None:
            self._start(job, now)
            self._begin_drain(backend)

    def _begin_drain(self, backend: str) -> None:
        """A session at the head of the normal queue is next in line: remember since when.

        decisions 12: from then on nothing new starts except what active batches had queued before.
        """
        queues = self.index.backends[backend]
        if not queues.sessions or queues.session is not None or queues.drain is not None:
            return
        job = self.index.first_normal(queues)
        workload = None if job is None else self.index.workload_of(job)
        if workload is not None and workload.mode is Mode.SESSION:
            self._changes.save(replace(workload, drain_seq=self._seq))

    def _start(self, job: Job, now: int) -> None:
        workload = self.index.workload_of(job)
        if workload is not None:
            if workload.state is not WorkloadState.ACTIVE:
                workload = self._changes.move(workload, WorkloadState.ACTIVE, now, "session_active")
            self._changes.save(replace(workload, last_job_started_at=now))
        job = started(job, now)
        self._changes.save(job)
        self._changes.step.commands.append(RunStage(job.id, job.run, Stage.PREPARE))

    def _fill_qpu(self, backend: str, now: int) -> None:
        """Give the QPU to who is ready; first a due calibration, in no session (decisions 6)."""
        queues, state = self.index.backends[backend], self.index.states[backend]
        if state.calibrating is not None:
            return
        if state.due and queues.session is None:
            if not queues.qpu:
                self._calibrate(calibrations.started(state, now))
            return
        while queues.has_free_qpu and (job := self.index.take_ready(queues)) is not None:
            self._changes.save(to_stage(job, Stage.QUANTUM, quantum_started_at=now))
            self._changes.step.commands.append(RunStage(job.id, job.run, Stage.QUANTUM))

    def _calibrate(self, state: BackendState) -> None:
        configured = self.index.backends[state.id].backend.calibrations
        calibration = next(c for c in configured if c.kind == state.calibrating)
        self._changes.save(state)
        self._changes.step.commands.append(
            RunCalibration(state.id, state.run, calibration.kind, calibration.lasts_ms)
        )


def _before(record: Record) -> tuple[bool, int]:
    """The order in which records are looked at: jobs last, since they refer to the others."""
    return (isinstance(record, Job), 0 if isinstance(record, BackendState) else record.seq)
