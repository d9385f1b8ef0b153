"""Prints, per method and size, what a simulation was predicted to need and what it needed.

Run by test_memory.py in a process of its own: what is measured is the peak of a process. Each case
runs in a fork, so that none sees another's.
"""

import gc
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import qiskit_aer  # noqa: F401 - its size is no part of a simulation's
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from queuebit.config import BackendConfig
from queuebit.devices import planning
from queuebit.devices.device import Device, Experiment
from queuebit.devices.planning import Limits
from queuebit.devices.propagation import Budget

LIMITS = Limits(2**34, seconds=1e9)
DEVICE = Device(BackendConfig(name="t", snapshot="sherbrooke"), LIMITS)


def line(qubits: int, depth: int, angle: float | Parameter) -> QuantumCircuit:
    """Layers along a path that the device would have, if it had one; every qubit measured."""
    circuit = QuantumCircuit(127, qubits)
    for layer in range(depth):
        for qubit in range(qubits):
            circuit.sx(qubit)
            circuit.rz(angle, qubit)
            circuit.sx(qubit)
        for low in range(layer % 2, qubits - 1, 2):
            circuit.ecr(low, low + 1)
    circuit.measure(range(qubits), range(qubits))
    return circuit


def ring(qubits: int) -> QuantumCircuit:
    """All qubits needed at once."""
    circuit = line(qubits, 2, 0.3)
    circuit.remove_final_measurements()
    circuit = QuantumCircuit(127, qubits).compose(circuit)
    for qubit in range(qubits):
        circuit.ecr(qubit, (qubit + qubits // 2) % qubits)
    circuit.measure(range(qubits), range(qubits))
    return circuit


def cases() -> Iterator[tuple[str, Experiment]]:
    """Named for the method by which it must run."""
    angle = Parameter("a")
    rows = np.linspace(0.1, 1, 40)[:, None]
    none = np.zeros((1, 0))
    wide = QuantumCircuit(127)
    wide.sx(range(127))
    wide.measure_all()
    yield "single", Experiment(wide, none, 200_000)
    yield "density_matrix", Experiment(ring(11), none, 100)
    yield "density_matrix", Experiment(line(5, 3, angle), rows, 50_000)
    yield "stabilizer", Experiment(line(127, 5, np.pi / 2), none, 200_000)
    yield "stabilizer", Experiment(line(127, 30, np.pi / 2), none, 100)
    yield "stabilizer", Experiment(line(60, 6, angle), np.pi / 2 * np.round(rows * 4), 10_000)
    yield "statevector", Experiment(ring(22), none, 1)
    yield "matrix_product_state", Experiment(line(40, 3, 0.3), none, 100)


def force(method: str) -> None:
    """Everything runs by this method, whatever is the best."""
    planning.EXACT_PATIENCE_S = 1e9 if method == "density_matrix" else -1.0
    if method in {"statevector", "matrix_product_state"}:
        trajectories = planning._trajectories
        planning._exact = planning._stabilizer = lambda *_: None
        planning._trajectories = lambda *known: {method: trajectories(*known)[method]}


def sampled(method: str, one: Experiment) -> tuple[str, int, Callable[[], object]]:
    """By which method it runs, the bytes that it and its results should need, and the run."""
    force(method)
    left = planning.check_output([(len(one.values), one.shots, one.circuit.num_clbits)], LIMITS)
    plans = [piece.plan for piece in DEVICE._plan([one]) if piece.plan is not None]
    needed = max([plan.cost.memory_bytes for plan in plans], default=0)
    methods = "+".join({plan.method for plan in plans}) or "single"
    return methods, needed + LIMITS.memory_bytes - left.memory_bytes, lambda: DEVICE.sample([one])


def propagated() -> tuple[str, int, Callable[[], object]]:
    circuit, budget = line(50, 10, 0.3), Budget(max_terms=100_000, atol=1e-9)
    observable = SparsePauliOp.from_sparse_list([("Z", [25], 1.0)], 127)
    values = np.zeros((1, 0))
    plan = DEVICE._propagation(circuit, values, "none", budget).plan([observable])
    return (
        "pauli_propagation",
        plan.cost.memory_bytes,
        lambda: DEVICE.propagate(circuit, values, [observable], budget=budget),
    )


def in_a_fork(case: Callable[[], tuple[str, int, Callable[[], object]]]) -> None:
    """Print the method, and bytes that it was to need and by which the process's peak grew."""
    gc.collect()
    sys.stdout.flush()
    if child := os.fork():
        os.waitpid(child, 0)
        return
    method, predicted, run = case()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    told = {"method": method, "predicted": predicted, "needed": grown * 1024}
    print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    for method, one in cases():
        in_a_fork(partial(sampled, method, one))
    in_a_fork(propagated)
