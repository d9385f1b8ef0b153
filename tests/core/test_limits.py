"""What an instance may use, and what happens beyond (semantics 5.5, 6.2; decisions 3, 5)."""

from dataclasses import replace

import pytest

from queuebit.core.events import (
    JobSubmitted,
    Refusal,
    Rule,
    RunStage,
    Step,
    StopJob,
)
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import (
    Backend,
    Instance,
    JobStatus,
    Mode,
    OnLimit,
    Reason,
    Stage,
    WorkloadState,
)

DAY_MS = 24 * HOUR_MS
WAITS = Instance(id="w", limit_ms=100, window_ms=DAY_MS)
STOPS = Instance(id="s", limit_ms=100, on_limit=OnLimit.STOP)
STOPPED = Reason(
    code=1305,
    message="Ran too long: the usage limit of the instance was reached.",
    solution="Raise the limit of the instance.",
)


def use(lab, instance: str, usage_ms: int, *, backend: str = "q") -> Step:
    """Have the instance run a job that is charged so much."""
    job_id = f"used{len(lab.saved)}"
    lab.submit(job_id, by=instance, backend=backend)
    return lab.done(job_id, usage_ms=usage_ms)


# -- the limit of a rolling window: new jobs wait (decisions 5)


def test_below_its_limit_an_instance_runs(lab):
    lab.configure(WAITS)
    use(lab, "w", 99)
    lab.submit("a", by="w")

    assert lab.running() == ["a"]


def test_at_its_limit_what_an_instance_submits_waits(lab):
    lab.configure(WAITS)
    use(lab, "w", 100)
    step = lab.submit("a", by="w")

    assert (step.refusal, step.commands) == (None, [])
    assert lab.job("a").status is JobStatus.QUEUED


def test_what_was_queued_before_waits_too(lab):
    lab.configure(WAITS, lanes=1)
    lab.submit("a", "b", by="w")
    lab.submit("other", by="x")

    assert lab.done("a", usage_ms=100).commands[-1] == RunStage("other", 1, Stage.PREPARE)
    assert lab.job("b").status is JobStatus.QUEUED


def test_what_runs_at_the_limit_runs_on(lab):
    lab.configure(WAITS)
    lab.submit("a", "b", by="w")
    lab.done("a", usage_ms=100)

    assert lab.running() == ["b"]
    lab.done("b", usage_ms=50)
    assert lab.job("b").status is JobStatus.COMPLETED
    assert lab.scheduler.ledger.used_ms("w") == 150


@pytest.mark.parametrize("mode", Mode)
def test_an_active_workload_goes_on(lab, mode):
    """IBM, allocation-limits: active workloads go on, pending ones stay queued."""
    lab.configure(WAITS)
    lab.open("W", mode, by="w", interactive_ttl_ms=HOUR_MS)
    lab.submit("a", to="W", by="w")
    use(lab, "w", 100) if mode is Mode.BATCH else lab.tick(200)
    lab.submit("b", to="W", by="w")

    assert lab.running() == ["a", "b"]


def test_a_session_that_goes_inactive_at_the_limit_does_not_come_back_before_relief(lab):
    lab.configure(WAITS)
    lab.open("S", Mode.SESSION, by="w")
    lab.submit("a", to="S", by="w")
    lab.done("a")
    lab.tick(60_000)
    lab.submit("b", to="S", by="w")

    assert lab.workload("S").state is WorkloadState.INACTIVE
    assert lab.running() == []


def test_the_next_deadline_tells_when_the_window_rolls(lab):
    lab.configure(WAITS)
    lab.now = HOUR_MS // 2
    use(lab, "w", 100)
    lab.submit("a", by="w")

    assert lab.scheduler.next_deadline() == 25 * HOUR_MS
    assert lab.tick(25 * HOUR_MS - 1) == Step()
    assert lab.tick(25 * HOUR_MS).commands == [RunStage("a", 1, Stage.PREPARE)]
    assert lab.scheduler.next_deadline() is None


def test_relief_takes_as_many_hours_as_it_needs(lab):
    """Of three hours the second brings relief; the first must not be waited for over and over."""
    lab.configure(WAITS)
    for hour, usage_ms in enumerate((10, 60, 90)):
        lab.now = hour * HOUR_MS
        lab.submit(f"u{hour}", by="x")
        use(lab, "w", usage_ms) if hour < 2 else None
    lab.submit("late", by="w")
    lab.done("late", usage_ms=90)
    lab.submit("a", by="w")

    assert lab.scheduler.ledger.used_ms("w") == 160
    assert lab.tick(25 * HOUR_MS).commands == []
    assert lab.scheduler.next_deadline() == 26 * HOUR_MS
    assert lab.tick(26 * HOUR_MS).commands == [RunStage("a", 1, Stage.PREPARE)]


def test_a_session_next_in_line_steps_back_when_another_backend_brings_its_limit(lab):
    """It once stayed next in line, and lanes idled until something else happened on the backend."""
    lab.backends = (Backend(name="q", lanes=2), Backend(name="r", lanes=1))
    lab.instances = (WAITS,)
    lab.restart()
    lab.submit("other")
    lab.open("S", Mode.SESSION, by="w")
    lab.submit("s", to="S", by="w")
    lab.submit("next")

    step = use(lab, "w", 100, backend="r")

    assert step.commands == [RunStage("next", 1, Stage.PREPARE)]
    assert lab.workload("S").drain_seq is None


def test_a_charge_at_the_limit_leaves_other_instances_sessions_next_in_line(lab):
    lab.backends = (Backend(name="q", lanes=1), Backend(name="r", lanes=1))
    lab.instances = (WAITS,)
    lab.restart()
    lab.submit("other")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    use(lab, "w", 100, backend="r")

    assert lab.workload("S").drain_seq is not None


# -- a cost limit: everything stops (decisions 3)


def test_running_jobs_are_stopped_and_charged(lab):
    lab.configure(STOPS)
    lab.submit("a", "b", "c", by="s")
    lab.submit("other")
    lab.prepared("a")
    lab.measured("a", usage_ms=100)
    lab.prepared("b", estimated_ms=10_000)
    lab.now = 3_000
    step = lab.finished("a")

    assert step.commands == [StopJob("b"), StopJob("c")]
    for job_id, usage_ms in (("b", 5_000), ("c", 0)):
        job = lab.job(job_id)
        assert (job.status, job.reason, job.usage_ms) == (JobStatus.CANCELLED, STOPPED, usage_ms)
        assert job.ended_at == 3_000
    assert lab.running() == ["other"]
    assert lab.scheduler.ledger.used_ms("s") == 5_100


def test_queued_jobs_stay_queued_and_never_start(lab):
    lab.configure(STOPS, lanes=1)
    lab.submit("a", "b", by="s")
    lab.done("a", usage_ms=100)
    lab.tick(100 * DAY_MS)

    assert lab.job("b").status is JobStatus.QUEUED
    assert lab.scheduler.next_deadline() is None


def test_submitting_is_refused(lab):
    lab.configure(STOPS)
    use(lab, "s", 100)

    assert lab.submit("a", by="s") == Step(
        refusal=Refusal(Rule.USAGE_LIMIT, "Usage exceeds instance limit.")
    )


def test_a_closed_workload_is_told_before_a_limit(lab):
    lab.configure(STOPS)
    use(lab, "s", 100)

    assert lab.submit("a", to="unknown", by="s").refusal.rule is Rule.WORKLOAD_CLOSED


@pytest.mark.parametrize("mode", Mode)
def test_an_active_workload_ends(lab, mode):
    """Its queued jobs once went on to start, as the lanes of the stopped ones came free."""
    lab.backends = (Backend(name="q", lanes=1), Backend(name="r", lanes=1))
    lab.instances = (STOPS,)
    lab.restart()
    lab.open("W", mode, by="s")
    lab.submit("a", "b", to="W", by="s")
    step = use(lab, "s", 100, backend="r")

    assert step.commands == [StopJob("a")]
    # The client takes 1305 for a job that ran too long, and this one never ran.
    assert [(lab.job(id_).status, lab.job(id_).reason.code) for id_ in "ab"] == [
        (JobStatus.CANCELLED, 1305),
        (JobStatus.CANCELLED, 4317),
    ]
    assert lab.workload("W").state is WorkloadState.CLOSED
    assert lab.workload("W").state_reason == "instance_limit_reached"


@pytest.mark.parametrize("mode", Mode)
def test_a_workload_that_is_not_active_waits(lab, mode):
    lab.configure(STOPS, lanes=1)
    lab.submit("a", by="s")
    lab.open("W", mode, by="s")
    lab.submit("b", to="W", by="s")
    lab.done("a", usage_ms=100)

    assert lab.workload("W").state is WorkloadState.OPEN
    assert lab.workload("W").accepting_jobs
    assert lab.job("b").status is JobStatus.QUEUED


def test_other_instances_notice_nothing(lab):
    lab.configure(STOPS, replace(STOPS, id="t"))
    lab.open("T", by="t")
    lab.submit("t1", to="T", by="t")
    use(lab, "s", 100)

    assert lab.running() == ["t1"]
    assert lab.workload("T").accepting_jobs


def test_a_limit_that_a_late_look_finds_relieved_stops_nothing(lab):
    """Nobody looked when a job had had its limit, and by now its usage has left the window."""
    lab.configure(replace(STOPS, window_ms=DAY_MS))
    lab.submit("a", by="s", limit_ms=100)
    lab.prepared("a", estimated_ms=1_000)
    lab.submit("b", by="s")
    lab.tick(3 * DAY_MS)

    assert lab.job("a").ended_at == 100
    assert lab.running() == ["b"]


def test_a_limit_lowered_below_what_was_used_stops_at_the_next_start(lab):
    lab.configure(replace(STOPS, limit_ms=1_000))
    lab.submit("a", by="s")
    use(lab, "s", 500)
    lab.instances = (STOPS,)
    lab.restart()

    assert lab.job("a").reason == STOPPED
    assert lab.running() == []


def test_a_limit_raised_lets_go_on_what_waited(lab):
    lab.configure(STOPS, lanes=1)
    lab.submit("a", "b", by="s")
    lab.done("a", usage_ms=100)
    lab.instances = (replace(STOPS, limit_ms=1_000),)
    lab.restart()

    assert lab.running() == ["b"]


# -- pending jobs


def test_as_many_jobs_may_be_pending_as_the_plan_says(lab):
    lab.configure(Instance(id="p", pending_max=2), lanes=1)
    lab.submit("a", "b", by="p")

    assert lab.submit("c", by="p") == Step(
        refusal=Refusal(Rule.PENDING_LIMIT, "The instance has 2 pending jobs; its limit is 2.")
    )
    assert "c" not in lab.scheduler.jobs

    lab.done("a")

    assert lab.submit("c", by="p").refusal is None


def test_pending_jobs_are_counted_anew_after_a_restart(lab):
    lab.configure(Instance(id="p", pending_max=2), lanes=1)
    lab.submit("a", "b", by="p")
    lab.restart()

    assert lab.submit("c", by="p").refusal.rule is Rule.PENDING_LIMIT


def test_other_instances_jobs_do_not_count(lab):
    lab.configure(Instance(id="p", pending_max=1))
    lab.submit("a", "b", "c", by="x")

    assert lab.submit("d", by="p").refusal is None


def test_a_refused_job_does_not_end_its_workloads_idling(lab):
    lab.configure(Instance(id="p", pending_max=1))
    lab.open("B", by="p")
    lab.submit("a", by="p")
    event = JobSubmitted(job_id="b", instance="p", backend="q", workload_id="B")

    assert lab.send(event).refusal.rule is Rule.PENDING_LIMIT
    assert lab.workload("B").idle_since == 0
