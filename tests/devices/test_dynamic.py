"""Circuits that measure, decide and go on."""

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr, types

from queuebit.devices.device import Experiment
from queuebit.errors import InvalidInput

SHOTS = 60_000


def h(circuit: QuantumCircuit, qubit: int) -> None:
    circuit.rz(np.pi / 2, qubit)
    circuit.sx(qubit)
    circuit.rz(np.pi / 2, qubit)


def teleport() -> QuantumCircuit:
    circuit = QuantumCircuit(
        QuantumRegister(3, "q"), ClassicalRegister(2, "m"), ClassicalRegister(1, "out")
    )
    circuit.sx(0)
    circuit.rz(0.4, 0)
    circuit.sx(0)
    h(circuit, 1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    h(circuit, 0)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[1], 1)):
        circuit.x(2)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.rz(np.pi, 2)
    with otherwise:
        circuit.id(2)
    circuit.measure(2, 2)
    return circuit


def test_teleportation_agrees_with_aer(manila, one, same_distribution, reference):
    circuit = teleport()

    same_distribution(one(manila, circuit, SHOTS), reference(circuit))


def test_a_measured_qubit_that_goes_on_agrees_with_aer(manila, one, same_distribution, reference):
    """Repeated measurement of one half of an entangled pair, then a rotation of it."""
    circuit = QuantumCircuit(2, 4)
    h(circuit, 0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    circuit.measure(0, 1)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [2, 3])

    same_distribution(one(manila, circuit, SHOTS), reference(circuit))


def test_what_one_half_of_a_pair_showed_binds_the_other(manila, one):
    """The measured half goes on and is never looked at again."""
    circuit = QuantumCircuit(2, 2)
    h(circuit, 0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    circuit.x(0)
    circuit.measure(1, 1)
    bits = one(manila, circuit, SHOTS)

    assert (bits[:, 0] == bits[:, 1]).mean() > 0.85


def test_a_reset_agrees_with_aer(manila, one, same_distribution, reference):
    circuit = QuantumCircuit(2, 2)
    h(circuit, 0)
    circuit.cx(0, 1)
    circuit.reset(0)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])

    same_distribution(one(manila, circuit, SHOTS), reference(circuit))


def test_two_measurements_into_one_bit_keep_the_later(torino, one):
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.measure(1, 0)

    p01, _ = torino.noise.readout(1)
    assert one(torino, circuit, SHOTS).mean() == pytest.approx(p01, abs=0.01)


def test_loops_and_switches_agree_with_aer(manila, one, same_distribution, reference):
    theta = Parameter("theta")
    register = ClassicalRegister(2, "c")
    circuit = QuantumCircuit(QuantumRegister(2, "q"), register, ClassicalRegister(1, "d"))
    with circuit.for_loop(range(3), theta):
        circuit.sx(0)
        circuit.rz(theta, 0)
        circuit.cx(0, 1)
    circuit.measure([0, 1], register)
    with circuit.switch(register) as case:
        with case(0):
            circuit.x(0)
        with case(1, 2):
            circuit.sx(0)
        with case(case.DEFAULT):
            circuit.cx(0, 1)
    circuit.measure(0, 2)

    same_distribution(one(manila, circuit, SHOTS), reference(circuit))


def test_a_while_loop_runs_until_its_condition_fails(manila, one, same_distribution, reference):
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.sx(0)
        circuit.x(1)
        circuit.measure(0, 0)
    circuit.measure(1, 1)
    bits = one(manila, circuit, SHOTS)

    assert not bits[:, 0].any()
    same_distribution(bits, reference(circuit))


def test_an_endless_while_loop_is_refused(torino, monkeypatch):
    monkeypatch.setattr("queuebit.devices.control.LOOP_TURNS", 10)
    circuit = QuantumCircuit(1, 1)
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.x(0)
    circuit.measure(0, 0)

    with pytest.raises(InvalidInput, match="did not end after 10 rounds"):
        torino.sample([Experiment(circuit, np.zeros((1, 0)), 10)], seed=1)


def test_variables_count_what_was_measured(torino, one):
    """Three flips, each measured; a variable sums them up and decides about the last qubit."""
    circuit = QuantumCircuit(4, 4)
    total = circuit.add_var("total", expr.lift(0, types.Uint(3)))
    for qubit in (0, 1):
        circuit.x(qubit)
    for qubit in (0, 1, 2):
        circuit.measure(qubit, qubit)
        with circuit.if_test((circuit.clbits[qubit], 1)):
            circuit.store(total, expr.add(total, expr.lift(1, types.Uint(3))))
    with circuit.if_test(expr.equal(total, expr.lift(2, types.Uint(3)))):
        circuit.x(3)
    circuit.measure(3, 3)
    bits = one(torino, circuit, SHOTS)

    two = bits[:, :3].sum(axis=1) == 2
    p01, p10 = torino.noise.readout(3)
    assert bits[two, 3].mean() == pytest.approx(1 - p10, abs=0.01)
    assert bits[~two, 3].mean() == pytest.approx(p01, abs=0.02)


def test_expressions_on_registers_decide(torino, one):
    a, b = ClassicalRegister(2, "a"), ClassicalRegister(2, "b")
    circuit = QuantumCircuit(QuantumRegister(5, "q"), a, b, ClassicalRegister(1, "out"))
    circuit.x(1)
    circuit.x(2)
    circuit.measure([0, 1], a)
    circuit.measure([2, 3], b)
    with circuit.if_test(expr.logic_and(expr.greater(a, b), expr.logic_not(b[1]))):
        circuit.x(4)
    circuit.measure(4, 4)
    bits = one(torino, circuit, SHOTS)

    larger = (bits[:, 0] + 2 * bits[:, 1] > bits[:, 2] + 2 * bits[:, 3]) & ~bits[:, 3]
    p01, p10 = torino.noise.readout(4)
    assert bits[larger, 4].mean() == pytest.approx(1 - p10, abs=0.01)
    assert bits[~larger, 4].mean() == pytest.approx(p01, abs=0.02)


def test_parameters_reach_into_branches(torino):
    theta = Parameter("theta")
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.sx(1)
        circuit.rz(theta, 1)
        circuit.sx(1)
    circuit.measure(1, 1)
    values = np.array([[0.0], [np.pi]])
    bits = torino.sample([Experiment(circuit, values, 4000)], seed=1).bits[0]
    taken = [rows[rows[:, 0], 1].mean() for rows in bits]

    assert taken[0] > 0.9  # sx sx is x
    assert taken[1] < 0.1  # with z between them they cancel


def test_qubits_beside_a_dynamic_part_stay_independent(torino, one):
    """133 measured qubits, one condition: only what it touches is simulated with it."""
    circuit = QuantumCircuit(torino.num_qubits, torino.num_qubits)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(range(1, torino.num_qubits), range(1, torino.num_qubits))
    bits = one(torino, circuit, 4000)

    assert bits.shape == (4000, torino.num_qubits)
    assert bits[:, 1].mean() > 0.5
    assert bits[:, 2:].mean() < 0.1
