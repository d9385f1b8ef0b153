"""Circuits that decide, shot by shot, against the exact state with the same twirled noise."""

import itertools

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Duration, IfElseOp, Instruction, Parameter
from qiskit.circuit.classical import expr, types

from queuebit.devices.device import Experiment

STATEVECTOR = pytest.mark.parametrize("forced", ["statevector"], indirect=True)


def measured(decide) -> QuantumCircuit:
    """Three entangled qubits, measured into m; what `decide` adds; measured again into o."""
    m, o = ClassicalRegister(3, "m"), ClassicalRegister(3, "o")
    circuit = QuantumCircuit(QuantumRegister(5, "q"), m, o)
    for qubit in range(3):
        circuit.sx(qubit)
        circuit.rz(0.7, qubit)
        circuit.sx(qubit)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure([0, 1, 2], m)
    decide(circuit, m)
    circuit.measure([0, 1, 2], o)
    return circuit


CONDITIONS = {
    "bit is 1": lambda m: (m[0], 1),
    "bit is 0": lambda m: (m[1], 0),
    "register is 5": lambda m: (m, 5),
    "not bit": lambda m: expr.logic_not(m[0]),
    "not register": expr.logic_not,
    "register as Bool": lambda m: expr.cast(m, types.Bool()),
    "register and bit": lambda m: expr.logic_and(m, m[0]),
    "register or bit": lambda m: expr.logic_or(expr.bit_and(m, 6), m[0]),
    "nested casts": lambda m: expr.cast(expr.cast(m, types.Uint(2)), types.Bool()),
    "bits differ": lambda m: expr.bit_xor(m[0], m[1]),
    "below": lambda m: expr.less(m, 5),
    "inverted": lambda m: expr.equal(expr.bit_not(m), 5),
    "index": lambda m: expr.index(m, 1),
    "index by another": lambda m: expr.index(m, expr.bit_and(m, 1)),
    "shifted right": lambda m: expr.equal(expr.shift_right(m, 1), 1),
    "shifted left": lambda m: expr.equal(expr.shift_left(m, 1), 2),
    "added": lambda m: expr.equal(expr.add(m, 1), 4),
    "subtracted": lambda m: expr.less(expr.sub(m, 1), 3),
    "multiplied": lambda m: expr.equal(expr.mul(m, 3), 1),
    "divided": lambda m: expr.equal(expr.div(m, 2), 1),
    "divided by zero": lambda m: expr.equal(expr.div(7, expr.bit_and(m, 1)), 7),
    "widened": lambda m: expr.less(expr.add(expr.cast(m, types.Uint(8)), 200), 203),
    "as Float": lambda m: expr.less(expr.cast(m, types.Float()), 2.5),
    "duration": lambda m: expr.less(Duration.dt(10), Duration.us(1)),
}


@STATEVECTOR
@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_hold_as_in_exact_states(condition, twirled, one, forced, same_distribution):
    def decide(circuit, m):
        with circuit.if_test(condition(m)) as otherwise:
            circuit.x(0)
        with otherwise:
            circuit.x(2)

    circuit = measured(decide)
    exact = one(twirled, circuit, 20_000)
    forced()

    same_distribution(one(twirled, circuit, 1500), exact)


def switched(target):
    def decide(circuit, m):
        with circuit.switch(target(m)) as case:
            with case(0):
                circuit.x(0)
            with case(1, 2):
                circuit.x(1)
            with case(case.DEFAULT):
                circuit.x(2)

    return decide


def switched_bit(circuit, m):
    with circuit.switch(m[1]) as case, case(1):
        circuit.x(1)


def looped(indices, angle=lambda turn: turn, *, used=True):
    def decide(circuit, _):
        turn = Parameter("turn")
        with circuit.for_loop(indices, turn):
            circuit.sx(0)
            if used:
                circuit.rz(angle(turn), 0)
            circuit.sx(0)

    return decide


def nested(circuit, m):
    outer, inner = Parameter("outer"), Parameter("inner")
    with circuit.for_loop((0, 0, 2), outer):
        circuit.sx(1)
        circuit.measure(1, m[1])
        with circuit.if_test((m[1], 1)):
            with circuit.for_loop(range(2), inner):
                circuit.rz(outer * 0.3 + inner, 2)
                circuit.sx(2)
            circuit.measure(2, m[2])
            with circuit.while_loop(expr.lift(m[2])):
                circuit.sx(2)
                circuit.measure(2, m[2])


def delayed(circuit, m):
    with circuit.if_test((m[0], 1)):
        circuit.delay(160_000, 2, "dt")
    circuit.delay(expr.add(Duration.us(10), Duration.dt(4500)), 1)
    circuit.reset(0)


def counted(circuit, m):
    """A variable of a block, one that is captured in it, and one that nothing was stored in."""
    total = circuit.add_var("total", expr.lift(0, types.Uint(2)))
    never = expr.Var.new("never", types.Uint(2))
    circuit.add_uninitialized_var(never)
    for bit in m:
        with circuit.if_test((bit, 1)):
            more = circuit.add_var("more", expr.add(total, 1))
            circuit.store(total, more)
    with circuit.if_test(expr.equal(expr.bit_or(total, never), 2)):
        circuit.x(0)


def stored(circuit, m):
    """Into a bit, one bit of a variable, a register."""
    word = circuit.add_var("word", expr.lift(5, types.Uint(3)))
    circuit.store(expr.index(word, 1), m[0])
    circuit.store(m[2], expr.logic_not(m[0]))
    circuit.store(m, expr.bit_xor(m, word))
    with circuit.if_test(expr.lift(m[1])):
        circuit.x(1)


def counting_loop(circuit, m):
    """A loop whose variable is a classical one."""
    body = QuantumCircuit(circuit.qubits, m)
    at = body.add_input("at", types.Uint(2))
    with body.if_test(expr.equal(at, m)):
        body.x(0)
    circuit.for_loop(range(3), at, body, circuit.qubits, m)


def without_bits(circuit, m):
    """A condition on bits that are not among the instruction's own."""
    body = QuantumCircuit(1)
    body.x(0)
    circuit.append(IfElseOp((m[0], 1), body), [1], [])
    circuit.append(IfElseOp(expr.less(m, 3), body), [2], [])


BODIES = {
    "switch over a register": switched(lambda m: m),
    "switch over an expression": switched(lambda m: expr.bit_not(expr.bit_and(m, 3))),
    "switch over a sum": switched(lambda m: expr.add(m, 6)),
    "switch over a bit": switched_bit,
    "loop": looped(range(3)),
    "loop over repeated values": looped((3, -1, 3)),
    "loop with an expression": looped(range(3), lambda turn: 0.37 * turn),
    "loop with an unused parameter": looped((0, 0), used=False),
    "loops and conditions inside each other": nested,
    "delays and resets": delayed,
    "variables": counted,
    "stores": stored,
    "loop with a variable": counting_loop,
    "condition on other bits": without_bits,
}


@STATEVECTOR
@pytest.mark.parametrize("decide", BODIES.values(), ids=BODIES)
def test_control_flow_goes_as_in_exact_states(decide, twirled, one, forced, same_distribution):
    circuit = measured(decide)
    exact = one(twirled, circuit, 20_000)
    forced()

    same_distribution(one(twirled, circuit, 1200), exact)


@pytest.mark.parametrize("forced", ["matrix_product_state"], indirect=True)
@pytest.mark.parametrize("decide", [nested, delayed])
def test_chains_go_the_same_way(decide, twirled, one, forced, same_distribution):
    circuit = measured(decide)
    exact = one(twirled, circuit, 20_000)
    forced()

    same_distribution(one(twirled, circuit, 1200), exact)


def test_rows_keep_their_bits_and_delays(twirled, forced, same_distribution):
    """A sweep of a delay and of an angle in a branch; three shots at a time."""
    span, angle = Parameter("span"), Parameter("angle")
    circuit = QuantumCircuit(2, 3)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.sx(1)
        circuit.rz(angle.abs(), 1)
        circuit.sx(1)
    circuit.delay(2 * span, 1, "us")
    circuit.measure([0, 1], [1, 2])
    rows = np.array(list(itertools.product([-0.4, np.pi], [0.0, 60.0])))
    exact = twirled.sample([Experiment(circuit, rows, 20_000)], seed=1).bits[0]
    forced()
    found = twirled.sample([Experiment(circuit, rows, 1000)], seed=2).bits[0]

    for ours, theirs in zip(found, exact, strict=True):
        same_distribution(ours, theirs)


def test_a_delay_may_be_swept_without_a_decision(twirled, forced):
    span = Parameter("span")
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.cx(0, 1)
    circuit.delay(span, 0, "us")
    circuit.measure([0, 1], [0, 1])
    values = np.array([[0.0], [500.0], [0.0]])
    forced()
    (bits,) = twirled.sample([Experiment(circuit, values, 400)], seed=1).bits

    assert bits[..., 0].mean(axis=1) == pytest.approx([0.95, 0.1, 0.95], abs=0.12)


def test_same_seed_same_bits(twirled, one, forced):
    circuit = measured(nested)
    forced()

    assert np.array_equal(one(twirled, circuit, 50), one(twirled, circuit, 50))


@pytest.mark.parametrize("decides", [False, True])
def test_the_devices_own_measurement_has_its_own_errors(boston, one, forced, decides):
    """measure_2 and measure on one qubit, and a bit that is measured twice."""

    def difference(qubit: int) -> float:
        return abs(boston.noise.readout(qubit)[0] - boston.noise.readout(qubit, "measure_2")[0])

    qubit = max(range(boston.num_qubits), key=difference)
    again = Instruction("measure_2", 1, 1, [])
    circuit = QuantumCircuit(boston.num_qubits, 3)
    circuit.measure(qubit, 0)
    circuit.measure(qubit, 1)
    circuit.append(again, [qubit], [2])
    circuit.append(again, [qubit], [0])
    if decides:
        with circuit.if_test((circuit.clbits[2], 1)):
            circuit.append(Instruction("reset_2", 1, 0, []), [qubit], [])
    forced()
    rates = one(boston, circuit, 6000, seed=8).mean(axis=0)
    plain, own = boston.noise.readout(qubit)[0], boston.noise.readout(qubit, "measure_2")[0]

    assert rates == pytest.approx([own, plain, own], abs=0.02)
    assert abs(plain - own) > 0.03
