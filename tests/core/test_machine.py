"""Any sequence of events keeps the scheduler's invariants, and the world outside stays sane.

The world outside is what the commands say: which stages run in workers. It is kept apart from the
scheduler's own books, so that a mistake has to be made twice to go unseen.
"""

import random
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, precondition, rule

from queuebit.core import invariants
from queuebit.core.events import (
    Event,
    JobCancelRequested,
    JobSubmitted,
    Restarted,
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
from queuebit.core.model import (
    FINAL,
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
from queuebit.core.scheduler import Scheduler
from queuebit.core.usage import workload_usage_ms

BACKENDS = (Backend(name="wide", lanes=5), Backend(name="narrow", lanes=2))
REASON = Reason(code=1000, message="broken")
STAGES_OF_WORKERS = (Stage.PREPARE, Stage.QUANTUM, Stage.FINISH)
NOTHING = Step()


class World:
    """A scheduler, the records that were saved, and the stages that run in workers."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(BACKENDS)
        self.now = 0
        self.saved: dict[str, Record] = {}
        self.tasks: dict[str, RunStage] = {}
        self.commanded: set[RunStage] = set()
        self.accepted: set[str] = set()
        self.ended: set[str] = set()
        self.log: list[tuple[Event, int]] = []
        self.usage_ms: Counter[str] = Counter()
        self.names = 0

    def name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def feed(self, event: Event, *, check: bool = True) -> Step:
        self.log.append((event, self.now))
        step = self.scheduler.handle(event, self.now)
        if isinstance(event, JobSubmitted) and step.refusal is None:
            self.accepted.add(event.job_id)
        for record in step.changed.values():
            self.save(record)
        for command in step.commands:
            self.carry_out(command)
        if check:
            self.check()
        return step

    def save(self, record: Record) -> None:
        old = self.saved.get(record.id)
        self.saved[record.id] = record
        if isinstance(record, Job):
            assert record.id in self.accepted, "nobody asked for it"
            assert record.id not in self.ended, "ended twice"
            if record.status in FINAL:
                self.ended.add(record.id)
        else:
            assert old is None or old.state is not WorkloadState.CLOSED, "closed for ever"

    def carry_out(self, command: RunStage | StopJob) -> None:
        if isinstance(command, StopJob):
            self.tasks.pop(command.job_id, None)
            return
        assert command not in self.commanded, "the same stage of the same run twice"
        assert command.job_id not in self.tasks, "two stages of a job at once"
        self.commanded.add(command)
        self.tasks[command.job_id] = command
        job = self.job(command.job_id)
        here = [
            task for task in self.tasks.values() if self.job(task.job_id).backend == job.backend
        ]
        backend = next(b for b in BACKENDS if b.name == job.backend)
        assert len(here) <= backend.lanes, "more jobs than lanes"
        assert sum(task.stage is Stage.QUANTUM for task in here) <= backend.qpu_slots, "two on QPU"

    def job(self, job_id: str) -> Job:
        job = self.saved[job_id]
        assert isinstance(job, Job)
        return job

    def rebuild(self) -> None:
        """Start from what the store would load; its order is not to matter."""
        over = {*FINAL, WorkloadState.CLOSED}
        unfinished = [
            record
            for record in reversed(self.saved.values())
            if (record.status if isinstance(record, Job) else record.state) not in over
        ]
        last_seq = max((record.seq for record in self.saved.values()), default=0)
        self.scheduler = Scheduler(BACKENDS, unfinished, last_seq)

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
        self.check_usage()

    def check_usage(self) -> None:
        charged: Counter[str] = Counter()
        for record in self.saved.values():
            if isinstance(record, Job):
                if record.status in FINAL and record.workload_id is not None:
                    charged[record.workload_id] += record.usage_ms
            else:
                usage_ms = workload_usage_ms(record, self.now)
                assert usage_ms >= self.usage_ms[record.id], "usage shrank"
                self.usage_ms[record.id] = usage_ms
        for record in self.saved.values():
            if isinstance(record, Workload):
                assert record.jobs_ms == charged[record.id]
                assert record.active_ms == windows_ms(record)
                assert record.state is not WorkloadState.OPEN or not self.usage_ms[record.id]

    def replay(self) -> None:
        """Same events, same times: the same records, though nothing is ever rebuilt."""
        twin = Scheduler(BACKENDS)
        saved: dict[str, Record] = {}
        for event, now in self.log:
            saved.update(twin.handle(event, now).changed)
        assert saved == self.saved

    # -- what may happen

    def open(self, mode: Mode, backend: str, ttls: tuple[int, int, int]) -> str:
        workload_id = self.name(mode[0])
        max_ttl_ms, interactive_ttl_ms, unused_ttl_ms = ttls
        self.feed(
            WorkloadOpened(
                workload_id=workload_id,
                instance="i",
                backend=backend,
                mode=mode,
                max_ttl_ms=max_ttl_ms,
                interactive_ttl_ms=interactive_ttl_ms,
                active_ttl_ms=max_ttl_ms,
                unused_ttl_ms=unused_ttl_ms,
            )
        )
        return workload_id

    def submit(self, backend: str, workload_id: str | None = None, *, check: bool = True) -> str:
        job_id = self.name("j")
        if workload_id is not None:
            backend = self.saved[workload_id].backend
        self.feed(
            JobSubmitted(job_id=job_id, instance="i", backend=backend, workload_id=workload_id),
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
        if service_fault:
            assert self.job(task.job_id).usage_ms == 0

    def restart(self, *, check: bool = True) -> None:
        self.rebuild()
        self.tasks.clear()
        self.feed(Restarted(), check=check)

    def hear_late_news(self, job_id: str, runs_ago: int, stage: Stage, *, failed: bool) -> None:
        """News of a stage that the job is not in; only time may change anything."""
        before = self.saved.get(job_id)
        if not isinstance(before, Job) or (runs_ago == 0 and before.stage is stage):
            return
        run = before.run - runs_ago
        if failed:
            self.feed(StageFailed(job_id=job_id, run=run, stage=stage, reason=REASON))
        else:
            self.feed(StageEnded(job_id=job_id, run=run, stage=stage, usage_ms=7))
        if before.status is not JobStatus.QUEUED:  # else its max TTL may have come
            assert self.job(job_id) == before


def windows_ms(workload: Workload) -> int:
    """Length of the active windows that have ended, from the transitions."""
    return sum(
        ended - began
        for (state, began), (_, ended) in zip(
            workload.transitions, workload.transitions[1:], strict=False
        )
        if state is WorkloadState.ACTIVE
    )


BACKEND_NAMES = st.sampled_from([backend.name for backend in BACKENDS])
TTLS = st.tuples(st.integers(1, 60), st.integers(1, 12), st.integers(1, 30))


class SchedulerMachine(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    workloads = Bundle("workloads")

    def __init__(self):
        super().__init__()
        self.world = World()

    def task(self, choice: int) -> RunStage:
        tasks = sorted(self.world.tasks.values(), key=lambda task: task.job_id)
        return tasks[choice % len(tasks)]

    @rule(target=workloads, mode=st.sampled_from(Mode), backend=BACKEND_NAMES, ttls=TTLS)
    def open(self, mode, backend, ttls):
        return self.world.open(mode, backend, ttls)

    @rule(target=jobs, backend=BACKEND_NAMES)
    def submit(self, backend):
        return self.world.submit(backend)

    @rule(target=jobs, workload=workloads)
    def submit_to_workload(self, workload):
        return self.world.submit("", workload)

    @rule(workload=workloads, jobs=st.integers(2, 7))
    def submit_many(self, workload, jobs):
        for _ in range(jobs):
            self.world.submit("", workload)

    @rule(job=jobs)
    def cancel(self, job):
        self.world.feed(JobCancelRequested(job_id=job))

    @rule(workload=workloads)
    def close(self, workload):
        self.world.feed(WorkloadCloseRequested(workload_id=workload))

    @rule(workload=workloads)
    def cancel_workload(self, workload):
        self.world.feed(WorkloadCancelRequested(workload_id=workload))

    @precondition(lambda self: self.world.tasks)
    @rule(choice=st.integers(0, 9), ms=st.integers(0, 5_000))
    def end_stage(self, choice, ms):
        self.world.end_stage(self.task(choice), ms)

    @rule()
    def end_all_stages(self):
        for task in list(self.world.tasks.values()):
            self.world.end_stage(task, 10)

    @precondition(lambda self: self.world.tasks)
    @rule(choice=st.integers(0, 9), service_fault=st.booleans())
    def fail_stage(self, choice, service_fault):
        self.world.fail_stage(self.task(choice), service_fault=service_fault)

    @rule(
        job=jobs,
        runs_ago=st.integers(0, 2),
        stage=st.sampled_from(STAGES_OF_WORKERS),
        failed=st.booleans(),
    )
    def hear_late_news(self, job, runs_ago, stage, failed):
        self.world.hear_late_news(job, runs_ago, stage, failed=failed)

    @rule(ms=st.integers(1, 20))
    def wait_without_tick(self, ms):
        self.world.now += ms

    @rule()
    def jump_to_deadline(self):
        due = self.world.scheduler.next_deadline()
        if due is not None:
            self.world.now = max(self.world.now, due)
            assert self.world.feed(Tick()).changed

    @rule()
    def jump_one_short_of_deadline(self):
        due = self.world.scheduler.next_deadline()
        if due is not None and due > self.world.now:
            self.world.now = due - 1
            assert self.world.feed(Tick()) == NOTHING

    @rule()
    def restart(self):
        self.world.restart()

    @rule()
    def rebuild(self):
        self.world.rebuild()
        self.world.feed(Tick())

    def teardown(self):
        self.world.replay()


SchedulerMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, report_multiple_bugs=False
)
TestSchedulerMachine = SchedulerMachine.TestCase


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_random_events(seed):
    """Longer lives than Hypothesis has time for; the seed tells all of it."""
    rng = random.Random(seed)
    world = World()
    workloads: list[str] = []
    jobs: list[str] = []
    for event in range(10_000):
        world.now += rng.choice((0, 0, 1, 5, 20))
        check = event % 100 == 0
        choice = rng.random()
        tasks = list(world.tasks.values())
        if choice < 0.5 and tasks:
            world.end_stage(rng.choice(tasks), rng.randrange(100), check=check)
        elif choice < 0.75:
            workload = rng.choice([None, *workloads[-6:]])
            jobs.append(world.submit(rng.choice(BACKENDS).name, workload, check=check))
        elif choice < 0.80:
            ttls = (rng.randrange(1, 2_000), rng.randrange(1, 100), rng.randrange(1, 300))
            workloads.append(world.open(rng.choice(list(Mode)), rng.choice(BACKENDS).name, ttls))
        elif choice < 0.84 and tasks:
            fault = rng.random() < 0.5
            world.fail_stage(rng.choice(tasks), service_fault=fault, check=check)
        elif choice < 0.92 and jobs:
            world.feed(JobCancelRequested(job_id=rng.choice(jobs[-30:])), check=check)
        elif choice < 0.94 and workloads:
            world.feed(WorkloadCloseRequested(workload_id=rng.choice(workloads)), check=check)
        elif choice < 0.96 and workloads:
            world.feed(WorkloadCancelRequested(workload_id=rng.choice(workloads)), check=check)
        elif choice < 0.965:
            world.restart(check=check)
        elif choice < 0.97 and jobs:
            stage = rng.choice(STAGES_OF_WORKERS)
            world.hear_late_news(rng.choice(jobs[-20:]), rng.randrange(3), stage, failed=True)
        elif choice < 0.98:
            world.rebuild()
        else:
            world.now = max(world.now, world.scheduler.next_deadline() or 0)
            world.feed(Tick(), check=check)
    world.check()
    world.replay()
    assert len(world.ended) > 1_000
