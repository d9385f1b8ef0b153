"""How long a job may have the QPU (semantics 3.5, decisions 9)."""

from queuebit.core.events import JobSubmitted, Step, StopJob
from queuebit.core.model import JobStatus, Reason

TOO_LONG = Reason(
    code=1305,
    message="Ran too long.",
    solution="Raise max_execution_time, or give the job less to do.",
)


def test_a_job_is_stopped_when_it_has_had_its_limit_of_qpu_time(lab):
    lab.submit("a", "b", limit_ms=10_000)
    lab.now = 50_000
    lab.prepared("b", estimated_ms=5_000)
    lab.now = 60_000
    lab.prepared("a", estimated_ms=20_000)

    assert lab.scheduler.next_deadline() is None  # waiting for the QPU does not count

    lab.now = 70_000
    lab.measured("b")

    assert lab.scheduler.next_deadline() == 80_000
    assert lab.tick(79_999) == Step()
    assert lab.tick(80_000).commands == [StopJob("a")]

    job = lab.job("a")
    assert (job.status, job.usage_ms, job.ended_at) == (JobStatus.CANCELLED, 10_000, 80_000)
    assert job.reason == TOO_LONG


def test_a_simulation_that_lasts_longer_than_the_qpu_would_have_is_not_stopped(lab):
    lab.submit("a", limit_ms=10_000)
    lab.prepared("a", estimated_ms=10_000)
    lab.tick(10_000_000)
    lab.measured("a", usage_ms=10_000)
    lab.finished("a")

    assert lab.job("a").status is JobStatus.COMPLETED


def test_a_job_that_turns_out_to_have_taken_more_is_cancelled(lab):
    lab.submit("a", limit_ms=10_000)
    lab.prepared("a", estimated_ms=9_000)
    lab.now = 1_000
    step = lab.measured("a", usage_ms=10_001)

    job = lab.job("a")
    assert step.commands == []  # its worker is done already
    assert (job.status, job.usage_ms, job.reason) == (JobStatus.CANCELLED, 10_000, TOO_LONG)


def test_the_estimate_at_submission_stands_until_there_is_a_better_one(lab):
    event = JobSubmitted(job_id="a", instance="i", backend="q", limit_ms=1, estimated_ms=20)
    lab.send(event)
    lab.prepared("a")

    assert lab.job("a").estimated_ms == 20
    assert lab.scheduler.next_deadline() == 1


def test_without_any_estimate_a_job_is_not_watched(lab):
    lab.submit("a", limit_ms=1)
    lab.prepared("a")

    assert lab.scheduler.next_deadline() is None


def test_after_a_restart_the_limit_counts_anew(lab):
    lab.submit("a", limit_ms=10_000)
    lab.prepared("a", estimated_ms=20_000)
    lab.now = 9_000
    lab.restart()

    assert lab.scheduler.next_deadline() is None
    lab.prepared("a", estimated_ms=20_000)
    assert lab.scheduler.next_deadline() == 19_000


def test_a_job_stopped_by_its_user_is_never_charged_more_than_its_limit(lab):
    """With its preparation it once came to two seconds more."""
    lab.submit("a", limit_ms=10_000)
    lab.prepared("a", estimated_ms=20_000)
    lab.now = 9_999
    lab.cancel("a")

    assert lab.job("a").usage_ms == 10_000
