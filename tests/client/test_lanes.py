"""The FAQ's example of execution lanes, on a live service with the real client.

"The backend you choose has five execution lanes, and two of them are currently occupied by
other users' jobs. Your batch of six jobs is next in line to be run. Because there are three
available lanes, the scheduler starts three of your six batch jobs. It continues to start jobs
in your batch as jobs finish and execution lanes become available. If a lane becomes available
and there are no more jobs in your batch, the scheduler starts the next job in line."
"""

import time

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, SamplerV2

from queuebit import testing
from queuebit.account import NO_VERIFY_WARNING

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings(f"ignore:{NO_VERIFY_WARNING}"),
    # The legacy primitives are what the guide uses.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:qiskit_ibm_runtime"),
    pytest.mark.filterwarnings("ignore:.* class is deprecated as of qiskit-ibm-runtime"),
]


def endless(backend):
    """A circuit that keeps the QPU busy for longer than the test takes; no Clifford circuit."""
    circuit = QuantumCircuit(14)
    for layer in range(60):
        circuit.sx(range(14))
        circuit.rz(0.1, range(14))
        for qubit in range(layer % 2, 13, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure_all()
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)


def running(jobs):
    return [number for number, job in enumerate(jobs) if job.status() == "RUNNING"]


def wait_until_running(jobs, expected):
    deadline = time.monotonic() + 20
    while running(jobs) != expected:
        assert time.monotonic() < deadline, f"{running(jobs)} run instead of {expected}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def live():
    instances = [{"name": "mine"}, {"name": "theirs"}]
    with testing.service(instances=instances) as running:
        yield running


def test_the_faqs_lane_example(live):
    backend = live.connect(instance="mine").backend("fake_torino")
    others = SamplerV2(mode=live.connect(instance="theirs").backend("fake_torino"))
    circuit = endless(backend)

    occupying = [others.run([circuit]) for _ in range(2)]
    with Batch(backend=backend):
        sampler = SamplerV2()
        batch = [sampler.run([circuit]) for _ in range(6)]
    next_in_line = [others.run([circuit])]

    wait_until_running(occupying, [0, 1])
    wait_until_running(batch, [0, 1, 2])  # three lanes are free
    occupying[0].cancel()
    wait_until_running(batch, [0, 1, 2, 3])
    occupying[1].cancel()
    wait_until_running(batch, [0, 1, 2, 3, 4])
    batch[0].cancel()
    wait_until_running(batch, [1, 2, 3, 4, 5])
    assert running(next_in_line) == []
    batch[1].cancel()  # and the batch has no more
    wait_until_running(next_in_line, [0])
    assert running(batch) == [2, 3, 4, 5]
    for job in [*batch[2:], *next_in_line]:
        job.cancel()
