"""What circuits of 20 and of 127 qubits cost with noise, as ratios to Aer in the same run.

Aer is asked for a few shots only and multiplied, because all of them would take hours. Processor
time of one thread.
Run: .venv/bin/python benchmarks/wide.py
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import itertools
import time
from collections.abc import Callable

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp, pauli_basis
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, pauli_error

from queuebit.config import BackendConfig
from queuebit.devices.device import Device, Experiment
from queuebit.devices.propagation import Budget

SHOTS = 4096
CLIFFORD_STEPS, TROTTER_STEPS = 5, 8
CLIFFORD_PROBES, VECTOR_PROBES = 32, 2  # shots that Aer really runs
HALF = np.pi / 2


def kicked(device: Device, qubits: list[int], steps: int, angle: float) -> QuantumCircuit:
    """Kicked Ising steps on the working pairs of `qubits`."""
    pairs = {
        tuple(sorted(pair)): pair
        for pair, known in device.target["ecr"].items()
        if known.error < 1 and set(pair) <= set(qubits)
    }
    circuit = QuantumCircuit(device.num_qubits, len(qubits))
    for _ in range(steps):
        for qubit in qubits:
            circuit.rz(HALF, qubit)
            circuit.sx(qubit)
            circuit.rz(angle + np.pi, qubit)
            circuit.sx(qubit)
            circuit.rz(HALF, qubit)
        for pair in pairs.values():
            circuit.ecr(*pair)
    return circuit


def measured(circuit: QuantumCircuit, qubits: list[int]) -> QuantumCircuit:
    whole = circuit.copy()
    whole.measure(qubits, range(len(qubits)))
    return whole


def for_aer(device: Device, circuit: QuantumCircuit) -> tuple[QuantumCircuit, NoiseModel]:
    """The same circuit on the used qubits alone, and the same twirled errors as Aer's model."""
    used = sorted({circuit.find_bit(bit).index for one in circuit.data for bit in one.qubits})
    place = {qubit: at for at, qubit in enumerate(used)}
    made = QuantumCircuit(len(used), circuit.num_clbits)
    model = NoiseModel(basis_gates=["ecr", "sx", "x", "rz"])
    known = set()
    for one in circuit.data:
        qubits = tuple(circuit.find_bit(bit).index for bit in one.qubits)
        at = [place[qubit] for qubit in qubits]
        quarters = round(one.params[0] / HALF) % 4 if one.name == "rz" else 0
        if one.name == "rz" and abs(one.params[0] / HALF - round(one.params[0] / HALF)) < 1e-9:
            for name in ([], ["s"], ["z"], ["sdg"])[quarters]:  # what its stabilizers know
                getattr(made, name)(*at)
            continue
        made.append(one.operation, at, [circuit.find_bit(bit).index for bit in one.clbits])
        if (one.name, qubits) in known:
            continue
        known.add((one.name, qubits))
        if one.name == "measure":
            p01, p10 = device.noise.readout(qubits[0])
            model.add_readout_error(ReadoutError([[1 - p01, p01], [p10, 1 - p10]]), at)
        elif (chances := device.noise.twirl(one.name, qubits)) is not None:
            labels = pauli_basis(len(qubits)).to_labels()
            error = pauli_error(list(zip(labels, chances, strict=True)))
            model.add_quantum_error(error, one.name, at, warnings=False)
    return made, model


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def aer_s(method: str, device: Device, circuit: QuantumCircuit, shots: int) -> float:
    """Of SHOTS shots, by a few; less what is needed once."""
    made, model = for_aer(device, circuit)
    aer = AerSimulator(method=method, noise_model=model, max_parallel_threads=1)
    once = seconds(lambda: aer.run(made, shots=1, seed_simulator=1).result())
    more = seconds(lambda: aer.run(made, shots=1 + shots, seed_simulator=1).result())
    return once + max(more - once, 0.0) / shots * (SHOTS - 1)


def clifford() -> None:
    every = list(range(127))
    device = Device(BackendConfig(name="fake_sherbrooke", snapshot="sherbrooke"))
    circuit = measured(kicked(device, every, CLIFFORD_STEPS, HALF), every)
    work = [Experiment(circuit, np.zeros((1, 0)), SHOTS)]
    cold = seconds(lambda: device.sample(work, seed=1))
    warm = seconds(lambda: device.sample(work, seed=1))
    theirs = aer_s("stabilizer", device, circuit, CLIFFORD_PROBES)
    print(
        f"127 qubits, {circuit.count_ops()['ecr']} ecr, Clifford, noise, {SHOTS} shots: "
        f"{warm:.2f} s ({cold:.2f} s the first time); Aer's stabilizers {theirs:.0f} s "
        f"(extrapolated from {CLIFFORD_PROBES} shots): 1/{theirs / warm:.0f}"
    )


def twirls() -> None:
    """The rows of a twirled circuit: each Clifford in a way of its own."""
    every = list(range(127))
    device = Device(BackendConfig(name="fake_sherbrooke", snapshot="sherbrooke"))
    plain = kicked(device, every, CLIFFORD_STEPS, HALF)
    turns = ParameterVector("t", plain.count_ops()["rz"])
    circuit, left = plain.copy_empty_like(), iter(turns)
    for one in plain.data:
        if one.name == "rz":
            circuit.rz(next(left), one.qubits)
        else:
            circuit.append(one)
    rows = np.random.default_rng(1).integers(0, 4, (32, len(turns))).astype(np.float64) * HALF
    work = [Experiment(measured(circuit, every), rows, 128)]
    device.sample(work, seed=1)
    took = seconds(lambda: device.sample(work, seed=1))
    print(f"the same with 32 random sets of {len(turns)} angles, 128 shots each: {took:.2f} s")


def values() -> None:
    device = Device(BackendConfig(name="fake_sherbrooke", snapshot="sherbrooke"))
    line = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 30, 29, 28, 27, 26]
    circuit = kicked(device, line, TROTTER_STEPS, 0.3)
    weights = [("ZZ", [low, high], 1.0) for low, high in itertools.pairwise(line)]
    observable = SparsePauliOp.from_sparse_list(weights, 127)
    found = device.propagate(circuit, np.zeros((1, 0)), [observable])
    took = seconds(lambda: device.propagate(circuit, np.zeros((1, 0)), [observable]))
    fine = device.propagate(circuit, np.zeros((1, 0)), [observable], budget=Budget(atol=1e-6))
    off = abs(fine.values[0, 0] - found.values[0, 0])
    theirs = aer_s("statevector", device, measured(circuit, line), VECTOR_PROBES)
    noise = len(weights) ** 0.5 / SHOTS**0.5
    print(
        f"20 qubits, {circuit.count_ops()['ecr']} ecr, a sum of {len(weights)} ZZ with noise: "
        f"{took:.2f} s (value {found.values[0, 0]:.3f}, {off:.1e} off what a hundred times finer "
        f"gives; {SHOTS} shots leave {noise:.0e}); {SHOTS} of Aer's state vectors {theirs:.0f} s "
        f"(extrapolated from {VECTOR_PROBES}): 1/{theirs / took:.0f}"
    )


if __name__ == "__main__":
    clifford()
    twirls()
    values()
