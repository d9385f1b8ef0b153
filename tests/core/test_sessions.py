"""How a session comes to have the backend for itself, and how it gives it back (decisions 12)."""

from queuebit.core.events import (
    JobCancelRequested,
    RunStage,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
)
from queuebit.core.model import Backend, JobStatus, Mode, Stage, WorkloadState


def prepare(*job_ids: str) -> list[RunStage]:
    return [RunStage(job_id, 1, Stage.PREPARE) for job_id in job_ids]


def test_a_session_has_all_lanes_for_itself(lab):
    lab.open("S", Mode.SESSION)
    lab.submit("s1", to="S")
    lab.submit("x")
    lab.submit("s2", "s3", to="S")

    assert lab.running() == ["s1", "s2", "s3"]


def test_jobs_of_a_session_start_oldest_first(lab):
    """decisions 14."""
    lab.open("S", Mode.SESSION)
    lab.submit("s9", "s8", "s7", "s6", "s5", "s4", "s3", to="S")

    assert lab.done("s6").commands == prepare("s4")
    assert lab.done("s9").commands == prepare("s3")


def test_a_session_waits_until_all_others_have_left(lab):
    lab.submit("x", "y")
    lab.open("S", Mode.SESSION)
    lab.submit("s1", "s2", to="S")

    assert lab.running() == ["x", "y"]
    assert lab.done("x").commands == []
    assert lab.done("y").commands == prepare("s1", "s2")


def test_nothing_new_starts_while_a_session_is_next_in_line(lab):
    lab.submit("x")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")

    assert lab.submit("y").commands == []
    assert lab.done("x").commands == prepare("s")


def test_a_session_behind_others_stops_nobody(lab):
    lab.submit("v", "w", "x", "y", "z", "older")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")

    assert lab.done("v").commands == prepare("older")
    assert lab.done("w").commands == []


def test_what_active_batches_had_queued_before_still_starts(lab):
    lab.open("B")
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("b7", to="B")

    assert lab.done("b1").commands == prepare("b6")
    assert lab.done("b2").commands == []
    lab.done("b3", "b4", "b5")
    assert lab.done("b6").commands == prepare("s")


def test_what_a_batch_had_to_hold_back_goes_first_after_the_session(lab):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("x")
    lab.submit("b2", to="B")
    lab.done("b1")
    lab.send(WorkloadCloseRequested(workload_id="S"))

    assert lab.done("s").commands == prepare("b2", "x")


def test_a_cancelled_session_is_no_longer_next_in_line(lab):
    """What active batches had to hold back goes first again, then the normal queue."""
    lab.open("B")
    lab.submit("b1", to="B")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("x")
    lab.submit("b2", to="B")
    step = lab.send(WorkloadCancelRequested(workload_id="S"))

    assert step.commands == prepare("b2", "x")
    assert lab.workload("S").state is WorkloadState.CLOSED


def test_what_was_held_back_and_cancelled_stays_cancelled(lab):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("b2", "b3", to="B")
    lab.send(JobCancelRequested(job_id="b2"))

    assert lab.send(JobCancelRequested(job_id="s")).commands == prepare("b3")


def test_a_session_whose_only_job_is_cancelled_is_no_longer_next_in_line(lab):
    lab.submit("x")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("y")

    assert lab.send(JobCancelRequested(job_id="s")).commands == prepare("y")
    assert lab.workload("S").drain_seq is None


def test_a_session_whose_first_job_is_cancelled_stands_where_its_next_one_does(lab):
    """It once stayed next in line, ahead of a job that had come before all that it still had."""
    lab.submit("x")
    lab.open("S", Mode.SESSION)
    lab.submit("s1", to="S")
    lab.submit("y")
    lab.submit("s2", to="S")
    lab.submit("z")

    assert lab.send(JobCancelRequested(job_id="s1")).commands == prepare("y")
    lab.done("x")
    assert lab.done("y").commands == prepare("s2")


def test_a_second_session_waits_for_the_end_of_the_first(lab):
    lab.open("S", Mode.SESSION)
    lab.open("T", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("t", to="T")
    lab.send(WorkloadCloseRequested(workload_id="S"))

    assert lab.running() == ["s"]
    assert lab.done("s").commands == prepare("t")


def test_two_sessions_on_two_backends_do_not_meet(lab):
    lab.restart([Backend(name="q"), Backend(name="r")])
    lab.open("S", Mode.SESSION)
    lab.open("T", Mode.SESSION, backend="r")
    lab.submit("s", to="S")

    assert lab.submit("t", to="T", backend="r").commands == prepare("t")
    assert lab.submit("x", backend="r").commands == []


def test_a_session_keeps_the_backend_while_it_idles(lab):
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("x")

    assert lab.done("s").commands == []
    assert lab.tick(59_999).commands == []
    assert lab.tick(60_000).commands == prepare("x")


def test_an_inactive_session_comes_back_through_the_normal_queue(lab):
    lab.open("S", Mode.SESSION)
    lab.submit("s1", to="S")
    lab.submit("u", "v", "w", "x", "y", "z")
    lab.done("s1")
    lab.tick(60_000)
    lab.submit("s2", to="S")

    assert lab.done("u").commands == prepare("z")
    for job_id in "vwxy":
        assert lab.done(job_id).commands == []
    assert lab.done("z").commands == prepare("s2")
    assert lab.workload("S").state is WorkloadState.ACTIVE


def test_a_queued_job_of_an_inactive_session_can_be_cancelled(lab):
    """It once began to idle by that, which only what is open or active can."""
    lab.open("S", Mode.SESSION)
    lab.submit("s1", to="S")
    lab.submit("x")
    lab.done("s1")
    lab.tick(60_000)
    lab.submit("s2", to="S")
    lab.send(JobCancelRequested(job_id="s2"))

    assert lab.job("s2").status is JobStatus.CANCELLED
    assert lab.workload("S").idle_since is None


def test_a_batch_at_the_head_goes_before_a_session(lab):
    lab.submit("v", "w", "x", "y", "z")
    lab.open("S", Mode.SESSION)
    lab.open("B")
    lab.submit("b1", "b2", to="B")
    lab.submit("s", to="S")

    assert lab.done("v").commands == prepare("b1")
    assert lab.done("w").commands == prepare("b2")
    assert lab.done("x").commands == []


def test_a_session_at_the_head_goes_before_a_batch(lab):
    """The batch was not active when the session became next in line, so it gains nothing."""
    lab.submit("z")
    lab.open("B")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("b", to="B")

    assert lab.done("z").commands == prepare("s")
    lab.send(WorkloadCloseRequested(workload_id="S"))
    assert lab.done("s").commands == prepare("b")
