"""What comes out is what the device's noise makes of it, in the order of the circuit's bits.

The oracle is Aer with its noise model of the client's own fake backend, from its properties: a
noise model from a Target has symmetric readout errors.
"""

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.random import random_circuit
from qiskit_aer import AerSimulator

from queuebit.devices.device import Experiment
from queuebit.devices.planning import EARLY_QUBITS

SHOTS = 50_000


def ghz(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


@pytest.fixture
def agree_with_aer(manila, isa, one, same_distribution, reference):
    def check(circuit: QuantumCircuit) -> None:
        fitted = isa(manila, circuit, list(range(circuit.num_qubits)))
        same_distribution(one(manila, fitted, SHOTS), reference(fitted, SHOTS))

    return check


@pytest.mark.parametrize("qubits", [2, 3, 5])
def test_a_ghz_state_is_as_noisy_as_aer_makes_it(agree_with_aer, qubits):
    agree_with_aer(ghz(qubits))


def test_a_noiseless_ghz_state_would_be_told_apart(manila, isa, one, same_distribution, reference):
    circuit = isa(manila, ghz(3), [0, 1, 2])
    ideal = AerSimulator(max_parallel_threads=1)

    with pytest.raises(AssertionError):
        same_distribution(one(manila, circuit, SHOTS), reference(circuit, SHOTS, simulator=ideal))


@pytest.mark.parametrize("seed", range(4))
def test_random_circuits_agree_with_aer(agree_with_aer, seed):
    agree_with_aer(random_circuit(4, 3, measure=True, seed=seed))


def test_measuring_early_and_measuring_together_agree(
    manila, isa, one, same_distribution, monkeypatch
):
    circuit = isa(manila, random_circuit(5, 3, measure=True, seed=9), [0, 1, 2, 3, 4])
    together = one(manila, circuit, SHOTS, seed=1)
    monkeypatch.setattr("queuebit.devices.planning.EARLY_QUBITS", 2)
    early = one(manila, circuit, SHOTS, seed=2)

    assert EARLY_QUBITS > 5
    same_distribution(early, together)


def test_the_same_seed_gives_the_same_bits_whatever_ran_before(torino, isa, one):
    circuit = isa(torino, ghz(3), [0, 1, 2])
    first = one(torino, circuit, 500, seed=3)
    one(torino, isa(torino, ghz(4), [4, 5, 6, 7]), 100, seed=8)

    assert np.array_equal(one(torino, circuit, 500, seed=3), first)
    assert not np.array_equal(one(torino, circuit, 500, seed=4), first)


def test_idle_qubits_show_their_readout_errors(torino, one):
    circuit = QuantumCircuit(torino.num_qubits)
    circuit.x(5)
    circuit.measure_all()
    rates = one(torino, circuit, 40_000).mean(axis=0)

    expected = np.array([torino.noise.readout(q)[0] for q in range(torino.num_qubits)])
    expected[5] = 1 - torino.noise.readout(5)[1]  # but for the gate's own error
    deviation = np.sqrt(np.maximum(expected * (1 - expected), 1e-5) / 40_000)
    assert rates.shape == (133,)
    assert (abs(rates - expected) < 5 * deviation + 0.002 * (np.arange(133) == 5)).all()


def test_bits_come_in_the_order_of_the_circuits_bits(torino, one):
    """Two registers, filled crosswise, and a bit of no register."""
    a, b = ClassicalRegister(2, "a"), ClassicalRegister(1, "b")
    circuit = QuantumCircuit(QuantumRegister(torino.num_qubits, "q"), a, b)
    circuit.x(1)
    circuit.x(3)
    circuit.measure([1, 2, 3], [b[0], a[1], a[0]])
    rates = one(torino, circuit, 4000).mean(axis=0)

    assert [round(rate) for rate in rates] == [1, 0, 1]


def test_a_bit_that_nobody_writes_stays_zero(torino, one):
    circuit = QuantumCircuit(3, 3)
    circuit.x(0)
    circuit.measure(0, 2)

    assert not one(torino, circuit, 100)[:, :2].any()


def test_a_sweep_equals_its_bound_circuits(manila, isa, one, same_distribution):
    theta, phi = Parameter("theta"), Parameter("phi")
    circuit = QuantumCircuit(3)
    circuit.rx(theta, 0)
    circuit.cx(0, 1)
    circuit.rz(phi / 2 + 0.3, 1)
    circuit.ry(theta * phi, 1)
    circuit.cx(1, 2)
    circuit.rx(phi, 2)
    circuit.measure_all()
    circuit = isa(manila, circuit, [1, 2, 3])
    values = np.array([[0.1, 2.0], [1.2, -0.7], [3.0, 0.4]])
    swept = manila.sample([Experiment(circuit, values, SHOTS)], seed=1).bits[0]

    assert swept.shape == (3, SHOTS, 3)
    for row, bits in zip(values, swept, strict=True):
        bound = circuit.assign_parameters(dict(zip(circuit.parameters, row, strict=True)))
        same_distribution(bits, one(manila, bound, SHOTS, seed=5))


def test_sets_of_values_without_parameters_are_drawn_independently(torino, isa):
    circuit = isa(torino, ghz(2), [0, 1])
    bits = torino.sample([Experiment(circuit, np.zeros((3, 0)), 200)], seed=1).bits[0]

    assert bits.shape == (3, 200, 2)
    assert not np.array_equal(bits[0], bits[1])


def test_shots_are_not_sorted(torino, isa, one):
    """Counts expanded in order would put all zeros first; experiments on drifts would break."""
    bits = one(torino, isa(torino, ghz(EARLY_QUBITS), [0, 1, 2, 3, 4, 5, 6]), 2000)

    assert abs(bits[:1000].mean() - bits[1000:].mean()) < 0.1


def test_a_delay_relaxes_the_qubit(torino, one):
    t1, _ = torino.noise.coherence(10)
    circuit = QuantumCircuit(11, 1)
    circuit.x(10)
    circuit.delay(round(t1 / torino.dt), 10, unit="dt")
    circuit.measure(10, 0)
    p01, p10 = torino.noise.readout(10)
    excited = np.exp(-1)

    rate = one(torino, circuit, SHOTS).mean()
    assert rate == pytest.approx(excited * (1 - p10) + (1 - excited) * p01, abs=0.007)


def test_a_delay_between_gates_agrees_with_aer(manila, one, same_distribution, reference):
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.delay(30_000, 0, unit="ns")
    circuit.delay(20, 1, unit="us")
    circuit.cx(0, 1)
    circuit.sx(0)
    circuit.measure([0, 1], [0, 1])

    same_distribution(one(manila, circuit, SHOTS), reference(circuit, SHOTS))


def test_fractional_gates_turn_by_their_angles(fractional, one, reference):
    angle = 1.1
    circuit = QuantumCircuit(2, 2)
    circuit.rx(np.pi / 2, 0)
    circuit.rzz(angle, 0, 1)
    circuit.rz(np.pi / 2, 0)
    circuit.rx(np.pi / 2, 0)
    circuit.measure([0, 1], [0, 1])
    ideal = AerSimulator(max_parallel_threads=1)

    assert one(fractional, circuit, SHOTS).mean(axis=0) == pytest.approx(
        reference(circuit, SHOTS, simulator=ideal).mean(axis=0), abs=0.06
    )


def test_a_ghz_state_of_129_qubits_runs_exactly(torino):
    """It needs a few qubits at a time when each is measured as soon as nothing else needs it."""
    circuit, order = QuantumCircuit(torino.num_qubits), [0]
    hadamard(circuit, 0)
    for low in order:
        for (first, second), known in torino.target["cz"].items():
            if first == low and second not in order and known.error < 1:
                hadamard(circuit, second)
                circuit.cz(low, second)
                hadamard(circuit, second)
                order.append(second)
    circuit.measure_all()
    samples = torino.sample([Experiment(circuit, np.zeros((1, 0)), 1000)], seed=1)
    bits = samples.bits[0][0]
    first, second = order[:2]
    flips = [sum(torino.noise.readout(qubit)) / 2 for qubit in (first, second)]

    assert len(order) == 129  # the rest has no calibrated gate
    assert samples.metadata["noise"] == "exact"
    assert samples.metadata["max_component_qubits"] == 129
    assert 0.4 < bits[:, order].mean() < 0.6
    assert (bits[:, first] == bits[:, second]).mean() > 0.85 - sum(flips)


def hadamard(circuit: QuantumCircuit, qubit: int) -> None:
    circuit.rz(np.pi / 2, qubit)
    circuit.sx(qubit)
    circuit.rz(np.pi / 2, qubit)


def test_many_experiments_keep_their_order_and_shapes(torino, isa):
    small, large = isa(torino, ghz(2), [0, 1]), isa(torino, ghz(3), [4, 5, 6])
    samples = torino.sample(
        [
            Experiment(small, np.zeros((2, 0)), 10),
            Experiment(large, np.zeros((1, 0)), 20),
            Experiment(QuantumCircuit(2), np.zeros((1, 0)), 5),
        ],
        seed=1,
    )

    assert [bits.shape for bits in samples.bits] == [(2, 10, 2), (1, 20, 3), (1, 5, 0)]
    assert samples.metadata["method"] == "density_matrix"
