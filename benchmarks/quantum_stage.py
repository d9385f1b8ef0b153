"""What the noisy device costs, as ratios to bare noiseless Aer on the same circuits.

Processor time, the best of some rounds, one thread each: other processes disturb that least.
Run: .venv/bin/python benchmarks/quantum_stage.py
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable

import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit.random import random_circuit
from qiskit_aer import AerSimulator

from queuebit.config import BackendConfig
from queuebit.devices.device import Device, Experiment

SHOTS = 4096


def compact(circuit: QuantumCircuit) -> QuantumCircuit:
    """Without idle qubits, as Aer likes it best."""
    used = sorted({circuit.find_bit(bit).index for one in circuit.data for bit in one.qubits})
    places = {qubit: at for at, qubit in enumerate(used)}
    made = QuantumCircuit(len(used), circuit.num_clbits)
    for one in circuit.data:
        qubits = [places[circuit.find_bit(bit).index] for bit in one.qubits]
        made.append(one.operation, qubits, [circuit.find_bit(bit).index for bit in one.clbits])
    return made


def best_ms(run: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken) * 1000


def compare(name: str, device: Device, circuits: list[QuantumCircuit], rounds: int) -> None:
    work = [Experiment(circuit, np.zeros((1, 0)), SHOTS) for circuit in circuits]
    bare = [compact(circuit) for circuit in circuits]
    aer = AerSimulator(max_parallel_threads=1)
    start = time.perf_counter()
    metadata = device.sample(work, seed=1).metadata
    first_ms = (time.perf_counter() - start) * 1000
    ours_ms = best_ms(lambda: device.sample(work, seed=1), rounds)
    aer_ms = best_ms(
        lambda: aer.run(bare, shots=SHOTS, seed_simulator=1).result(), max(rounds // 2, 1)
    )
    print(
        f"{name}: {ours_ms / aer_ms:.2f}x (device {ours_ms:.2f} ms with {metadata['noise']} noise, "
        f"first time {first_ms:.1f} ms; bare Aer {aer_ms:.2f} ms)"
    )


def main() -> None:
    start = time.perf_counter()
    device = Device(BackendConfig(name="fake_torino", snapshot="torino"))
    print(f"device made in {(time.perf_counter() - start) * 1000:.0f} ms")
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    some = [random_circuit(5, 5, measure=True, seed=seed) for seed in range(100)]
    fitted = transpile([bell, *some], target=device.target, seed_transpiler=1)
    for circuit in fitted:
        circuit.data = [one for one in circuit.data if one.name != "barrier"]
    compare("Bell", device, fitted[:1], 20)
    compare("100 random 5-qubit circuits of depth 5", device, fitted[1:], 5)


if __name__ == "__main__":
    main()
