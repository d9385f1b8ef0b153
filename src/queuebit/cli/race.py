"""The batch guide's jobs, run as a batch and one by one, by the real client."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from qiskit import QuantumCircuit
from qiskit.circuit.random import random_circuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, IBMBackend, RuntimeJobV2, SamplerV2

from queuebit.cli.lanes import Lanes
from queuebit.cli.timeline import Span, spans

SEED = 2026
QUBITS = DEPTH = 5  # of the guide's random circuits


@dataclass(slots=True, kw_only=True)
class Race:
    """What came of running the jobs in one way."""

    title: str
    wall_s: float  # from the first submission to the last result
    usage_s: float  # QPU time charged
    jobs: list[list[Span]] = field(default_factory=list)


def partitioned_circuits(
    backend: IBMBackend, *, jobs: int, circuits: int
) -> list[list[QuantumCircuit]]:
    """Make the guide's circuits, `circuits` for each of `jobs`."""
    manager = generate_preset_pass_manager(
        backend=backend, optimization_level=1, seed_transpiler=SEED
    )
    random = [random_circuit(QUBITS, DEPTH, seed=SEED + n) for n in range(jobs * circuits)]
    # In this process: a fork of one that has threads could hang.
    made = manager.run(random, num_processes=1)
    for circuit in made:
        circuit.measure_active()
    return [made[n : n + circuits] for n in range(0, len(made), circuits)]


def warm_up(backend: IBMBackend, parts: Sequence[list[QuantumCircuit]]) -> None:
    """Run one circuit of each job, so that no worker loads anything in the race."""
    with Batch(backend=backend) as batch:
        sampler = SamplerV2(mode=batch)
        jobs = [sampler.run(part[:1]) for part in parts]
    for job in jobs:
        job.result()


def in_a_batch(backend: IBMBackend, parts: Sequence[list[QuantumCircuit]], lanes: Lanes) -> Race:
    """Submit all jobs in a batch, then ask for their results."""
    began = time.monotonic()
    with Batch(backend=backend) as batch:
        sampler = SamplerV2(mode=batch)
        jobs = []
        for number, part in enumerate(parts, 1):
            jobs.append(sampler.run(part))
            lanes.add(jobs[-1].job_id(), f"job {number}")
    for job in jobs:
        job.result()
    return _race("In a batch", time.monotonic() - began, jobs)


def one_by_one(backend: IBMBackend, parts: Sequence[list[QuantumCircuit]], lanes: Lanes) -> Race:
    """Submit each job in job mode, and wait for its result before the next."""
    began = time.monotonic()
    sampler = SamplerV2(mode=backend)
    jobs = []
    for number, part in enumerate(parts, 1):
        jobs.append(sampler.run(part))
        lanes.add(jobs[-1].job_id(), f"job {number}")
        jobs[-1].result()
    return _race("One by one", time.monotonic() - began, jobs)


def _race(title: str, wall_s: float, jobs: Sequence[RuntimeJobV2]) -> Race:
    metrics = [job.metrics() for job in jobs]
    return Race(
        title=title,
        wall_s=wall_s,
        usage_s=sum(told["usage"]["qpu_charge_time_seconds"] for told in metrics),
        jobs=[spans(told, now=time.time()) for told in metrics],
    )
