"""What time alone brings about: the TTLs, and never used. All of it on the instant."""

import pytest

from queuebit.core.events import (
    JobCancelRequested,
    RunStage,
    Step,
    Tick,
    WorkloadCloseRequested,
)
from queuebit.core.model import JobStatus, Mode, Reason, Stage, WorkloadState

MINUTE_MS = 60_000


def test_without_workloads_no_time_is_due(lab):
    lab.submit("a")

    assert lab.scheduler.next_deadline() is None


# -- max TTL (semantics 3.1)


def test_the_max_ttl_counts_from_the_start_of_the_first_job(lab):
    lab.submit("v", "w", "x", "y", "z")
    lab.open("B", max_ttl_ms=25 * MINUTE_MS)
    lab.submit("b", to="B")

    assert lab.scheduler.next_deadline() is None

    lab.now = 10 * MINUTE_MS
    lab.done("z")

    assert lab.scheduler.next_deadline() == 35 * MINUTE_MS


def test_at_the_max_ttl_running_jobs_run_on_and_queued_jobs_fail(lab):
    """Guide, "Batch length"; decisions 1."""
    lab.open("B", max_ttl_ms=25 * MINUTE_MS)
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")

    assert lab.tick(25 * MINUTE_MS - 1) == Step()

    step = lab.tick(25 * MINUTE_MS)

    assert step.commands == []
    assert lab.job("b6").status is JobStatus.FAILED
    assert lab.job("b6").reason == Reason(
        code=4001,
        message="The maximum time to live of the batch B was reached while the job was queued.",
        solution="Open a new one with a larger max_time, or submit fewer jobs to it.",
    )
    assert lab.job("b6").usage_ms == 0
    assert lab.running() == ["b1", "b2", "b3", "b4", "b5"]
    assert (lab.workload("B").state, lab.workload("B").accepting_jobs) == ("active", False)


def test_a_workload_past_its_max_ttl_is_closed_when_its_last_job_ends(lab):
    lab.open("B", max_ttl_ms=1_000)
    lab.submit("b", to="B")
    lab.tick(1_000)
    lab.now = 3_000
    lab.done("b")

    assert (lab.workload("B").state, lab.workload("B").closed_at) == (WorkloadState.CLOSED, 3_000)
    assert lab.workload("B").state_reason == "max_ttl_reached"


def test_the_max_ttl_goes_on_while_a_workload_is_inactive(lab):
    lab.open("S", Mode.SESSION, max_ttl_ms=5 * MINUTE_MS)
    lab.submit("s", to="S")
    lab.done("s")
    lab.tick(MINUTE_MS)

    assert lab.workload("S").state is WorkloadState.INACTIVE
    assert lab.scheduler.next_deadline() == 5 * MINUTE_MS

    lab.tick(5 * MINUTE_MS)

    assert (lab.workload("S").state, lab.workload("S").closed_at) == ("closed", 5 * MINUTE_MS)


def test_the_max_ttl_ends_what_a_closed_workload_still_has_queued(lab):
    """semantics 4.1: it still applies to a draining workload."""
    lab.open("B", max_ttl_ms=1_000)
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")
    lab.send(WorkloadCloseRequested(workload_id="B"))
    lab.tick(1_000)

    assert lab.job("b6").status is JobStatus.FAILED


def test_the_max_ttl_means_nothing_to_a_closed_workload_without_queued_jobs(lab):
    lab.open("B", max_ttl_ms=1_000)
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")
    lab.send(WorkloadCloseRequested(workload_id="B"))
    lab.send(JobCancelRequested(job_id="b6"))

    assert lab.scheduler.next_deadline() is None


def test_the_message_of_a_session_names_a_session(lab):
    lab.open("S", Mode.SESSION, max_ttl_ms=1_000)
    lab.submit("s1", "s2", "s3", "s4", "s5", "s6", to="S")
    lab.tick(1_000)

    assert lab.job("s6").reason.message.startswith("The maximum time to live of the session S ")


# -- interactive TTL (semantics 3.2)


def test_the_interactive_ttl_counts_from_the_end_of_the_last_job(lab):
    lab.open("B")
    lab.submit("b1", "b2", to="B")
    lab.now = 1_000
    lab.done("b1")

    assert lab.scheduler.next_deadline() == 28_800_000  # b2 is still there: only the max TTL

    lab.now = 2_000
    lab.done("b2")

    assert lab.workload("B").idle_since == 2_000
    assert lab.scheduler.next_deadline() == 62_000


def test_a_workload_that_idles_too_long_is_inactive(lab):
    lab.open("B")
    lab.submit("b", to="B")
    lab.done("b")

    assert lab.tick(59_999) == Step()

    lab.tick(60_000)

    assert lab.workload("B").state is WorkloadState.INACTIVE
    assert lab.workload("B").state_reason == "interactive_ttl_reached"
    assert lab.workload("B").accepting_jobs


def test_a_job_in_time_keeps_the_workload_active(lab):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.done("b1")
    lab.now = 59_999
    lab.submit("b2", to="B")
    lab.tick(100_000)

    assert lab.workload("B").state is WorkloadState.ACTIVE
    assert lab.workload("B").activated_at == 0


def test_a_workload_never_goes_inactive_under_a_queued_job(lab):
    """A batch whose job waits for a lane is not idle, however long it waits."""
    lab.open("B")
    lab.submit("b1", to="B")
    lab.submit("v", "w", "x", "y")
    lab.submit("z")
    lab.done("b1")
    lab.submit("b2", to="B")
    lab.tick(500_000)

    assert lab.job("b2").status is JobStatus.QUEUED
    assert lab.workload("B").state is WorkloadState.ACTIVE


def test_an_inactive_batch_has_lost_its_priority_until_it_is_active_again(lab):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.done("b1")
    lab.tick(60_000)
    lab.submit("v", "w", "x", "y", "z", "older")
    lab.submit("b2", "b3", to="B")
    lab.submit("younger")

    assert lab.done("v").commands == [RunStage("older", 1, Stage.PREPARE)]
    assert lab.done("w").commands == [RunStage("b2", 1, Stage.PREPARE)]
    assert lab.done("x").commands == [RunStage("b3", 1, Stage.PREPARE)]
    assert lab.done("y").commands == [RunStage("younger", 1, Stage.PREPARE)]


def test_a_closed_workload_does_not_wait_for_the_interactive_ttl(lab):
    lab.open("B")
    lab.submit("b", to="B")
    lab.done("b")
    lab.send(WorkloadCloseRequested(workload_id="B"), at=10)

    assert (lab.workload("B").state, lab.workload("B").closed_at) == (WorkloadState.CLOSED, 10)


# -- never used (semantics 3.4, decisions 16)


@pytest.mark.parametrize("mode", Mode)
def test_a_workload_without_any_job_is_closed_after_half_an_hour(lab, mode):
    lab.open("W", mode)

    assert lab.tick(1_799_999) == Step()

    lab.tick(1_800_000)

    assert (lab.workload("W").state, lab.workload("W").closed_at) == ("closed", 1_800_000)
    assert lab.workload("W").state_reason == "session_never_used"


def test_a_queued_job_is_use_enough(lab):
    lab.submit("v", "w", "x", "y", "z")
    lab.open("B")
    lab.submit("b", to="B")

    assert lab.scheduler.next_deadline() is None


def test_without_its_only_job_a_workload_is_unused_again(lab):
    lab.submit("v", "w", "x", "y", "z")
    lab.open("B")
    lab.submit("b", to="B")
    lab.send(JobCancelRequested(job_id="b"), at=10_000)

    assert lab.scheduler.next_deadline() == 1_810_000


# -- active TTL (semantics 3.3, decisions 19)


def test_the_active_ttl_ends_a_workload_as_the_max_ttl_does(lab):
    lab.open("S", Mode.SESSION, active_ttl_ms=1_000)
    lab.submit("s1", "s2", "s3", "s4", "s5", "s6", to="S")

    assert lab.scheduler.next_deadline() == 1_000
    assert lab.tick(999) == Step()
    assert lab.tick(1_000).commands == []
    assert lab.job("s6").reason == Reason(
        code=4001,
        message="The active time to live of the session S was reached while the job was queued.",
        solution="Open a new one with a larger max_time, or submit fewer jobs to it.",
    )
    assert lab.running() == ["s1", "s2", "s3", "s4", "s5"]
    assert lab.workload("S").state_reason == "active_ttl_reached"

    lab.now = 5_000
    lab.done("s1", "s2", "s3", "s4", "s5")

    assert lab.workload("S").state is WorkloadState.CLOSED


def test_the_active_ttl_stands_still_while_a_workload_is_inactive_and_does_not_renew(lab):
    lab.open("B", active_ttl_ms=100_000)
    lab.submit("b1", to="B")
    lab.done("b1")
    lab.tick(60_000)
    lab.now = 500_000
    lab.submit("b2", to="B")

    assert lab.scheduler.next_deadline() == 540_000
    lab.tick(540_000)
    assert lab.workload("B").accepting_jobs is False


def test_an_idle_workload_whose_active_ttl_ends_first_is_closed(lab):
    lab.open("S", Mode.SESSION, active_ttl_ms=10_000)
    lab.submit("s", to="S")
    lab.done("s")
    lab.tick(10_000)

    assert (lab.workload("S").state, lab.workload("S").active_ms) == ("closed", 10_000)


def test_of_two_ttls_at_one_instant_the_max_ttl_is_the_reason(lab):
    lab.open("B", max_ttl_ms=1_000, active_ttl_ms=1_000)
    lab.submit("b", to="B")
    lab.tick(1_000)

    assert lab.workload("B").state_reason == "max_ttl_reached"


def test_the_active_ttl_binds_a_closed_workload_with_queued_jobs_only(lab):
    lab.open("B", active_ttl_ms=1_000)
    lab.submit("b1", "b2", "b3", "b4", "b5", "b6", to="B")
    lab.send(WorkloadCloseRequested(workload_id="B"))

    assert lab.scheduler.next_deadline() == 1_000
    lab.cancel("b6")
    assert lab.scheduler.next_deadline() is None


# -- when time is late


def test_what_fell_due_meanwhile_happens_at_its_own_instant(lab):
    """The scheduler may be asked late, by a busy driver or after a restart."""
    lab.open("S", Mode.SESSION, max_ttl_ms=300_000)
    lab.submit("s", to="S")
    lab.done("s")
    lab.tick(900_000)

    assert lab.workload("S").transitions == (
        (WorkloadState.OPEN, 0),
        (WorkloadState.ACTIVE, 0),
        (WorkloadState.INACTIVE, 60_000),
        (WorkloadState.CLOSED, 300_000),
    )
    assert lab.workload("S").active_ms == 60_000


def test_time_goes_before_the_event_that_comes_with_it(lab):
    """A job that arrives on the very instant at which the batch goes inactive has to queue."""
    lab.open("B")
    lab.submit("b1", to="B")
    lab.done("b1")
    lab.submit("v", "w", "x", "y", "z", "older")
    lab.now = 60_000
    lab.submit("b2", to="B")

    assert lab.workload("B").state is WorkloadState.INACTIVE
    assert lab.done("v").commands == [RunStage("older", 1, Stage.PREPARE)]


def test_the_earliest_deadline_of_all_workloads_is_the_next(lab):
    lab.open("B", unused_ttl_ms=500)
    lab.open("C", unused_ttl_ms=300)
    lab.open("D", unused_ttl_ms=400)

    assert lab.scheduler.next_deadline() == 300
    lab.tick(300)
    assert lab.scheduler.next_deadline() == 400
    lab.send(WorkloadCloseRequested(workload_id="D"))
    assert lab.scheduler.next_deadline() == 500


def test_deadlines_that_come_and_go_do_not_pile_up(lab):
    """A session of many short jobs once left an entry behind for each of them, for hours."""
    lab.open("S", Mode.SESSION)
    for number in range(50):
        lab.now += 1_000
        lab.submit(f"s{number}", to="S")
        lab.done(f"s{number}")
        lab.send(Tick())

    due_later = [at for at, _ in lab.scheduler._changes.deadlines._heap if at > lab.now + MINUTE_MS]
    assert due_later == [1_000 + 28_800_000]
