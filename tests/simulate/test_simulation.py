"""Traces through the scheduler."""

import numpy as np
import pytest
from tests.simulate.traces import EXAMPLES, all_completed, head, opened, starts, submit

from queuebit.core.events import JobSubmitted, Rule
from queuebit.core.model import FINAL, Backend, JobStatus, Mode, WorkloadState
from queuebit.simulate.load import Load, generate
from queuebit.simulate.reading import read
from queuebit.simulate.report import make_report
from queuebit.simulate.simulation import simulate
from queuebit.simulate.trace import Entry, Machine, Trace, Work

ONE_LANE = head(backends=[{"name": "qpu", "lanes": 1}])


def test_the_faqs_lanes():
    """Two of five lanes are taken: three of the batch's jobs start, then one for each free lane."""
    history = simulate(read(EXAMPLES / "faq_lanes.jsonl"))

    assert starts(history) == [
        ("other1", 0),
        ("other2", 0),
        ("b1", 2),
        ("b2", 2),
        ("b3", 2),
        ("b4", 11),
        ("b5", 12),
        ("b6", 16),
        ("next", 20),
    ]
    assert all_completed(history)


def test_stages_follow_each_other_and_share_the_qpu(run):
    history = run(submit("a", quantum_s=5), submit("b", at=0.5))

    a, b = history.jobs.values()
    assert (a.started_at, a.ready_at, a.quantum_started_at) == (0, 1_000, 1_000)
    assert (a.quantum_ended_at, a.ended_at, a.usage_ms) == (6_000, 7_000, 5_000)
    assert (b.started_at, b.ready_at, b.quantum_started_at) == (500, 1_500, 6_000)


def test_a_closed_loop_waits_for_its_jobs(run):
    history = run(
        opened("s", "session"),
        submit("a", workload="s"),
        submit("b", after="a", delay_s=10, workload="s"),
        {"after": ["a", "b"], "close": {"workload": "s"}},
        submit("other", at=1),
    )

    assert starts(history) == [("a", 0), ("b", 13), ("other", 16)]
    session = history.workloads["s"]
    assert (session.closed_at, session.active_ms) == (16_000, 16_000)


def test_a_session_that_idles_lets_others_in(run):
    history = run(
        opened("s", "session", interactive_ttl_s=5),
        submit("a", workload="s"),
        submit("other", at=1),
        submit("b", after="a", delay_s=60, workload="s"),
        {"after": "b", "close": {"workload": "s"}},
    )

    assert starts(history) == [("a", 0), ("other", 8), ("b", 63)]
    assert [state for state, _ in history.workloads["s"].transitions] == [
        WorkloadState.OPEN,
        WorkloadState.ACTIVE,
        WorkloadState.INACTIVE,
        WorkloadState.ACTIVE,
        WorkloadState.CLOSED,
    ]


def test_timers_run_out_after_the_last_entry(run):
    history = run(opened("b", max_ttl_s=100), submit("a", workload="b"))

    assert history.workloads["b"].closed_at == 100_000
    assert history.workloads["b"].state_reason == "max_ttl_reached"


def test_what_cannot_be_submitted_is_refused_and_its_client_goes_on(run):
    history = run(
        opened("b"),
        {"at": 1, "close": {"workload": "b"}},
        submit("late", at=2, workload="b"),
        submit("next", after="late", delay_s=3),
    )

    assert {job_id: refusal.rule for job_id, refusal in history.refused.items()} == {
        "late": Rule.WORKLOAD_CLOSED
    }
    assert starts(history) == [("next", 5)]


@pytest.mark.parametrize(
    ("stage", "service_fault", "ended_at", "usage_ms"),
    [
        ("prepare", False, 1_000, 0),
        ("quantum", False, 5_000, 4_000),
        ("quantum", True, 5_000, 0),
        ("finish", False, 6_000, 4_000),
    ],
)
def test_a_job_that_fails(run, stage, service_fault, ended_at, usage_ms):
    history = run(submit("a", quantum_s=4, fails_in=stage, service_fault=service_fault))

    job = history.jobs["a"]
    assert job.status is JobStatus.FAILED
    assert (job.ended_at, job.usage_ms) == (ended_at, usage_ms)


def test_a_cancelled_job_frees_its_lane_at_once(run):
    history = run(
        ONE_LANE,
        submit("a", quantum_s=100),
        submit("b"),
        {"at": 5, "cancel": {"job": "a"}},
        {"at": 50, "cancel": {"job": "a"}},
    )

    assert history.jobs["a"].status is JobStatus.CANCELLED
    assert starts(history) == [("a", 0), ("b", 5)]


def test_a_cancelled_batch(run):
    history = run(
        ONE_LANE,
        opened("b"),
        submit("b1", workload="b"),
        submit("b2", workload="b"),
        {"at": 2, "cancel": {"workload": "b"}},
    )

    assert [job.status for job in history.jobs.values()] == [
        JobStatus.COMPLETED,
        JobStatus.CANCELLED,
    ]


def test_a_job_over_its_limit_is_stopped(run):
    history = run(submit("a", quantum_s=100, limit_s=10))

    job = history.jobs["a"]
    assert (job.status, job.usage_ms, job.ended_at) == (JobStatus.CANCELLED, 10_000, 11_000)


def test_copies_take_turns_by_load(run):
    history = run(
        head(backends=[{"name": "q", "lanes": 1, "copies": 2}]),
        opened("b", backend="q"),
        submit("b1", workload="b"),
        submit("b2", workload="b"),
        submit("alone", backend="q"),
    )

    assert {job.id: job.backend for job in history.jobs.values()} == {
        "b1": "q",
        "b2": "q",
        "alone": "q-2",
    }
    assert history.workloads["b"].backend == "q"


def test_a_copy_whose_job_has_ended_is_the_less_busy_one(run):
    history = run(
        head(backends=[{"name": "q", "copies": 2}]),
        submit("long", backend="q", quantum_s=99),
        submit("short", backend="q"),
        submit("next", at=10, backend="q"),
    )

    assert [job.backend for job in history.jobs.values()] == ["q", "q-2", "q-2"]


def test_calibrations_take_the_qpu_between_jobs(run):
    first = head(
        backends=[{"name": "qpu", "calibrations": [{"every_s": 10, "lasts_s": 5}]}],
    )
    history = run(first, submit("a", at=8, quantum_s=4), submit("b", at=8))

    calibration = history.calibrations[0]
    assert (calibration.backend, calibration.started_at, calibration.ended_at) == (
        "qpu",
        13_000,
        18_000,
    )
    assert history.jobs["b"].quantum_started_at == 18_000


def test_calibrations_alone_do_not_go_on_for_ever(run):
    first = head(backends=[{"name": "qpu", "calibrations": [{"every_s": 3_600, "lasts_s": 60}]}])
    pause = {"at": 0, "status": {"backend": "qpu", "status": "paused"}}

    history = run(first, pause, submit("a"))

    assert history.jobs["a"].status is JobStatus.QUEUED
    assert make_report("", history).unfinished == 1
    assert 24 * 50 < len(history.calibrations) < 24 * 70


def test_a_paused_backend_starts_jobs_when_it_is_back(run):
    history = run(
        head(backends=[{"name": "q", "copies": 2}]),
        {"at": 0, "status": {"backend": "q", "status": "paused"}},
        submit("a", at=1, backend="q"),
        submit("b", at=1, backend="q"),
        {"at": 9, "status": {"backend": "q", "status": "online"}},
    )

    assert starts(history) == [("a", 9), ("b", 9)]


def test_fair_share_goes_by_allocation(run):
    names = ("big", "small")
    first = head(
        backends=[{"name": "qpu", "lanes": 1}],
        instances=[
            {"name": "big", "allocation_s": 2_000},
            {"name": "small", "allocation_s": 1_000},
        ],
    )
    jobs = [submit(f"{name}{n}", instance=name) for n in range(60) for name in names]

    early = [job_id for job_id, _ in starts(run(first, *jobs))][:60]

    assert sum(job_id.startswith("big") for job_id in early) == pytest.approx(40, abs=1)


@pytest.mark.parametrize("seed", range(3))
def test_every_job_ends_once_and_usage_adds_up(seed):
    load = Load(hours=3, rate=60, backends=2, session=0.3, batch_jobs=4, session_jobs=4)
    trace = generate(load, np.random.default_rng(seed))

    history = simulate(trace)

    works = {event.job_id: work for event, work in trace.submissions()}
    assert history.jobs.keys() == works.keys()
    assert all(job.status in FINAL for job in history.jobs.values())
    assert all(job.usage_ms == works[job.id].usage_ms for job in history.jobs.values())
    assert all(w.state is WorkloadState.CLOSED for w in history.workloads.values())
    report = make_report("", history)
    sessions = {w.id: w.active_ms for w in history.workloads.values() if w.mode is Mode.SESSION}
    of_jobs = sum(j.usage_ms for j in history.jobs.values() if j.workload_id not in sessions)
    expected_s = (of_jobs + sum(sessions.values())) / 1_000
    assert report.all.usage_s == pytest.approx(expected_s)
    for groups in (report.by_mode, report.by_instance):
        assert sum(group.usage_s for group in groups.values()) == pytest.approx(expected_s)
        assert sum(group.jobs for group in groups.values()) == len(works)


def test_the_same_trace_gives_the_same_history():
    trace = generate(Load(hours=4, rate=60), np.random.default_rng(5))

    first, second = simulate(trace), simulate(trace)

    assert first == second
    assert list(first.jobs) == list(second.jobs)


@pytest.mark.parametrize("busy", [0.5, 0.8])
def test_one_lane_is_an_m_d_1_queue(busy):
    """Poisson arrivals, one server, equal jobs: the mean wait is known (Pollaczek, Khinchine)."""
    service_ms, jobs = 10_000, 12_000
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(service_ms / busy, jobs)).astype(int).tolist()
    work = Work(prepare_ms=3_000, quantum_ms=5_000, finish_ms=2_000, usage_ms=5_000)
    entries = tuple(
        Entry(
            event=JobSubmitted(job_id=f"j{n}", instance="i", backend="q"),
            delay_ms=at,
            work=work,
        )
        for n, at in enumerate(arrivals)
    )
    machine = Machine(backend=Backend(name="q", lanes=1))

    report = make_report("", simulate(Trace(machines=(machine,), entries=entries)))

    expected_s = busy * service_ms / 1_000 / (2 * (1 - busy))
    assert report.all.wait_s.mean == pytest.approx(expected_s, rel=0.1)
    assert report.by_backend["q"].lanes == pytest.approx(busy, rel=0.03)
    assert report.by_backend["q"].qpu == pytest.approx(busy / 2, rel=0.03)
