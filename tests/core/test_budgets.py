"""Hard limits: what a job needs is reserved, and nobody uses more than they may."""

import random
from collections import Counter
from heapq import heappop, heappush

import pytest
from tests.core.conftest import Lab

from queuebit.core import invariants
from queuebit.core.events import (
    JobCancelRequested,
    JobSubmitted,
    Restarted,
    Rule,
    RunStage,
    StageEnded,
    StageFailed,
    StopJob,
)
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import (
    FINAL,
    Backend,
    Charge,
    Instance,
    Job,
    JobStatus,
    Reason,
    Record,
    Stage,
)
from queuebit.core.scheduler import Scheduler

DAY_MS = 24 * HOUR_MS
FAULT = Reason(code=9999, message="ours")
CLASS = Instance(id="class", is_hard=True, limit_ms=100_000, user_limit_ms=60_000)


def submit(lab: Lab, job_id: str, estimated_ms: int | None, *, user: str = "ada", **more: int):
    event = JobSubmitted(
        job_id=job_id,
        instance="class",
        backend="q",
        user=user,
        estimated_ms=estimated_ms,
        **more,
    )
    return lab.send(event).refusal


def test_what_runs_and_what_waits_is_reserved(lab):
    lab.configure(CLASS, lanes=1)
    assert submit(lab, "runs", 30_000) is None
    assert submit(lab, "waits", 25_000) is None

    refusal = submit(lab, "over", 6_000)

    assert refusal is not None
    assert refusal.rule is Rule.BUDGET
    assert refusal.message == (
        "The job needs 6 s of QPU time, and the user's limit of 60 s leaves 5 s: 0 s are used, "
        "55 s are reserved by jobs that have not ended."
    )
    assert submit(lab, "fits", 5_000) is None


def test_each_user_has_a_budget_and_all_share_the_instances(lab):
    lab.configure(CLASS)
    assert submit(lab, "a", 60_000) is None
    assert submit(lab, "b", 40_000, user="bob") is None

    refusal = submit(lab, "c", 2_000, user="bob")

    assert refusal is not None
    assert "the instance's limit of 100 s leaves 0 s" in refusal.message


def test_what_a_job_does_not_use_is_free_again(lab):
    lab.configure(CLASS)
    submit(lab, "a", 60_000)
    lab.done("a", usage_ms=20_000)

    assert submit(lab, "b", 40_001) is not None
    assert submit(lab, "c", 40_000) is None


@pytest.mark.parametrize("ends", ["cancelled", "fault", "failed before the QPU"])
def test_a_job_that_uses_nothing_gives_its_reservation_back(lab, ends):
    lab.configure(CLASS)
    submit(lab, "a", 60_000)
    if ends == "cancelled":
        lab.send(JobCancelRequested(job_id="a"))
    else:
        lab.failed("a", FAULT, service_fault=ends == "fault")

    assert submit(lab, "b", 60_000) is None


def test_a_job_may_use_what_is_left_and_no_more(lab):
    lab.configure(CLASS)
    submit(lab, "a", 10_000)
    submit(lab, "b", 20_000)
    lab.prepared("a", estimated_ms=10_000)
    lab.measured("a", usage_ms=40_000)  # the other 20 s are reserved

    assert lab.job("a").stage is Stage.FINISH
    assert submit(lab, "c", 2_000) is not None
    lab.finished("a")
    lab.prepared("b", estimated_ms=20_000)
    lab.measured("b", usage_ms=20_001)

    assert (lab.job("b").status, lab.job("b").usage_ms) == (JobStatus.CANCELLED, 20_000)
    assert lab.job("b").reason.code == 1305
    assert sum(charge.ms for charge in lab.charges) == 60_000


def test_a_job_that_turns_out_too_large_is_not_run_and_not_charged(lab):
    lab.configure(CLASS)
    submit(lab, "a", None)
    submit(lab, "b", 50_000)
    lab.prepared("a", estimated_ms=10_001)

    job = lab.job("a")
    assert (job.status, job.usage_ms, job.reason.code) == (JobStatus.FAILED, 0, 4317)
    assert "leaves 10 s: 0 s are used, 50 s are reserved" in job.reason.message
    assert submit(lab, "c", 10_000) is None


def test_what_a_job_turns_out_to_need_is_reserved(lab):
    lab.configure(CLASS)
    submit(lab, "a", 2_000)
    lab.prepared("a", estimated_ms=50_000)

    assert submit(lab, "b", 10_001) is not None
    assert submit(lab, "c", 10_000) is None


def test_a_jobs_own_limit_is_all_that_is_reserved_for_it(lab):
    lab.configure(CLASS)
    assert submit(lab, "a", 90_000, limit_ms=60_000) is None
    assert submit(lab, "b", 2_000) is not None


def test_reservations_and_usage_outlive_a_restart(lab):
    lab.configure(CLASS)
    submit(lab, "a", 30_000)
    lab.done("a", usage_ms=30_000)
    submit(lab, "b", 20_000)
    lab.restart(last_at=lab.now)

    assert submit(lab, "c", 10_001) is not None
    assert submit(lab, "d", 10_000) is None


def test_usage_leaves_a_users_window(lab):
    rolling = Instance(id="class", is_hard=True, user_limit_ms=60_000, window_ms=DAY_MS)
    old = Charge(instance="class", at=HOUR_MS // 2, ms=60_000, user="ada")
    lab.configure(rolling, charges=[old])
    lab.now = DAY_MS
    assert submit(lab, "a", 2_000) is not None
    lab.now = DAY_MS + HOUR_MS

    assert submit(lab, "b", 60_000) is None


def test_dry_runs_take_nothing_of_a_budget(lab):
    lab.instances, lab.backends = (CLASS,), (Backend(name="q", charges=False),)
    lab.restart()

    assert submit(lab, "a", 999_000) is None
    lab.done("a", usage_ms=999_000)
    assert lab.charges == []


# -- what our faults waste


def test_qpu_time_that_our_faults_waste_is_credited_as_long_as_the_allowance_lasts(lab):
    lab.configure(Instance(id="i", credit_ms=10_000, window_ms=DAY_MS))
    for job_id, usage_ms in (("a", 6_000), ("b", 6_000), ("c", 4_000)):
        lab.submit(job_id)
        lab.prepared(job_id)
        lab.measured(job_id, usage_ms=usage_ms)
        lab.failed(job_id, FAULT, service_fault=True)

    assert [lab.job(job_id).usage_ms for job_id in "abc"] == [0, 6_000, 0]
    assert [(one.ms, one.credited_ms) for one in lab.charges] == [
        (0, 6_000),
        (6_000, 0),
        (0, 4_000),
    ]
    lab.restart(last_at=lab.now)
    assert not lab.scheduler.ledger.may_credit("i", 1)

    lab.tick(DAY_MS + HOUR_MS)

    assert lab.scheduler.ledger.may_credit("i", 10_000)


def test_a_fault_before_the_qpu_costs_no_allowance(lab):
    lab.configure(Instance(id="i", credit_ms=0))
    lab.submit("a")
    lab.failed("a", FAULT, service_fault=True)

    assert (lab.job("a").usage_ms, lab.charges) == (0, [])


# -- a class of thirty


class Classroom:
    """Thirty students who submit at random; jobs take up to half more than was estimated."""

    def __init__(self, seed: int, *, days: int) -> None:
        self.rng = random.Random(seed)
        self.rules = Instance(
            id="class",
            is_hard=True,
            limit_ms=1_200_000,
            user_limit_ms=60_000,
            window_ms=7 * DAY_MS,
            credit_ms=30_000,
        )
        self.backends = [Backend(name="q"), Backend(name="r", lanes=2)]
        self.scheduler = Scheduler(self.backends, instances=[self.rules])
        self.saved: dict[str, Record] = {}
        self.charges: list[Charge] = []
        self.refused: Counter[Rule] = Counter()
        self.next: list[tuple[int, int, str | RunStage]] = []
        self.order = 0
        self.now = 0
        for student in range(30):
            for _ in range(4 * days):
                self.expect(self.rng.randrange(days * DAY_MS), f"student{student}")

    def expect(self, at: int, what: str | RunStage) -> None:
        self.order += 1
        heappush(self.next, (at, self.order, what))

    def run(self) -> None:
        while self.next:
            self.now, _, what = heappop(self.next)
            if isinstance(what, str):
                self.submit(what)
            else:
                self.end(what)
            if self.rng.random() < 0.002:
                self.restart()

    def submit(self, student: str) -> None:
        self.order += 1
        event = JobSubmitted(
            job_id=f"job{self.order}",
            instance="class",
            user=student,
            backend=self.rng.choice("qr"),
            estimated_ms=self.rng.choice((None, self.rng.randrange(2_000, 40_000))),
            limit_ms=self.rng.choice((None, 15_000)),
        )
        self.feed(event)
        if self.rng.random() < 0.1:
            self.feed(JobCancelRequested(job_id=f"job{self.order}"))

    def end(self, task: RunStage) -> None:
        job = self.scheduler.jobs.get(task.job_id)
        if job is None or (job.run, job.stage) != (task.run, task.stage):
            return
        expected_ms = job.estimated_ms or self.rng.randrange(2_000, 40_000)
        if self.rng.random() < 0.05:
            fault = self.rng.random() < 0.5
            self.feed(
                StageFailed(
                    job_id=job.id,
                    run=job.run,
                    stage=task.stage,
                    reason=FAULT,
                    service_fault=fault,
                )
            )
            return
        self.feed(
            StageEnded(
                job_id=job.id,
                run=job.run,
                stage=task.stage,
                estimated_ms=expected_ms if task.stage is Stage.PREPARE else None,
                usage_ms=round(expected_ms * self.rng.uniform(0.5, 1.5)),
            )
        )

    def restart(self) -> None:
        unfinished = [
            record
            for record in self.saved.values()
            if not isinstance(record, Job) or record.status not in FINAL
        ]
        self.scheduler = Scheduler(
            self.backends, unfinished, self.order, instances=[self.rules], charges=self.charges
        )
        self.feed(Restarted(self.now))

    def feed(self, event: object) -> None:
        step = self.scheduler.handle(event, self.now)
        self.saved |= step.changed
        self.charges += step.charges
        if isinstance(event, JobSubmitted) and step.refusal is not None:
            self.refused[step.refusal.rule] += 1
            assert "limit of" in step.refusal.message
        for command in step.commands:
            if not isinstance(command, StopJob):
                self.expect(self.now + self.rng.randrange(1, 60_000), command)
        if step.charges:
            self.check()

    def check(self) -> None:
        """Nobody has used more in any window than they may."""
        recent = [one for one in self.charges if one.at > self.now - self.rules.window_ms]
        used: Counter[str] = Counter()
        for charge in recent:
            used[charge.user] += charge.ms
        assert max(used.values(), default=0) <= self.rules.user_limit_ms
        assert used.total() <= self.rules.limit_ms
        assert sum(charge.credited_ms for charge in recent) <= self.rules.credit_ms


@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_in_a_class_uses_more_than_their_budget_in_a_month(seed):
    room = Classroom(seed, days=28)
    room.run()

    invariants.check(room.scheduler, room.now)
    jobs = [record for record in room.saved.values() if isinstance(record, Job)]
    used = Counter(dict.fromkeys({job.user for job in jobs}, 0))
    for job in jobs:
        assert job.status in FINAL
        used[job.user] += job.usage_ms
    assert room.refused.keys() == {Rule.BUDGET}
    assert room.refused.total() > 100
    assert sum(charge.credited_ms for charge in room.charges) > 0
    # It does let them use it: in four windows of a week, most of what they may.
    assert len([ms for ms in used.values() if ms > 120_000]) > 20
    assert not room.scheduler.ledger._reserved
