"""A recorded run as a trace."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tests.simulate.traces import lines, opened, submit

from queuebit.core.events import JobCancelRequested, JobSubmitted, WorkloadCancelRequested
from queuebit.core.model import FINAL, Backend, Instance, Job, JobStatus, Stage
from queuebit.errors import QueuebitError
from queuebit.simulate.export import export
from queuebit.simulate.load import Load, generate
from queuebit.simulate.reading import parse
from queuebit.simulate.simulation import simulate
from queuebit.store.database import Database
from queuebit.store.details import JobDetails, WorkloadDetails
from queuebit.store.history import read_history

START = 1_790_000_000_000  # ms; 2026-09-21


def exported(history):
    backends = [machine.backend for machine in history.trace.machines]
    return export(history.jobs.values(), history.workloads.values(), backends=backends)


def again(history):
    """What comes of the trace of `history`."""
    return simulate(exported(history))


EVERYTHING = [
    opened("b"),
    opened("s", "session", at=1),
    opened("unused", at=2),
    submit("b1", workload="b", usage_s=9),
    submit("b2", workload="b", fails_in="quantum"),
    submit("b3", workload="b", fails_in="finish", service_fault=True),
    {"at": 1, "close": {"workload": "b"}},
    submit("s1", at=2, workload="s"),
    submit("s2", after="s1", delay_s=4, workload="s"),
    submit("s3", after="s1", delay_s=4, workload="s", fails_in="prepare"),
    {"after": ["s2", "s3"], "delay_s": 2, "close": {"workload": "s"}},
    submit("alone", at=3, quantum_s=5, limit_s=2),
    submit("stopped", at=3, quantum_s=100),
    {"at": 40, "cancel": {"job": "stopped"}},
    opened("idle", at=50, max_ttl_s=30),
    submit("i1", at=50, workload="idle"),
]


def test_a_recorded_run_happens_again_as_it_was(run):
    history = run(*EVERYTHING)

    second = again(history)

    assert second.workloads == history.workloads
    assert second.jobs == history.jobs


@pytest.mark.parametrize("seed", range(3))
def test_a_made_up_run_happens_again_as_it_was(seed):
    load = Load(hours=3, rate=60, session=0.3)
    history = simulate(generate(load, np.random.default_rng(seed)))

    second = again(history)

    late = min(
        record.created_at for record in (*history.jobs.values(), *history.workloads.values())
    )
    assert list(second.jobs) == list(history.jobs)
    for job in history.jobs.values():
        assert second.jobs[job.id] == shifted(job, -late)
    for workload in history.workloads.values():
        transitions = tuple((state, at - late) for state, at in workload.transitions)
        assert second.workloads[workload.id].transitions == transitions


def shifted(job, by_ms):
    """`job`, had it all been earlier."""
    stamps = [name for name in Job.__slots__ if name.endswith("_at")]
    return replace(job, **{name: getattr(job, name) + by_ms for name in stamps})


def test_a_batch_cancelled_with_its_jobs(run):
    jobs = [submit(f"j{n}", workload="b", quantum_s=10) for n in range(8)]
    history = run(opened("b"), *jobs, {"at": 5, "cancel": {"workload": "b"}})

    trace = exported(history)

    events = [entry.event for entry in trace.entries]
    assert events[-1] == WorkloadCancelRequested(workload_id="b")
    assert not any(isinstance(event, JobCancelRequested) for event in events)
    assert simulate(trace).jobs == history.jobs


def test_a_client_of_a_session_is_taken_to_wait_for_results(run):
    history = run(
        opened("s", "session"),
        submit("a", at=0, workload="s"),
        submit("b", at=0, workload="s"),
        submit("c", at=9, workload="s"),
        submit("alone", at=20),
    )

    entries = [e for e in exported(history).entries if isinstance(e.event, JobSubmitted)]

    assert [(e.event.job_id, e.after, e.delay_ms) for e in entries] == [
        ("a", (), 0),
        ("b", (), 0),
        ("c", ("b",), 5_000),
        ("alone", (), 20_000),
    ]


def test_a_job_of_a_session_does_not_wait_for_itself(run):
    gone = [submit("b", at=9, workload="s"), {"at": 9, "cancel": {"job": "b"}}]
    history = run(opened("s", "session"), submit("a", workload="s"), *gone)

    after = {e.event.job_id: e.after for e in exported(history).entries if e.work}

    assert after == {"a": (), "b": ("a",)}


def test_what_the_service_stopped_was_not_cancelled_by_its_user(run):
    history = run(submit("a", quantum_s=100, limit_s=10))

    (entry,) = exported(history).entries

    assert entry.event.limit_ms == 10_000
    assert entry.work.quantum_ms == 10_000
    assert entry.work.usage_ms == 100_000


def test_a_stage_that_never_was_lasts_as_long_as_usual(run):
    jobs = [submit(f"j{n}", quantum_s=n, prepare_s=2 * n, usage_s=7) for n in (1, 2, 9)]
    history = run(*jobs, submit("gone", at=1), {"at": 1, "cancel": {"job": "gone"}})

    works = {event.job_id: work for event, work in exported(history).submissions()}

    gone = works["gone"]
    assert (gone.prepare_ms, gone.quantum_ms, gone.finish_ms) == (4_000, 2_000, 1_000)
    assert gone.usage_ms == 7_000


def test_a_job_still_running_is_submitted_only():
    job = Job(
        id="a",
        seq=1,
        instance="i",
        backend="q",
        created_at=START,
        status=JobStatus.RUNNING,
        stage=Stage.PREPARE,
        run=1,
        started_at=START + 5,
    )

    trace = export([job], [])

    assert [entry.delay_ms for entry in trace.entries] == [0]


def test_lanes_and_plans_come_from_the_configuration():
    jobs = [
        Job(id=name, seq=seq, instance="i", backend=name, created_at=START)
        for seq, name in enumerate(("gone", "q"), 1)
    ]
    backends = [Backend(name="q", lanes=3), Backend(name="idle")]
    instances = [Instance(id="i", allocation_ms=5, since=START + 7), Instance(id="other")]

    trace = export(jobs, [], backends=backends, instances=instances)

    assert [machine.backend for machine in trace.machines] == [Backend(name="gone"), backends[0]]
    assert trace.instances == (replace(instances[0], since=7),)


def test_nothing_to_export():
    with pytest.raises(QueuebitError, match="nothing to export: no job or workload on record"):
        export([], [])


def save(url, history):
    """Have a service's database hold `history`."""
    details = [JobDetails(id=job_id, program_id="sampler") for job_id in history.jobs]
    workloads = [WorkloadDetails(id=workload_id, user="u") for workload_id in history.workloads]

    async def fill():
        database = Database(url)
        await database.open()
        await database.save(
            [*history.workloads.values(), *history.jobs.values()], [*workloads, *details]
        )
        await database.close()

    asyncio.run(fill())


def test_history_is_read_from_the_database(tmp_path):
    history = simulate(parse(lines(*EVERYTHING)))
    url = f"sqlite+aiosqlite:///{tmp_path}/queuebit.db"
    save(url, history)

    jobs, workloads, _ = read_history(url)

    assert {job.id: job for job in jobs} == history.jobs
    assert {workload.id: workload for workload in workloads} == history.workloads
    assert all(job.status in FINAL for job in jobs)


def test_no_database(tmp_path):
    with pytest.raises(QueuebitError, match=r"no service has kept anything in .*/none\.db"):
        read_history(f"sqlite:///{tmp_path}/none.db")


def test_a_database_that_is_none(tmp_path):
    file = tmp_path / "queuebit.db"
    file.write_text("not a database, but long enough to be looked at " * 50)

    with pytest.raises(QueuebitError, match=r"cannot be read; .* \(file is not a database\)"):
        read_history(f"sqlite:///{file}")
