"""Test your own code with a service inside the test: `pytest examples/pytest_example.py`.

Installing Queuebit is enough; pytest finds the fixtures by themselves.
"""

from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch
from qiskit_ibm_runtime.executor_sampler import Sampler


def count_in_batch(backend, circuits):
    """Your code: sample some circuits, each in a job of its own, in one batch."""
    manager = generate_preset_pass_manager(backend=backend, optimization_level=3)
    with Batch(backend=backend) as batch:
        sampler = Sampler(mode=batch)
        jobs = [sampler.run([circuit], shots=100) for circuit in manager.run(circuits)]
    counts = [job.result()[0].data.meas.get_counts() for job in jobs]
    return counts, batch.status()


def test_a_batch_runs_all_its_jobs_and_closes(queuebit_runtime):
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()

    counts, status = count_in_batch(queuebit_runtime.backend("fake_torino"), [bell] * 3)

    assert [sum(count.values()) for count in counts] == [100, 100, 100]
    assert all(count["00"] + count["11"] > 80 for count in counts)
    assert status == "Closed"
