"""A world around the scheduler that keeps its own books of everything that it sees.

Its books are what the commands and the saved records say, so that a mistake of the scheduler has to
be made twice to go unseen.
"""

from collections import Counter

from tests.core import saved
from tests.core.world_parts import BACKENDS, INSTANCES, REASON, STAGES_OF_WORKERS, Drain

from queuebit.core import invariants
from queuebit.core.events import (
    BackendStatusSet,
    CalibrationEnded,
    Command,
    Event,
    InstanceSet,
    JobSubmitted,
    Restarted,
    RunCalibration,
    RunStage,
    StageEnded,
    StageFailed,
    Step,
    StopJob,
    Tick,
    WorkloadOpened,
)
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import (
    FINAL,
    BackendState,
    BackendStatus,
    Charge,
    Instance,
    Job,
    JobStatus,
    Mode,
    OnLimit,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.scheduler import Scheduler
from queuebit.core.usage import workload_usage_ms

NOTHING = Step()


class World:
    """A scheduler, the records that were saved, and what runs in workers and on QPUs."""

    def __init__(self) -> None:
        self.instances = {instance.id: instance for instance in INSTANCES}
        self.scheduler = Scheduler(BACKENDS, instances=INSTANCES)
        self.now = 0
        self.saved: dict[str, Record] = {}
        self.charges: list[Charge] = []
        self.tasks: dict[str, RunStage] = {}
        self.calibrating: dict[str, RunCalibration] = {}
        self.drains: dict[str, Drain] = {}
        self.commanded: set[Command] = set()
        self.accepted: set[str] = set()
        self.ended: set[str] = set()
        self.log: list[tuple[Event, int]] = []
        self.usage_ms: Counter[str] = Counter()
        self.names = 0
        self.feed(Restarted())  # which the driver sends first

    def name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def feed(self, event: Event, *, check: bool = True) -> Step:
        self.log.append((event, self.now))
        step = self.scheduler.handle(event, self.now)
        if isinstance(event, JobSubmitted) and step.refusal is None:
            self.accepted.add(event.job_id)
        were_active = set(self.active_workloads())
        for record in step.changed.values():
            self.save(record)
        self.charges += step.charges
        for command in step.commands:
            self.carry_out(command)
            if isinstance(command, RunStage) and (command.run, command.stage) == (1, Stage.PREPARE):
                self.check_start(self.job(command.job_id), were_active)
        self.note_drains()
        if check:
            self.check()
        return step

    def save(self, record: Record) -> None:
        old = self.saved.get(record.id)
        self.saved[record.id] = record
        if isinstance(record, Job):
            assert record.id in self.accepted, "nobody asked for it"
            assert record.id not in self.ended, "ended twice"
            assert record.limit_ms is None or record.usage_ms <= record.limit_ms
            if record.status in FINAL:
                self.ended.add(record.id)
        elif isinstance(record, Workload):
            assert not isinstance(old, Workload) or old.state is not WorkloadState.CLOSED

    def carry_out(self, command: Command) -> None:
        if isinstance(command, StopJob):
            self.tasks.pop(command.job_id, None)
            return
        assert command not in self.commanded, "the same of the same run twice"
        self.commanded.add(command)
        if isinstance(command, RunCalibration):
            assert not self.on_qpu(command.backend), "a calibration beside a job"
            assert command.backend not in self.calibrating, "two calibrations at once"
            self.calibrating[command.backend] = command
            return
        assert command.job_id not in self.tasks, "two stages of a job at once"
        self.tasks[command.job_id] = command
        name = self.job(command.job_id).backend
        backend = next(backend for backend in BACKENDS if backend.name == name)
        here = [job_id for job_id in self.tasks if self.job(job_id).backend == name]
        assert len(here) <= backend.lanes, "more jobs than lanes"
        assert len(self.on_qpu(name)) <= backend.qpu_slots, "two on the QPU"
        if command.stage is Stage.QUANTUM:
            assert name not in self.calibrating, "a job beside a calibration"

    def check_start(self, job: Job, were_active: set[str]) -> None:
        """Whether a job that starts is one that may (semantics 5.5, decisions 3, 12)."""
        ledger = self.scheduler.ledger
        if ledger.is_limited(job.instance):
            assert job.workload_id in were_active, "started at its limit"
            assert ledger.instances[job.instance].on_limit is OnLimit.WAIT
        drain = self.drains.get(job.backend)
        if drain is None:
            return
        session, head = self.workload(drain.session), self.job(drain.head)
        if session.state is WorkloadState.ACTIVE or (
            session.drain_seq is not None and head.status is JobStatus.QUEUED
        ):
            assert job.workload_id == session.id or job.id in drain.eligible, "overtook a session"

    def note_drains(self) -> None:
        """Keep, of each session that is next in line, what it found queued by active batches."""
        drains = {}
        for record in self.scheduler.workloads.values():
            if record.drain_seq is None:
                continue
            old = self.drains.get(record.backend)
            queued = [job for job in self.scheduler.jobs.values() if job.workload_id == record.id]
            head = min(queued, key=lambda job: job.seq).id
            if old is None or (old.session, old.head) != (record.id, head):
                eligible = frozenset(self.queued_with_priority(record.backend))
                old = Drain(record.id, head, eligible)
            drains[record.backend] = old
        self.drains = drains

    def queued_with_priority(self, backend: str) -> list[str]:
        active = set(self.active_workloads())
        return [
            job.id
            for job in self.scheduler.jobs.values()
            if job.backend == backend
            and job.status is JobStatus.QUEUED
            and job.workload_id in active
        ]

    def active_workloads(self) -> list[str]:
        return [
            record.id
            for record in self.saved.values()
            if isinstance(record, Workload) and record.state is WorkloadState.ACTIVE
        ]

    def on_qpu(self, backend: str) -> list[str]:
        return [
            task.job_id
            for task in self.tasks.values()
            if task.stage is Stage.QUANTUM and self.job(task.job_id).backend == backend
        ]

    def job(self, job_id: str) -> Job:
        job = self.saved[job_id]
        assert isinstance(job, Job)
        return job

    def workload(self, workload_id: str) -> Workload:
        workload = self.saved[workload_id]
        assert isinstance(workload, Workload)
        return workload

    # -- what must be so

    def check(self) -> None:
        invariants.check(self.scheduler, self.now)
        assert self.scheduler.handle(Tick(), self.now) == NOTHING, "a move was left"
        for job_id in self.accepted - self.ended:
            assert self.scheduler.jobs[job_id] == self.saved[job_id], "changed but not told"
        assert len(self.scheduler.jobs) == len(self.accepted) - len(self.ended)
        # Whoever holds the QPU or is in classical work is being worked on, and nobody else is.
        assert set(self.tasks) == {
            job.id for job in self.scheduler.jobs.values() if job.stage in STAGES_OF_WORKERS
        }
        self.check_backends()
        self.check_usage()
        self.check_charges()
        self.check_ledger()
        twin = self.rebuilt()
        assert twin.handle(Tick(), self.now) == NOTHING
        assert invariants.picture(twin) == invariants.picture(self.scheduler)

    def check_backends(self) -> None:
        states = self.scheduler.index.states
        for name, state in states.items():
            assert self.saved.get(name, BackendState(id=name)) == state, "changed but not told"
        assert set(self.calibrating) == {n for n, state in states.items() if state.calibrating}
        for workload_id in self.active_workloads():
            workload = self.workload(workload_id)
            if workload.mode is Mode.SESSION:
                assert workload.backend not in self.calibrating, "calibrated inside a session"

    def check_usage(self) -> None:
        charged: Counter[str] = Counter()
        for record in self.saved.values():
            if isinstance(record, Job):
                if record.status in FINAL and record.workload_id is not None:
                    charged[record.workload_id] += record.usage_ms
            elif isinstance(record, Workload):
                usage_ms = workload_usage_ms(record, self.now)
                assert usage_ms >= self.usage_ms[record.id], "usage shrank"
                self.usage_ms[record.id] = usage_ms
        for record in self.saved.values():
            if isinstance(record, Workload):
                assert record.jobs_ms == charged[record.id]
                ended_ms = sum(ended - began for began, ended in saved.windows(record))
                assert record.active_ms == ended_ms
                assert record.state is not WorkloadState.OPEN or not self.usage_ms[record.id]

    def check_charges(self) -> None:
        """What was charged is what the records say, each once (semantics 5.1)."""
        charged: Counter[str] = Counter()
        for charge in self.charges:
            assert (charge.ms > 0) != (charge.credited_ms > 0)
            charged[charge.source] += charge.ms
        modelled: Counter[str] = Counter()
        for record in self.saved.values():
            if isinstance(record, Job):
                workload = self.saved.get(record.workload_id or "")
                if isinstance(workload, Workload) and workload.mode is Mode.SESSION:
                    assert charged[record.id] == beyond_real_ms(record)
                    modelled[workload.id] += charged[record.id]
                else:
                    assert charged[record.id] == (0 if record.ended_at is None else record.usage_ms)
        for record in self.saved.values():
            if isinstance(record, Workload):
                is_session = record.mode is Mode.SESSION
                assert charged[record.id] == (record.active_ms if is_session else 0)
                assert record.modelled_ms == modelled[record.id]
                assert workload_usage_ms(record, self.now) >= record.jobs_ms

    def check_ledger(self) -> None:
        """What counts is what was charged in the window, and at most an hour more."""
        ledger = self.scheduler.ledger
        for instance in self.instances.values():
            own = [c for c in self.charges if c.instance == instance.id and c.at >= instance.since]
            began = -1 if instance.window_ms is None else self.now - instance.window_ms
            least = sum(c.ms for c in own if c.at > began)
            most = sum(c.ms for c in own if c.at > began - HOUR_MS)
            active_ms = 0 if self.now < instance.since else self.active_ms(instance.id)
            assert least <= ledger.used_ms(instance.id) <= most
            assert ledger.so_far_ms(instance.id) == ledger.used_ms(instance.id) + active_ms
            if ledger.is_limited(instance.id) and instance.on_limit is OnLimit.STOP:
                mine = [j for j in self.scheduler.jobs.values() if j.instance == instance.id]
                assert not [job for job in mine if job.status is JobStatus.RUNNING]
                active = map(self.workload, self.active_workloads())
                assert not [workload for workload in active if workload.instance == instance.id]

    def active_ms(self, instance: str) -> int:
        """How long the sessions of an instance that are active have been so."""
        return sum(
            self.now - workload.transitions[-1][1]
            for workload in map(self.workload, self.active_workloads())
            if workload.instance == instance and workload.mode is Mode.SESSION
        )

    def replay(self) -> None:
        """Same events, same times: the same records, though nothing is ever rebuilt."""
        twin = Scheduler(BACKENDS, instances=INSTANCES)
        told: dict[str, Record] = {}
        charges: list[Charge] = []
        for event, now in self.log:
            step = twin.handle(event, now)
            told.update(step.changed)
            charges += step.charges
        assert told == self.saved
        assert charges == self.charges

    def rebuilt(self) -> Scheduler:
        """What a new process would make of the store."""
        return Scheduler(
            BACKENDS,
            saved.unfinished(self.saved),
            saved.last_seq(self.saved),
            instances=self.instances.values(),
            charges=self.charges,
        )

    # -- what may happen

    def open(self, mode: Mode, backend: str, payer: str, ttls: tuple[int, int, int, int]) -> str:
        workload_id = self.name(mode[0])
        max_ttl_ms, active_ttl_ms, interactive_ttl_ms, unused_ttl_ms = ttls
        self.feed(
            WorkloadOpened(
                workload_id=workload_id,
                instance=payer,
                backend=backend,
                mode=mode,
                max_ttl_ms=max_ttl_ms,
                interactive_ttl_ms=interactive_ttl_ms,
                active_ttl_ms=active_ttl_ms,
                unused_ttl_ms=unused_ttl_ms,
                ends_idle=self.names % 3 == 0,
            )
        )
        return workload_id

    def submit(
        self,
        backend: str,
        payer: str,
        workload_id: str | None = None,
        *,
        limit_ms: int | None = None,
        check: bool = True,
    ) -> str:
        job_id = self.name("j")
        if workload_id is not None:
            workload = self.workload(workload_id)
            backend, payer = workload.backend, workload.instance
        self.feed(
            JobSubmitted(
                job_id=job_id,
                instance=payer,
                backend=backend,
                workload_id=workload_id,
                user=f"user{self.names % 3}",
                limit_ms=limit_ms,
            ),
            check=check,
        )
        return job_id

    def end_stage(self, task: RunStage, ms: int, *, check: bool = True) -> None:
        del self.tasks[task.job_id]
        self.feed(
            StageEnded(
                job_id=task.job_id,
                run=task.run,
                stage=task.stage,
                estimated_ms=ms if task.stage is Stage.PREPARE else None,
                usage_ms=ms if task.stage is Stage.QUANTUM else 0,
            ),
            check=check,
        )

    def fail_stage(self, task: RunStage, *, service_fault: bool, check: bool = True) -> None:
        del self.tasks[task.job_id]
        self.feed(
            StageFailed(
                job_id=task.job_id,
                run=task.run,
                stage=task.stage,
                reason=REASON,
                service_fault=service_fault,
            ),
            check=check,
        )
        job = self.job(task.job_id)
        credited = [c for c in self.charges if c.instance == job.instance and c.credited_ms]
        if service_fault and job.reason == REASON and not job.usage_ms:  # else its time was up
            rules = self.instances.get(job.instance)
            wasted_ms = sum(charge.credited_ms for charge in credited if charge.source == job.id)
            assert rules is None or wasted_ms <= rules.credit_ms
        elif service_fault and job.reason == REASON:
            assert credited or job.usage_ms > self.instances[job.instance].credit_ms

    def set_status(self, backend: str, status: BackendStatus, *, check: bool = True) -> None:
        self.feed(BackendStatusSet(backend=backend, status=status, reason="told"), check=check)

    def set_instance(self, instance: Instance, *, check: bool = True) -> None:
        self.instances[instance.id] = instance
        own = tuple(c for c in self.charges if c.instance == instance.id)
        self.feed(InstanceSet(instance=instance, charges=own), check=check)

    def end_calibration(self, backend: str, *, check: bool = True) -> None:
        ended = self.calibrating.pop(backend)
        self.feed(CalibrationEnded(backend=backend, run=ended.run), check=check)

    def restart(self, *, away_ms: int = 0, check: bool = True) -> None:
        """It is there until now, and back after a while; meanwhile no session's usage grows."""
        last_at, due = self.now, self.scheduler.next_deadline()
        nothing_is_due = due is None or due > last_at
        before = {
            record.id: workload_usage_ms(record, last_at)
            for record in self.scheduler.workloads.values()
            if record.mode is Mode.SESSION
        }
        self.now += away_ms
        self.scheduler = self.rebuilt()
        self.tasks.clear()
        self.calibrating.clear()
        self.feed(Restarted(last_at), check=check)
        for id_, usage_ms in before.items():
            more_ms = workload_usage_ms(self.workload(id_), self.now) - usage_ms
            assert more_ms == 0 if nothing_is_due else more_ms <= 0, "charged while away"

    def hear_late_news(self, job_id: str, runs_ago: int, stage: Stage, *, failed: bool) -> None:
        """News of a stage that the job is not in changes nothing."""
        self.feed(Tick())
        before = self.saved.get(job_id)
        if not isinstance(before, Job) or (runs_ago == 0 and before.stage is stage):
            return
        run = before.run - runs_ago
        if failed:
            event: Event = StageFailed(job_id=job_id, run=run, stage=stage, reason=REASON)
        else:
            event = StageEnded(job_id=job_id, run=run, stage=stage, usage_ms=7)
        assert self.feed(event) == NOTHING

    def hear_late_calibration(self, backend: str, runs_ago: int) -> None:
        """News of a calibration that is not going on changes nothing."""
        self.feed(Tick())
        state = self.scheduler.index.states[backend]
        if runs_ago or not state.calibrating:
            event = CalibrationEnded(backend=backend, run=state.run - runs_ago)
            assert self.feed(event) == NOTHING


def beyond_real_ms(job: Job) -> int:
    """QPU time of a job that has ended beyond the real time that it had a QPU of one slot."""
    if job.ended_at is None or job.quantum_started_at is None:
        return 0
    left_at = job.ended_at if job.quantum_ended_at is None else job.quantum_ended_at
    return max(0, job.usage_ms - (left_at - job.quantum_started_at))
