"""Any sequence of events keeps the scheduler's invariants, and the world outside stays sane."""

import random
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, precondition, rule
from tests.core.world import World
from tests.core.world_parts import BACKENDS, INSTANCES, PAYERS, STAGES_OF_WORKERS

from queuebit.core.events import (
    JobCancelRequested,
    RunStage,
    Tick,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
)
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import BackendStatus, Mode, OnLimit

BACKEND_NAMES = st.sampled_from([backend.name for backend in BACKENDS])
PAYER = st.sampled_from(PAYERS)
TTLS = st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12), st.integers(1, 30))
LIMITS = st.none() | st.integers(1, 3_000)


class SchedulerMachine(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    workloads = Bundle("workloads")

    def __init__(self):
        super().__init__()
        self.world = World()

    def task(self, choice: int) -> RunStage:
        tasks = sorted(self.world.tasks.values(), key=lambda task: task.job_id)
        return tasks[choice % len(tasks)]

    @rule(
        target=workloads, mode=st.sampled_from(Mode), backend=BACKEND_NAMES, payer=PAYER, ttls=TTLS
    )
    def open(self, mode, backend, payer, ttls):
        return self.world.open(mode, backend, payer, ttls)

    @rule(target=jobs, backend=BACKEND_NAMES, payer=PAYER, limit_ms=LIMITS)
    def submit(self, backend, payer, limit_ms):
        return self.world.submit(backend, payer, limit_ms=limit_ms)

    @rule(target=jobs, workload=workloads, limit_ms=LIMITS)
    def submit_to_workload(self, workload, limit_ms):
        return self.world.submit("", "", workload, limit_ms=limit_ms)

    @rule(workload=workloads, jobs=st.integers(2, 7))
    def submit_many(self, workload, jobs):
        for _ in range(jobs):
            self.world.submit("", "", workload)

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

    @rule(backend=BACKEND_NAMES, status=st.sampled_from(BackendStatus))
    def set_status(self, backend, status):
        self.world.set_status(backend, status)

    @rule(
        instance=st.sampled_from(INSTANCES),
        limit_ms=st.sampled_from((None, 0, 5_000, 50_000)),
        allocation_ms=st.sampled_from((None, 0, 500)),
        window_ms=st.sampled_from((None, HOUR_MS, 3 * HOUR_MS)),
        on_limit=st.sampled_from(OnLimit),
    )
    def set_instance(self, instance, **rules):
        self.world.set_instance(replace(instance, **rules))

    @precondition(lambda self: self.world.calibrating)
    @rule()
    def end_calibration(self):
        self.world.end_calibration(min(self.world.calibrating))

    @rule(backend=BACKEND_NAMES, runs_ago=st.integers(0, 2))
    def hear_late_calibration(self, backend, runs_ago):
        self.world.hear_late_calibration(backend, runs_ago)

    @rule(ms=st.sampled_from((1, 5, 20, HOUR_MS)))
    def wait_without_tick(self, ms):
        self.world.now += ms

    @rule()
    def jump_to_deadline(self):
        due = self.world.scheduler.next_deadline()
        ledger = self.world.scheduler.ledger
        of_limits = [(one or (None,))[0] for one in (ledger.next_relief(), ledger.next_reach())]
        if due is not None:
            self.world.now = max(self.world.now, due)
            assert self.world.feed(Tick()).changed or due in of_limits

    @rule()
    def jump_one_short_of_deadline(self):
        due = self.world.scheduler.next_deadline()
        if due is not None and due > self.world.now:
            self.world.now = due - 1
            step = self.world.feed(Tick())
            # As a window rolls, a session may come first in line behind lanes that are full.
            assert step.commands == []
            assert all(record.drain_seq is not None for record in step.changed.values())

    @rule()
    def restart(self):
        self.world.restart()

    @rule(ms=st.sampled_from((1, 7, 30, HOUR_MS)))
    def restart_after_a_while(self, ms):
        self.world.restart(away_ms=ms)

    @rule()
    def rebuild(self):
        self.world.scheduler = self.world.rebuilt()
        self.world.feed(Tick())

    def teardown(self):
        self.world.replay()


SchedulerMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, report_multiple_bugs=False
)
TestSchedulerMachine = SchedulerMachine.TestCase


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_random_events(seed):  # noqa: PLR0915 - one thing after the other
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
        backend, payer = rng.choice(BACKENDS).name, rng.choice(PAYERS)
        if world.calibrating and rng.random() < 0.3:
            world.end_calibration(min(world.calibrating), check=check)
        elif choice < 0.5 and tasks:
            world.end_stage(rng.choice(tasks), rng.randrange(100), check=check)
        elif choice < 0.75:
            workload = rng.choice([None, *workloads[-6:]])
            limit_ms = rng.choice([None, None, 50])
            jobs.append(world.submit(backend, payer, workload, limit_ms=limit_ms, check=check))
        elif choice < 0.80:
            ttls = tuple(rng.randrange(1, most) for most in (2_000, 2_000, 100, 300))
            workloads.append(world.open(rng.choice(list(Mode)), backend, payer, ttls))
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
            world.restart(away_ms=rng.choice((0, 3, 80)), check=check)
        elif choice < 0.97 and jobs:
            stage = rng.choice(STAGES_OF_WORKERS)
            world.hear_late_news(rng.choice(jobs[-20:]), rng.randrange(3), stage, failed=True)
        elif choice < 0.975:
            world.scheduler = world.rebuilt()
        elif choice < 0.985:
            online = rng.random() < 0.7
            status = BackendStatus.ONLINE if online else BackendStatus.PAUSED
            world.set_status(backend, status, check=check)
        elif choice < 0.987:
            world.now += HOUR_MS
        elif choice < 0.988:
            limit_ms = rng.choice((None, 9_000, 90_000))
            known = replace(rng.choice(INSTANCES), limit_ms=limit_ms)
            world.set_instance(known, check=check)
        else:
            world.now = max(world.now, world.scheduler.next_deadline() or 0)
            world.feed(Tick(), check=check)
    world.check()
    world.replay()
    assert len(world.ended) > 1_000
