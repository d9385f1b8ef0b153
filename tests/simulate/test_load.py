"""Made-up loads."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from queuebit.core.events import JobSubmitted, WorkloadOpened
from queuebit.core.model import Mode
from queuebit.core.usage import overhead_ms, qpu_ms
from queuebit.simulate.load import Load, generate


def made(seed=1, **load):
    return generate(Load(**load), np.random.default_rng(seed))


def test_a_seed_gives_the_same_trace():
    assert made(1) == made(1)
    assert made(1) != made(2)


def test_as_many_arrive_as_were_asked_for():
    trace = made(hours=100, rate=50, job=0.5, batch=0.3, session=0.2, instances=2)

    modes = Counter(e.event.mode for e in trace.entries if isinstance(e.event, WorkloadOpened))
    alone = [event for event, _ in trace.submissions() if event.workload_id is None]
    assert len(alone) == pytest.approx(2_500, rel=0.1)
    assert modes[Mode.BATCH] == pytest.approx(1_500, rel=0.1)
    assert modes[Mode.SESSION] == pytest.approx(1_000, rel=0.1)
    shares = Counter(event.instance for event in alone)
    assert shares["lab1"] == pytest.approx(2 * shares["lab2"], rel=0.15)
    assert max(entry.delay_ms for entry in trace.entries) <= 100 * 3_600_000


def test_batches_come_at_once_and_sessions_in_a_loop():
    trace = made(hours=20, job=0, batch_jobs=3, session_jobs=4, think_s=9)

    sizes = Counter(event.workload_id[0] for event, _ in trace.submissions())
    workloads = Counter(
        e.event.workload_id[0] for e in trace.entries if isinstance(e.event, WorkloadOpened)
    )
    assert sizes["b"] / workloads["b"] == pytest.approx(3, rel=0.2)
    assert sizes["s"] / workloads["s"] == pytest.approx(4, rel=0.2)
    of_sessions = [e for e in trace.entries if e.after and isinstance(e.event, JobSubmitted)]
    assert np.mean([entry.delay_ms for entry in of_sessions]) == pytest.approx(9_000, rel=0.2)
    for entry in of_sessions:
        session, number = entry.event.job_id.split(".")
        assert entry.after == (f"{session}.{int(number) - 1}",)


def test_times_never_step_back():
    trace = made(hours=5)

    instants = [entry.delay_ms for entry in trace.entries if not entry.after]
    assert all(one <= other for one, other in pairwise(instants))


def test_a_job_is_as_large_as_the_model_says():
    trace = made(hours=50, spread=0, circuits=40, qubits=100, depth=100, shots=500, shot_us=200)

    overhead = overhead_ms(circuits=40, qubits=100, depth=100)
    usage_ms = qpu_ms(overhead_ms=overhead, runs=[(200e-6, 500 * 40)])
    assert {(w.prepare_ms, w.quantum_ms, w.finish_ms, w.usage_ms) for _, w in trace.submissions()} \
        == {(6_000, usage_ms, 3_000, usage_ms)}  # fmt: skip


def test_several_backends_share_the_work():
    trace = made(hours=50, backends=3, lanes=2)

    assert [machine.backend.name for machine in trace.machines] == ["qpu1", "qpu2", "qpu3"]
    assert {machine.backend.lanes for machine in trace.machines} == {2}
    shares = Counter(event.backend for event, _ in trace.submissions() if not event.workload_id)
    assert min(shares.values()) == pytest.approx(max(shares.values()), rel=0.3)


def test_some_mode_there_must_be():
    with pytest.raises(ValidationError, match="job, batch and session are all 0"):
        Load(job=0, batch=0, session=0)
