"""What a job should take of the real QPU, from its circuits."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from qiskit import QuantumCircuit

from queuebit.core import usage
from queuebit.devices.protocol import Experiment, Qpu


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job should take of the real QPU."""

    estimated_ms: int
    """QPU time in all."""
    overhead_ms: int
    """The part of it that the job costs beside its circuits."""
    circuits: int
    """After broadcasting."""
    executions: int
    """Circuits times shots."""
    sizes: list[tuple[int, int]]
    """Qubits used and depth of each circuit, before broadcasting."""

    def metrics(self) -> dict[str, Any]:
        """The same in the names of the metrics API up to 2026-02-15 (docs/endpoints.md)."""
        return {
            "executions": self.executions,
            "num_circuits": self.circuits,
            "num_qubits": [width for width, _ in self.sizes],
            "circuit_depths": [depth for _, depth in self.sizes],
        }


def estimated(rep_delay_s: float, experiments: Sequence[Experiment], device: Qpu) -> Estimate:
    """What they should take; for large circuits as slow as decoding."""
    sizes = [_size(experiment.circuit) for experiment in experiments]
    runs = [len(experiment.values) * experiment.shots for experiment in experiments]
    circuits = sum(len(experiment.values) for experiment in experiments)
    overhead_ms = usage.overhead_ms(
        circuits=circuits,
        qubits=round(fmean([width for width, _ in sizes] or [0])),
        depth=round(fmean([depth for _, depth in sizes] or [0])),
    )
    shot_s = [device.duration_s(one.circuit) + rep_delay_s for one in experiments]
    return Estimate(
        estimated_ms=usage.qpu_ms(
            overhead_ms=overhead_ms, runs=list(zip(shot_s, runs, strict=True))
        ),
        overhead_ms=overhead_ms,
        circuits=circuits,
        executions=sum(runs),
        sizes=sizes,
    )


def _size(circuit: QuantumCircuit) -> tuple[int, int]:
    """How many qubits a circuit uses, and its depth; a block of control flow counts as one."""
    levels: dict[object, int] = {}
    qubits = set()
    for instruction in circuit.data:
        if instruction.name == "barrier":
            continue
        bits = (*instruction.qubits, *instruction.clbits)
        level = 1 + max([levels.get(bit, 0) for bit in bits], default=0)
        levels.update(dict.fromkeys(bits, level))
        qubits.update(instruction.qubits)
    return len(qubits), max(levels.values(), default=0)
