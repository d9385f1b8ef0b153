"""What the scheduler does, one behaviour at a time, from the simplest on. Read it as its manual.

`lab` has one backend "q" with five lanes. On to test_closing, test_sessions, test_timers and
test_restart; whole lives are in stories/.
"""

import pytest

from queuebit.core.events import (
    JobCancelRequested,
    Refusal,
    Rule,
    RunStage,
    StageEnded,
    StageFailed,
    Step,
    StopJob,
)
from queuebit.core.model import Job, JobStatus, Mode, Reason, Stage, Workload, WorkloadState

BROKEN = Reason(code=6000, message="too many shots")


# -- a job


def test_a_job_starts_at_once_when_a_lane_is_free(lab):
    lab.now = 1_000
    step = lab.submit("a")

    job = Job(
        id="a",
        seq=1,
        instance="i",
        backend="q",
        created_at=1_000,
        status=JobStatus.RUNNING,
        stage=Stage.PREPARE,
        run=1,
        started_at=1_000,
    )
    assert step == Step(changed={"a": job}, commands=[RunStage("a", 1, Stage.PREPARE)])


def test_a_prepared_job_takes_the_free_qpu(lab):
    lab.submit("a")
    lab.now = 20
    step = lab.prepared("a", estimated_ms=2_500)

    assert step.commands == [RunStage("a", 1, Stage.QUANTUM)]
    assert (lab.job("a").stage, lab.job("a").estimated_ms) == (Stage.QUANTUM, 2_500)
    assert (lab.job("a").ready_at, lab.job("a").quantum_started_at) == (20, 20)


def test_a_measured_job_gives_the_qpu_to_the_next_that_is_ready(lab):
    lab.submit("a", "b")
    lab.prepared("a")

    assert lab.prepared("b").commands == []
    assert lab.job("b").stage is Stage.READY

    lab.now = 30
    step = lab.measured("a", usage_ms=2_100)

    assert step.commands == [RunStage("a", 1, Stage.FINISH), RunStage("b", 1, Stage.QUANTUM)]
    assert (lab.job("a").quantum_ended_at, lab.job("a").usage_ms) == (30, 2_100)


def test_a_finished_job_is_completed_and_leaves_its_lane(lab):
    lab.submit("a", "b", "c", "d", "e", "f")
    lab.prepared("a")
    lab.measured("a", usage_ms=2_100)
    lab.now = 40
    step = lab.finished("a")

    assert step.commands == [RunStage("f", 1, Stage.PREPARE)]
    assert (lab.job("a").status, lab.job("a").stage) == (JobStatus.COMPLETED, None)
    assert (lab.job("a").ended_at, lab.job("a").usage_ms) == (40, 2_100)


def test_five_jobs_run_at_once_and_one_is_on_the_qpu(lab):
    lab.submit("a", "b", "c", "d", "e", "f", "g")
    for job_id in "abcde":
        lab.prepared(job_id)

    assert lab.running() == ["a", "b", "c", "d", "e"]
    assert [j.id for j in lab.scheduler.jobs.values() if j.stage is Stage.QUANTUM] == ["a"]


def test_queued_jobs_start_oldest_first(lab):
    lab.submit("z", "y", "x", "w", "v")
    lab.submit("b", "a")

    assert lab.done("v").commands == [RunStage("b", 1, Stage.PREPARE)]


def test_jobs_take_the_qpu_in_the_order_in_which_they_are_ready(lab):
    lab.submit("a", "b", "c")
    lab.prepared("a")
    lab.now = 1
    lab.prepared("c")
    lab.now = 2
    lab.prepared("b")

    assert lab.measured("a").commands[-1] == RunStage("c", 1, Stage.QUANTUM)


def test_a_stage_that_fails_fails_the_job(lab):
    lab.submit("a", "b", "c", "d", "e", "f")
    step = lab.failed("a", BROKEN)

    assert step.commands == [RunStage("f", 1, Stage.PREPARE)]
    assert (lab.job("a").status, lab.job("a").reason) == (JobStatus.FAILED, BROKEN)


@pytest.mark.parametrize(("service_fault", "usage_ms"), [(False, 2_010), (True, 0)])
def test_only_the_users_own_failure_on_the_qpu_is_charged(lab, service_fault, usage_ms):
    """decisions 4."""
    lab.submit("a")
    lab.prepared("a")
    lab.now = 10
    lab.failed("a", BROKEN, service_fault=service_fault)

    assert lab.job("a").usage_ms == usage_ms


# -- cancelling a job


def test_a_queued_job_is_cancelled_without_a_command(lab):
    lab.submit("a", "b", "c", "d", "e", "f")
    lab.now = 10
    step = lab.send(JobCancelRequested(job_id="f"))

    assert step.commands == []
    assert (lab.job("f").status, lab.job("f").ended_at) == (JobStatus.CANCELLED, 10)


def test_a_running_job_is_stopped_and_its_lane_and_qpu_are_free(lab):
    lab.submit("a", "b", "c", "d", "e", "f")
    lab.prepared("a")
    lab.prepared("b")
    step = lab.send(JobCancelRequested(job_id="a"))

    assert step.commands == [
        StopJob("a"),
        RunStage("f", 1, Stage.PREPARE),
        RunStage("b", 1, Stage.QUANTUM),
    ]
    assert lab.job("a").status is JobStatus.CANCELLED


def test_a_job_that_has_ended_cannot_be_cancelled(lab):
    lab.submit("a")
    lab.done("a")

    assert lab.send(JobCancelRequested(job_id="a")) == Step(
        refusal=Refusal(Rule.NOT_CANCELLABLE, "Job a is not queued or running.")
    )


@pytest.mark.parametrize("failed", [False, True])
def test_late_news_of_a_cancelled_job_changes_nothing(lab, failed):
    """A worker may finish in the very millisecond in which its job is cancelled."""
    lab.submit("a")
    lab.send(JobCancelRequested(job_id="a"))
    news = (
        StageFailed(job_id="a", run=1, stage=Stage.PREPARE, reason=BROKEN)
        if failed
        else StageEnded(job_id="a", run=1, stage=Stage.PREPARE)
    )

    assert lab.send(news) == Step()


def test_repeated_news_changes_nothing(lab):
    lab.submit("a")
    lab.prepared("a")

    assert lab.send(StageEnded(job_id="a", run=1, stage=Stage.PREPARE)) == Step()
    assert lab.send(StageFailed(job_id="a", run=1, stage=Stage.PREPARE, reason=BROKEN)) == Step()


def test_no_worker_can_end_the_stage_in_which_a_job_waits(lab):
    lab.submit("a", "b")
    lab.prepared("a")
    lab.prepared("b")

    with pytest.raises(AssertionError, match="no worker"):
        lab.send(StageEnded(job_id="b", run=1, stage=Stage.READY))


# -- a batch


def test_an_opened_batch_waits_for_its_first_job(lab):
    lab.now = 1_000
    step = lab.open("B", max_ttl_ms=1_500_000)

    batch = Workload(
        id="B",
        seq=1,
        instance="i",
        backend="q",
        mode=Mode.BATCH,
        created_at=1_000,
        max_ttl_ms=1_500_000,
        interactive_ttl_ms=60_000,
        active_ttl_ms=28_800_000,
        unused_ttl_ms=1_800_000,
        idle_since=1_000,
        transitions=((WorkloadState.OPEN, 1_000),),
    )
    assert step == Step(changed={"B": batch})


def test_a_batch_is_active_from_its_first_jobs_start(lab):
    lab.open("B")
    lab.now = 1_000
    lab.submit("a", to="B")
    batch = lab.workload("B")

    assert (batch.state, batch.state_reason) == (WorkloadState.ACTIVE, "session_active")
    assert (batch.started_at, batch.activated_at, batch.last_job_started_at) == (1_000,) * 3
    assert batch.idle_since is None


def test_the_first_job_of_a_batch_waits_in_the_normal_queue(lab):
    lab.submit("v", "w", "x", "y", "z", "older")
    lab.open("B")
    lab.submit("a", to="B")

    assert lab.done("z").commands == [RunStage("older", 1, Stage.PREPARE)]
    assert lab.done("y").commands == [RunStage("a", 1, Stage.PREPARE)]


def test_the_lanes_of_the_faq(lab):
    """FAQ, "When would my batch mode jobs run in parallel": five lanes, two of them taken."""
    lab.submit("p", "q")
    lab.open("B")
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")
    lab.submit("next")

    # Three lanes are available: the scheduler starts three of the six batch jobs.
    assert lab.running() == ["b1", "b2", "b3", "p", "q"]
    # It continues to start jobs of the batch as jobs finish.
    assert lab.done("p").commands == [RunStage("b4", 1, Stage.PREPARE)]
    assert lab.done("b2").commands == [RunStage("b5", 1, Stage.PREPARE)]
    assert lab.done("q").commands == [RunStage("b6", 1, Stage.PREPARE)]
    # There are no more jobs in the batch: the scheduler starts the next job in line.
    assert lab.done("b1").commands == [RunStage("next", 1, Stage.PREPARE)]


def test_jobs_of_an_active_batch_jump_the_queue_even_when_they_come_late(lab):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.submit("w", "x", "y", "z", "waiting")
    lab.submit("b2", to="B")

    assert lab.done("z").commands == [RunStage("b2", 1, Stage.PREPARE)]


def test_the_batch_that_was_activated_first_goes_first(lab):
    """decisions 13: not the batch that was opened first, nor the job that came first."""
    lab.submit("v", "w", "x", "y", "z")
    lab.open("A")
    lab.open("B")
    lab.submit("b1", to="B")
    lab.submit("a1", "a2", to="A")
    lab.submit("b2", to="B")
    lab.now = 10
    assert lab.done("z").commands == [RunStage("b1", 1, Stage.PREPARE)]
    lab.now = 20
    assert lab.done("y").commands == [RunStage("b2", 1, Stage.PREPARE)]
    lab.now = 30
    assert lab.done("x").commands == [RunStage("a1", 1, Stage.PREPARE)]
    lab.now = 40
    lab.submit("b3", to="B")

    assert lab.done("w").commands == [RunStage("b3", 1, Stage.PREPARE)]
    assert lab.done("v").commands == [RunStage("a2", 1, Stage.PREPARE)]


def test_on_the_qpu_a_batch_goes_before_the_rest(lab):
    lab.submit("x", "y")
    lab.open("B")
    lab.submit("b", to="B")
    lab.prepared("x")
    lab.prepared("y")
    lab.now = 50
    lab.prepared("b")

    assert lab.measured("x").commands[-1] == RunStage("b", 1, Stage.QUANTUM)


def test_a_batch_holds_no_lane_that_it_does_not_need(lab):
    lab.open("B")
    lab.submit("b", to="B")
    lab.submit("x")

    assert lab.running() == ["b", "x"]
