"""Every set of parameter values gets its own bits, whatever the order in which they are made."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr

from queuebit.devices.device import Device, Experiment

A = Parameter("a")
SWEEP = np.array([0.0, np.pi] * 8).reshape(-1, 1)


def turned(circuit: QuantumCircuit, *qubits: int) -> None:
    """1 where a is 0, 0 where it is pi."""
    for qubit in qubits:
        circuit.sx(qubit)
        circuit.rz(A, qubit)
        circuit.sx(qubit)


def measured_twice() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    turned(circuit, 0)
    circuit.measure(0, 0)
    circuit.measure(0, 1)
    return circuit


def eight_connected() -> QuantumCircuit:
    """So many that each is measured and dropped as soon as it can be."""
    circuit = QuantumCircuit(8, 8)
    turned(circuit, *range(8))
    for low in range(7):
        circuit.cz(low, low + 1)
    circuit.measure(range(8), range(8))
    return circuit


def decided() -> QuantumCircuit:
    """Branches part at a condition and come back in another order."""
    circuit = QuantumCircuit(2, 2)
    turned(circuit, 0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit


def looped() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 2)
    turned(circuit, 0)
    circuit.measure(0, 0)
    circuit.measure(0, 1)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(0)
        circuit.measure(0, 0)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


def stored() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 2)
    turned(circuit, 0)
    circuit.measure(0, 0)
    seen = circuit.add_var("seen", expr.lift(circuit.clbits[0]))
    circuit.reset(0)
    with circuit.if_test(expr.lift(seen)):
        circuit.x(0)
    circuit.measure(0, 1)
    return circuit


ONES, FIRST, SECOND = np.ones(2, dtype=bool), np.array([True, False]), np.array([False, True])


@pytest.mark.parametrize("shots", [1, 2, 50])
@pytest.mark.parametrize(
    ("make", "at_zero", "at_pi"),
    [
        (measured_twice, ONES, ~ONES),
        (eight_connected, np.ones(8, dtype=bool), np.zeros(8, dtype=bool)),
        (decided, ONES, ~ONES),
        (looped, ONES, FIRST),
        (stored, ONES, ~ONES),
    ],
)
def test_rows_keep_their_bits(
    fez: Device,
    make: Callable[[], QuantumCircuit],
    at_zero: np.ndarray,
    at_pi: np.ndarray,
    shots: int,
) -> None:
    wanted = np.tile(np.stack([at_zero, at_pi]), (8, 1))[:, None]
    for seed in range(3):
        (bits,) = fez.sample([Experiment(make(), SWEEP, shots)], seed=seed).bits
        assert bits.shape == (16, shots, len(at_zero))
        assert (bits == wanted).mean() > 0.9


def test_permuted_rows_give_permuted_results(fez: Device) -> None:
    """Rows of 400 shots, whose means differ: each is found where its values are."""
    values = np.linspace(0, np.pi, 9).reshape(-1, 1)
    order = np.random.default_rng(1).permutation(9)
    plain = fez.sample([Experiment(measured_twice(), values, 400)], seed=1).bits[0]
    moved = fez.sample([Experiment(measured_twice(), values[order], 400)], seed=2).bits[0]

    assert moved.mean(axis=(1, 2)) == pytest.approx(plain.mean(axis=(1, 2))[order], abs=0.1)
