"""What a job costs, and what a workload's jobs and windows add up to."""

import random

import pytest

from queuebit.core.events import JobCancelRequested, WorkloadCloseRequested
from queuebit.core.model import Backend, Instance, Job, JobStatus, Mode, Reason, Stage
from queuebit.core.usage import (
    OVERHEAD_MS,
    charged_when_stopped,
    overhead_ms,
    qpu_ms,
    workload_usage_ms,
)

BROKEN = Reason(code=1000, message="broken")


def job(stage: Stage | None, **fields: object) -> Job:
    return Job(
        id="a",
        seq=1,
        instance="i",
        backend="q",
        created_at=0,
        status=JobStatus.RUNNING if stage else JobStatus.QUEUED,
        stage=stage,
        **fields,
    )


def test_two_jobs_of_40_circuits_cost_six_seconds_more_than_one_of_80():
    """FAQ, "How is running N PUBs in job mode different from ..."; circuits of 100x100."""
    one = overhead_ms(circuits=80, qubits=100, depth=100)
    two = 2 * overhead_ms(circuits=40, qubits=100, depth=100)

    assert two - one == pytest.approx(6_000, abs=2)


def test_a_tiny_job_costs_two_seconds():
    assert overhead_ms(circuits=1, qubits=1, depth=0) == 2_000


def test_a_job_costs_its_overhead_and_the_time_of_its_shots():
    """Quick estimate: 2 + 0.00035 x executions seconds (semantics 5.3)."""
    runs = [(0.000_35, 4_096)] * 3

    assert qpu_ms(overhead_ms=2_000, runs=runs) == 2_000 + 4_301  # 4.3008 s, rounded up


def test_a_job_without_circuits_costs_its_overhead():
    assert qpu_ms(overhead_ms=2_000, runs=[]) == 2_000


def test_the_order_of_circuits_does_not_change_the_cost():
    rng = random.Random(7)
    runs = [(rng.random() / 1_000, rng.randrange(1, 10_000)) for _ in range(1_000)]
    cost_ms = qpu_ms(overhead_ms=0, runs=runs)

    for _ in range(20):
        rng.shuffle(runs)
        assert qpu_ms(overhead_ms=0, runs=runs) == cost_ms


@pytest.mark.parametrize("stage", [None, Stage.PREPARE, Stage.READY])
def test_who_never_had_the_qpu_pays_nothing(stage):
    assert charged_when_stopped(job(stage), 9_000) == 0


def test_who_is_stopped_on_the_qpu_pays_its_preparation_and_the_time_so_far():
    stopped = job(Stage.QUANTUM, quantum_started_at=1_000)

    assert charged_when_stopped(stopped, 1_500) == OVERHEAD_MS + 500


def test_nobody_pays_more_for_being_stopped_than_for_being_done():
    stopped = job(Stage.QUANTUM, quantum_started_at=1_000, estimated_ms=2_100)

    assert charged_when_stopped(stopped, 9_000) == 2_100


def test_who_is_stopped_after_the_qpu_pays_what_was_measured():
    stopped = job(Stage.FINISH, quantum_started_at=1_000, quantum_ended_at=1_100, usage_ms=2_345)

    assert charged_when_stopped(stopped, 9_000) == 2_345


@pytest.mark.parametrize("how", ["measured", "cancelled", "failed", "took too long"])
def test_a_backend_that_charges_nothing_charges_nothing_however_a_job_ends(lab, how):
    lab.instances = [Instance(id="i", limit_ms=1)]
    lab.restart([Backend(name="q", charges=False)])
    lab.submit("a", limit_ms=2_000)
    lab.prepared("a", estimated_ms=2_100)
    lab.now = 1_000
    match how:
        case "measured":
            lab.measured("a", usage_ms=2_100)
            assert lab.job("a").usage_ms == 0
            lab.finished("a")
        case "cancelled":
            lab.cancel("a")
        case "failed":
            lab.failed("a", BROKEN)
        case _:
            lab.tick(2_000)

    assert lab.job("a").ended_at == lab.now
    assert lab.job("a").usage_ms == 0
    assert lab.scheduler.ledger.used_ms("i") == 0
    lab.submit("b")  # which the limit would refuse to start
    assert lab.running() == ["b"]


def test_a_batch_uses_the_sum_of_its_jobs(lab):
    """Only time on the QPU counts (FAQ): the hour that the batch took does not."""
    lab.open("B")
    lab.submit("a", "b", "c", "d", to="B")
    lab.now = 3_600_000
    lab.done("a", "b", usage_ms=2_500)
    lab.prepared("c")
    lab.measured("c", usage_ms=2_700)
    lab.failed("c", BROKEN)
    lab.prepared("d")
    lab.measured("d", usage_ms=9_999)
    lab.failed("d", BROKEN, service_fault=True)

    assert [lab.job(job_id).usage_ms for job_id in "abcd"] == [2_500, 2_500, 2_700, 0]
    assert workload_usage_ms(lab.workload("B"), lab.now) == 2_500 + 2_500 + 2_700


def test_a_session_uses_wall_clock_from_its_first_job_to_its_close(lab):
    """Waiting for it, compilation, gaps and what its jobs use make no difference (FAQ)."""
    lab.open("S", Mode.SESSION)
    lab.now = 5_000
    lab.submit("a", to="S")
    lab.prepared("a")
    lab.now = 9_000
    lab.measured("a", usage_ms=2_500)
    lab.finished("a")

    assert workload_usage_ms(lab.workload("S"), 10_000) == 5_000

    lab.send(WorkloadCloseRequested(workload_id="S"), at=20_000)

    assert workload_usage_ms(lab.workload("S"), 99_000) == 15_000


def test_jobs_that_share_a_qpu_cost_their_session_what_they_use_together(lab):
    lab.backends = (Backend(name="q", qpu_slots=2),)
    lab.restart()
    lab.open("S", Mode.SESSION)
    lab.submit("a", "b", to="S")
    lab.prepared("a")
    lab.prepared("b")
    lab.now = 10_000
    for job_id in "ab":
        lab.measured(job_id, usage_ms=10_000)
        lab.finished(job_id)

    session = lab.workload("S")
    assert (session.jobs_ms, session.modelled_ms) == (20_000, 10_000)
    assert workload_usage_ms(session, 10_000) == 20_000


def test_a_job_that_a_restart_cuts_off_sets_its_sessions_clock_forward_once(lab):
    lab.open("S", Mode.SESSION)
    lab.submit("a", to="S")
    lab.prepared("a")
    lab.measured("a", usage_ms=9_000)
    lab.restart(last_at=0)
    assert lab.workload("S").modelled_ms == 0

    lab.done("a", usage_ms=9_000)

    assert workload_usage_ms(lab.workload("S"), 0) == 9_000
    assert [(charge.source, charge.ms) for charge in lab.charges] == [("a", 9_000)]


@pytest.mark.parametrize("stage", ["cancel", "fail"])
def test_a_session_pays_at_least_what_a_job_that_is_stopped_is_charged(lab, stage):
    lab.open("S", Mode.SESSION)
    lab.submit("a", to="S")
    lab.prepared("a")
    lab.now = 500
    lab.cancel("a") if stage == "cancel" else lab.failed("a", BROKEN)

    assert lab.job("a").usage_ms == 2_500
    assert workload_usage_ms(lab.workload("S"), 500) == 2_500


def test_the_active_ttl_that_a_job_uses_up_ends_the_session_with_that_job(lab):
    lab.open("S", Mode.SESSION, active_ttl_ms=60_000)
    lab.submit("a", "b", to="S")
    lab.now = 1_000
    lab.done("a", usage_ms=70_000)
    lab.done("b")

    session = lab.workload("S")
    assert (session.state_reason, session.closed_at) == ("active_ttl_reached", 1_000)


def test_a_batch_keeps_to_the_wall_clock(lab):
    lab.open("B", Mode.BATCH, max_ttl_ms=60_000)
    lab.submit("a", to="B")
    lab.done("a", usage_ms=70_000)

    assert lab.workload("B").accepting_jobs
    assert lab.workload("B").modelled_ms == 0


def test_a_session_uses_the_interactive_ttl_when_nobody_closes_it(lab):
    lab.open("S", Mode.SESSION)
    lab.submit("a", to="S")
    lab.now = 1_000
    lab.done("a")
    lab.tick(500_000)

    assert workload_usage_ms(lab.workload("S"), 500_000) == 61_000


def test_the_active_windows_of_a_session_add_up(lab):
    lab.open("S", Mode.SESSION)
    lab.submit("a", to="S")
    lab.done("a")
    lab.tick(60_000)  # inactive
    lab.now = 100_000
    lab.submit("b", to="S")
    lab.now = 101_000
    lab.done("b")

    assert workload_usage_ms(lab.workload("S"), 102_000) == 60_000 + 2_000

    lab.tick(161_000)  # inactive

    assert workload_usage_ms(lab.workload("S"), 999_000) == 60_000 + 61_000


def test_a_closed_session_is_used_until_its_last_job_ends(lab):
    """ "Usage continues to accumulate after a session ends if the QPU is still running a job"."""
    lab.open("S", Mode.SESSION, max_ttl_ms=10_000)
    lab.submit("a", to="S")
    lab.tick(10_000)
    lab.now = 15_000
    lab.done("a")

    assert workload_usage_ms(lab.workload("S"), 99_000) == 15_000


@pytest.mark.parametrize("mode", Mode)
def test_a_workload_that_never_started_uses_nothing(lab, mode):
    """decisions 20."""
    lab.submit("x1", "x2", "x3", "x4", "x5")
    lab.open("W", mode)
    lab.submit("a", to="W")
    lab.send(JobCancelRequested(job_id="a"), at=50_000)
    lab.send(WorkloadCloseRequested(workload_id="W"), at=60_000)

    assert workload_usage_ms(lab.workload("W"), 99_000) == 0
