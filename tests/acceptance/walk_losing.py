"""Submits a job for each line that it reads; told of an error, the same once more at the next line.

Prints what became of it: the error, or the jobs that there are of it, and what they cost.
"""

import json
import sys

from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2
from steps import Desk, fitted

desk = Desk()
circuit = QuantumCircuit(1)
circuit.measure_all()
circuit = fitted(circuit, desk.manila)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    sampler = SamplerV2(mode=desk.manila)
    sampler.options.environment.job_tags = [line.strip()]
    before = desk.service.usage()["usage_consumed_seconds"]
    while True:
        try:
            job = sampler.run([circuit], shots=50)
            break
        except Exception as error:  # noqa: BLE001 - whatever the client makes of it
            print(json.dumps({"error": type(error).__name__}), flush=True)
            sys.stdin.readline()
    counts = job.result()[0].data.meas.get_counts()
    told = {
        "id": job.job_id(),
        "shots": sum(counts.values()),
        "jobs": [one.job_id() for one in desk.service.jobs(limit=None, job_tags=[line.strip()])],
        "usage": job.usage(),
        "charged": desk.service.usage()["usage_consumed_seconds"] - before,
    }
    print(json.dumps(told), flush=True)
