"""IBM's guide "Run jobs in a batch": its snippets in order, with the account you are logged in to.

queuebit serve          in one terminal
queuebit login          once
python examples/guide.py
"""

import argparse
import time

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, QiskitRuntimeService
from qiskit_ibm_runtime import EstimatorV2 as Estimator
from qiskit_ibm_runtime import SamplerV2 as Sampler

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--max-circuits", type=int, default=100, help="circuits of one job")
max_circuits = arguments.parse_args().max_circuits

# Set up to use batches.
service = QiskitRuntimeService()

# Open a batch: as a class ...
backend = service.least_busy(operational=True, simulator=False)
batch = Batch(backend=backend)
estimator = Estimator(mode=batch)
sampler = Sampler(mode=batch)
# Close the batch because no context manager was used.
batch.close()
print(f"Opened and closed batch {batch.session_id} on {backend.name}: {batch.status()}")

# ... or as a context manager.
with Batch(backend=backend):
    estimator = Estimator()
    sampler = Sampler()

# Batch length.
with Batch(backend=backend, max_time="25m") as batch:
    assert batch.details()["max_time"] == 25 * 60

# The guide's two PUBs, which it leaves to the reader: three by two sets of parameter values.
pm = generate_preset_pass_manager(backend=backend, optimization_level=1)
theta = Parameter("theta")
circuit = QuantumCircuit(2)
circuit.ry(theta, 0)
circuit.cx(0, 1)
values = np.linspace(0, np.pi, 6).reshape(3, 2, 1)
isa_circuit = pm.run(circuit)
observable = SparsePauliOp("ZZ").apply_layout(isa_circuit.layout)
estimator_pub = (isa_circuit, observable, values)
sampler_pub = (pm.run(circuit.measure_all(inplace=False)), values)

# Close a batch: the context manager does.
with Batch(backend=backend) as batch:
    estimator = Estimator()
    sampler = Sampler()
    job1 = estimator.run([estimator_pub])
    job2 = sampler.run([sampler_pub])

# The batch is no longer accepting jobs but the submitted job will run to completion.
result = job1.result()
result2 = job2.result()
assert result[0].data.evs.shape == (3, 2)
assert result2[0].data.meas.shape == (3, 2)

# Without a context manager.
batch = Batch(backend=backend)
estimator = Estimator(mode=batch)
sampler = Sampler(mode=batch)
job1 = estimator.run([estimator_pub])
job2 = sampler.run([sampler_pub])
print(f"Result1: {job1.result()}")
print(f"Result2: {job2.result()}")
# Manually close the batch. Running and queued jobs will run to completion.
batch.close()
assert batch.status() == "Closed"

# Determine batch details.
with Batch(backend=backend) as batch:
    print(batch.details())

# Reconfigure jobs for parallel processing.
circuits = pm.run([random_circuit(5, 5) for _ in range(5 * max_circuits)])
for circuit in circuits:
    circuit.measure_active()
all_partitioned_circuits = []
for i in range(0, len(circuits), max_circuits):
    all_partitioned_circuits.append(circuits[i : i + max_circuits])
jobs = []

began = time.monotonic()
with Batch(backend=backend) as batch:
    sampler = Sampler()
    for partitioned_circuits in all_partitioned_circuits:
        job = sampler.run(partitioned_circuits)
        jobs.append(job)
results = [job.result() for job in jobs]
elapsed_s = time.monotonic() - began
assert [len(result) for result in results] == [max_circuits] * 5
print(f"{len(jobs)} jobs of {max_circuits} circuits in {elapsed_s:.1f} s")
print(f"{batch.status()}; usage: {batch.usage():.1f} s of QPU time")
