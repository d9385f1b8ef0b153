"""The service comes back: what is saved is enough to go on (decisions 23)."""

import pytest

from queuebit.core.events import JobCancelRequested, JobSubmitted, RunStage, StageEnded, Step
from queuebit.core.model import Backend, JobStatus, Mode, Stage, WorkloadState


def test_nothing_happens_to_nothing(lab):
    assert lab.restart() == Step()


def test_queued_jobs_stay_queued(lab):
    lab.submit("v", "w", "x", "y", "z", "a")
    before = lab.job("a")
    lab.restart()

    assert lab.job("a") == before


@pytest.mark.parametrize("stage", Stage)
def test_a_running_job_starts_again_from_the_beginning(lab, stage):
    lab.submit("other", "a")
    lab.prepared("other")
    if stage is not Stage.PREPARE:
        lab.prepared("a", estimated_ms=2_500)
    if stage in (Stage.QUANTUM, Stage.FINISH):
        lab.measured("other")
    if stage is Stage.FINISH:
        lab.measured("a", usage_ms=2_400)
    assert lab.job("a").stage is stage
    started = lab.job("a").started_at
    lab.now = 1_000
    step = lab.restart()
    job = lab.job("a")

    assert step.commands == [
        RunStage("other", 2, Stage.PREPARE),
        RunStage("a", 2, Stage.PREPARE),
    ]
    assert (job.status, job.stage, job.run) == (JobStatus.RUNNING, Stage.PREPARE, 2)
    assert (job.ready_at, job.quantum_started_at, job.quantum_ended_at) == (None, None, None)
    assert job.usage_ms == 0
    assert job.started_at == started


def test_a_job_that_ran_twice_is_charged_once(lab):
    lab.open("B")
    lab.submit("a", to="B")
    lab.prepared("a")
    lab.measured("a", usage_ms=2_400)
    lab.restart()
    lab.done("a", usage_ms=2_300)

    assert lab.job("a").usage_ms == 2_300
    assert lab.workload("B").jobs_ms == 2_300


def test_news_from_before_the_restart_is_ignored(lab):
    lab.submit("a")
    lab.restart()

    assert lab.send(StageEnded(job_id="a", run=1, stage=Stage.PREPARE)) == Step()


def test_what_fell_due_while_the_service_was_down_happens_first(lab):
    """A session that idled is not charged for the hours in which nobody could close it."""
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("x")
    lab.done("s")
    lab.now = 3_600_000
    step = lab.restart()

    assert step.commands == [RunStage("x", 1, Stage.PREPARE)]
    assert lab.workload("S").state is WorkloadState.INACTIVE
    assert lab.workload("S").active_ms == 60_000


def idle_session(lab, **ttls_ms: int) -> None:
    """A session that is active from 0 on and has no job."""
    lab.open("S", Mode.SESSION, **ttls_ms)
    lab.submit("s", to="S")
    lab.done("s")


def test_an_idle_session_is_not_charged_for_the_time_away_and_its_timer_goes_on(lab):
    idle_session(lab)
    lab.now = 40_000
    lab.restart(last_at=10_000)
    lab.tick(59_999)
    assert lab.workload("S").state is WorkloadState.ACTIVE

    lab.tick(60_000)

    assert lab.workload("S").state is WorkloadState.INACTIVE
    assert lab.workload("S").active_ms == 10_000 + 20_000


def test_a_session_that_ended_before_the_service_went_is_charged_until_its_own_end(lab):
    """Its end was due, but was not saved any more."""
    idle_session(lab)
    lab.now = 200_000
    lab.restart(last_at=100_000)

    assert lab.workload("S").transitions[-1] == (WorkloadState.INACTIVE, 60_000)
    assert lab.workload("S").active_ms == 60_000


def test_the_active_ttl_stands_still_while_the_service_is_away(lab):
    idle_session(lab, active_ttl_ms=50_000, interactive_ttl_ms=900_000)
    lab.now = 100_000
    lab.restart(last_at=10_000)
    assert lab.workload("S").state is WorkloadState.ACTIVE

    lab.tick(200_000)

    assert lab.workload("S").closed_at == 140_000
    assert lab.workload("S").active_ms == 50_000


def test_order_numbers_go_on_where_they_were(lab):
    """All jobs so far have ended, so no record that is loaded tells how far the numbers had got."""
    lab.submit("a", "b")
    lab.done("a", "b")
    lab.restart()
    lab.submit("c")

    assert lab.job("c").seq == 3


def test_a_session_that_is_next_in_line_still_is(lab):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("b2", to="B")
    lab.submit("x")
    lab.restart()

    assert lab.running() == ["b1"]
    assert lab.done("b1").commands == [RunStage("s", 1, Stage.PREPARE)]


def test_more_lanes_after_a_restart_are_used_at_once(lab):
    lab.submit("u", "v", "w", "x", "y", "z")
    step = lab.restart([Backend(name="q", lanes=6)])

    assert RunStage("z", 1, Stage.PREPARE) in step.commands


def test_jobs_of_a_backend_taken_out_of_the_configuration_wait_for_it(lab):
    """Nothing accepted is lost: neither what was queued nor what ran."""
    lab.submit("u", "v", "w", "x", "y", "z")
    away = lab.restart([Backend(name="other")])

    assert away.commands == []
    assert lab.send(JobCancelRequested(job_id="v")).refusal is None

    back = lab.restart([Backend(name="q")])

    assert back.commands == [
        *(RunStage(job_id, 3, Stage.PREPARE) for job_id in "uwxy"),
        RunStage("z", 1, Stage.PREPARE),
    ]


def test_a_workload_of_an_absent_backend_keeps_its_timers(lab):
    lab.open("B")
    lab.restart([])
    lab.tick(1_800_000)

    assert lab.workload("B").state is WorkloadState.CLOSED


def test_a_job_may_come_for_a_workload_that_is_older_than_the_restart(lab):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.restart()
    step = lab.send(JobSubmitted(job_id="b2", instance="i", backend="q", workload_id="B"))

    assert step.commands == [RunStage("b2", 1, Stage.PREPARE)]
