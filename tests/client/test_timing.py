"""A QPU that takes its time, as the real client sees it: `timing = "real"`."""

import time
from datetime import datetime
from itertools import pairwise

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import SamplerV2

from queuebit import testing
from queuebit.account import NO_VERIFY_WARNING

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings(f"ignore:{NO_VERIFY_WARNING}"),
    # The legacy primitives are what the guide uses.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:qiskit_ibm_runtime"),
    pytest.mark.filterwarnings("ignore:.* class is deprecated as of qiskit-ibm-runtime"),
]

SPEED = 100
SHOTS = 400_000  # about 100 s of a QPU, and a moment of the simulator


@pytest.fixture(scope="module")
def backend():
    device = {"name": "slow", "snapshot": "manila", "lanes": 2, "timing": "real"}
    with testing.service(speed=SPEED, backends=[device]) as live:
        yield live.connect().backend("slow")


@pytest.fixture(scope="module")
def circuit(backend):
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(bell)


def stages(job):
    return job.metrics()["queuebit"]["stages"]


def test_jobs_have_the_qpu_for_their_usage_and_fill_the_lanes_meanwhile(backend, circuit):
    sampler = SamplerV2(mode=backend)
    began = time.monotonic()
    jobs = [sampler.run([circuit], shots=SHOTS) for _ in range(3)]

    deadline = time.monotonic() + 20
    while [stages(job)["stage"] for job in jobs] != ["quantum", "ready", None]:
        assert time.monotonic() < deadline, [stages(job) for job in jobs]
        time.sleep(0.02)
    assert [job.status() for job in jobs] == ["RUNNING", "RUNNING", "QUEUED"]
    estimates_s = [job.usage_estimation["quantum_seconds"] for job in jobs]
    for job in jobs:
        job.result()
    assert estimates_s == [job.usage() for job in jobs]  # even of the job that was queued

    spans = []
    for job in jobs:
        told, usage_s = stages(job), job.usage()
        start, end = (
            datetime.fromisoformat(told[f"quantum_{key}"]) for key in ("started", "ended")
        )
        assert usage_s > 90
        assert (end - start).total_seconds() >= usage_s
        assert (end - start).total_seconds() < 1.5 * usage_s
        assert job.metrics()["queuebit"]["workers"]["timing"] == "real"
        assert job.metrics()["queuebit"]["workers"]["qpu_ms"] == 1_000 * usage_s
        spans.append((start, end))
    assert all(then[1] <= now[0] for then, now in pairwise(spans))
    assert time.monotonic() - began >= sum(job.usage() for job in jobs) / SPEED


def test_a_job_is_cancelled_while_the_qpu_takes_its_time(backend, circuit):
    job = SamplerV2(mode=backend).run([circuit], shots=SHOTS)
    deadline = time.monotonic() + 20
    while stages(job)["quantum_started"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.cancel()

    assert job.status() == "CANCELLED"
    assert 2 <= job.usage() < 90  # what it had used by then
