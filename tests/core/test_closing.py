"""What is refused, and how a workload ends by its user's wish (decisions 17 and 18)."""

import pytest

from queuebit.core.events import (
    JobSubmitted,
    Refusal,
    Rule,
    RunStage,
    Step,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
)
from queuebit.core.model import JobStatus, Stage, WorkloadState


def submit(**fields: str) -> JobSubmitted:
    return JobSubmitted(**({"job_id": "a", "instance": "i", "backend": "q"} | fields))


@pytest.mark.parametrize(
    ("event", "refusal"),
    [
        (
            submit(workload_id="none"),
            Refusal(Rule.WORKLOAD_CLOSED, "Session none is closed."),
        ),
        (
            submit(workload_id="B", instance="j"),
            Refusal(Rule.WRONG_INSTANCE, "Session B belongs to another instance."),
        ),
        (
            submit(workload_id="B", backend="r"),
            Refusal(
                Rule.WRONG_BACKEND,
                "The job's backend r is not q, the backend of session B.",
            ),
        ),
    ],
)
def test_a_refused_job_leaves_no_trace(lab, event, refusal):
    lab.open("B")
    batch = lab.workload("B")

    assert lab.send(event) == Step(refusal=refusal)
    assert (lab.scheduler.jobs, lab.scheduler.workloads) == ({}, {"B": batch})


def test_what_time_brought_is_told_with_a_refusal(lab):
    """The refused event came late: by then the batch had gone. That must be saved."""
    lab.open("B", unused_ttl_ms=100)
    step = lab.send(submit(workload_id="B"), at=150)

    assert step.refusal == Refusal(Rule.WORKLOAD_CLOSED, "Session B is closed.")
    assert step.changed["B"].closed_at == 100


def test_a_closed_batch_runs_what_it_has_and_accepts_nothing(lab):
    lab.open("B")
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")
    step = lab.send(WorkloadCloseRequested(workload_id="B"))

    assert step.commands == []
    assert (lab.workload("B").state, lab.workload("B").accepting_jobs) == ("active", False)
    assert lab.send(submit(workload_id="B")).refusal is not None
    assert lab.done("b1").commands == [RunStage("b6", 1, Stage.PREPARE)]


def test_a_closed_batch_is_over_with_its_last_job(lab):
    lab.open("B")
    lab.submit("b1", "b2", to="B")
    lab.send(WorkloadCloseRequested(workload_id="B"))
    lab.done("b1")
    lab.now = 70
    lab.done("b2")
    batch = lab.workload("B")

    assert (batch.state, batch.state_reason) == (WorkloadState.CLOSED, "session_closed_by_user")
    assert (batch.closed_at, batch.last_job_completed_at) == (70, 70)
    assert lab.scheduler.workloads == {}


def test_a_batch_without_jobs_is_over_at_once(lab):
    lab.open("B")
    lab.send(WorkloadCloseRequested(workload_id="B"), at=30)

    assert (lab.workload("B").state, lab.workload("B").closed_at) == (WorkloadState.CLOSED, 30)


@pytest.mark.parametrize("event", [WorkloadCloseRequested, WorkloadCancelRequested])
def test_a_second_close_changes_nothing(lab, event):
    """decisions 17."""
    lab.open("B")
    lab.send(WorkloadCloseRequested(workload_id="B"))

    assert lab.send(event(workload_id="B")) == Step()


def test_cancelling_a_batch_cancels_what_is_queued_and_lets_run_what_runs(lab):
    lab.open("B")
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", "b7", to="B")
    step = lab.send(WorkloadCancelRequested(workload_id="B"), at=30)

    assert step.commands == []
    assert lab.running() == ["b1", "b2", "b3", "b4", "b5"]
    assert [lab.job(j).status for j in ("b6", "b7")] == [JobStatus.CANCELLED] * 2
    assert lab.workload("B").state_reason == "session_cancelled_by_user"


def test_a_closed_batch_can_still_be_cancelled(lab):
    lab.open("B")
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")
    lab.send(WorkloadCloseRequested(workload_id="B"))
    lab.send(WorkloadCancelRequested(workload_id="B"))

    assert lab.job("b6").status is JobStatus.CANCELLED
    assert lab.workload("B").state_reason == "session_closed_by_user"
