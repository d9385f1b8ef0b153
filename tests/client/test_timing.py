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

SPEED = 40
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


def instants(job):
    """When each stage of a job began and ended, as the service recorded it."""
    return {
        name: datetime.fromisoformat(at)
        for name, at in stages(job).items()
        if name not in ("stage", "runs")
    }


def test_jobs_have_the_qpu_for_their_usage_and_fill_the_lanes_meanwhile(backend, circuit):
    """By the recorded instants alone: how fast this machine polls decides nothing."""
    sampler = SamplerV2(mode=backend)
    began = time.monotonic()
    jobs = [sampler.run([circuit], shots=SHOTS) for _ in range(3)]
    estimates_s = [job.usage_estimation["quantum_seconds"] for job in jobs]
    for job in jobs:
        job.result()

    assert estimates_s == [job.usage() for job in jobs]
    first, second, third = map(instants, jobs)
    for job, at in zip(jobs, (first, second, third), strict=True):
        assert job.usage() > 90
        assert (at["quantum_ended"] - at["quantum_started"]).total_seconds() >= job.usage()
        assert job.metrics()["queuebit"]["workers"]["timing"] == "real"
        assert job.metrics()["queuebit"]["workers"]["qpu_ms"] == 1_000 * job.usage()
    # Two lanes: the second job was prepared while the first had the QPU, the third waited.
    assert second["prepare_started"] < first["quantum_ended"]
    assert first["quantum_ended"] <= third["prepare_started"]
    for before, after in pairwise((first, second, third)):
        assert before["quantum_ended"] <= after["quantum_started"]
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
