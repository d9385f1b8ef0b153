"""The reference against results that are known in closed form."""

import math

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Duration, Parameter
from qiskit.circuit.classical import expr, types
from qiskit.quantum_info import SparsePauliOp, Statevector, average_gate_fidelity
from qiskit.quantum_info.operators import SuperOp
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from tests.reference.expressions import Memory
from tests.reference.interpreter import Interpreter, _Scope
from tests.reference.noise import Noise

PROPERTIES = FakeManilaV2().properties()
DT = FakeManilaV2().dt


def ideal() -> Interpreter:
    return Interpreter(Noise(PROPERTIES, "none", "none"), DT)


def noisy(methods="exact", readout="biased") -> Interpreter:
    return Interpreter(Noise(PROPERTIES, methods, readout), DT)


def bits(text: str) -> tuple[bool, ...]:
    """Of a bitstring as Qiskit prints it: the last bit first."""
    return tuple(one == "1" for one in text)[::-1]


def h(circuit: QuantumCircuit, qubit: int) -> None:
    circuit.rz(math.pi / 2, qubit)
    circuit.sx(qubit)
    circuit.rz(math.pi / 2, qubit)


def test_a_bell_state_is_half_00_and_half_11():
    circuit = QuantumCircuit(2, 2)
    h(circuit, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])

    assert ideal().probabilities(circuit) == pytest.approx({bits("00"): 0.5, bits("11"): 0.5})


@pytest.mark.parametrize("seed", range(3))
def test_without_noise_a_static_circuit_is_its_state_vector(seed):
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(3)
    for _ in range(15):
        first, second = rng.choice(3, 2, replace=False).tolist()
        circuit.rz(rng.normal(), first)
        circuit.sx(first)
        circuit.rzz(rng.normal(), second, first)
        circuit.cx(first, second)
        circuit.ecr(second, first)
    vector = Statevector(circuit)
    observable = SparsePauliOp(["XYZ", "IZI", "ZXI"], [0.4, -1.0, 2.0])
    value = ideal().expectation(circuit, observable)
    measured = circuit.copy()
    measured.measure_all()
    found = ideal().probabilities(measured)

    assert [found[bits(f"{at:03b}")] for at in range(8)] == pytest.approx(vector.probabilities())
    assert value == pytest.approx(vector.expectation_value(observable).real)


def test_teleportation_moves_a_state():
    circuit = QuantumCircuit(3, 3)
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
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.rz(math.pi, 2)
    circuit.measure(2, 2)
    found = ideal().probabilities(circuit)

    # sx rz(a) sx takes |0> to |1> with chance cos(a / 2) ** 2.
    one = sum(chance for outcome, chance in found.items() if outcome[2])
    assert one == pytest.approx(math.cos(0.2) ** 2)
    assert sum(found[bits(f"0{m:02b}")] for m in range(4)) == pytest.approx(1 - one)


def test_a_delay_decays_by_t1_and_dephases_by_t2():
    qubit = 1
    t1 = FakeManilaV2().properties().t1(qubit)
    t2 = FakeManilaV2().properties().t2(qubit)
    excited = QuantumCircuit(2, 1)
    excited.x(qubit)
    excited.delay(t1 * 1e6, qubit, "us")
    plus = QuantumCircuit(2, 1)
    h(plus, qubit)
    plus.delay(round(t2 / DT), qubit, "dt")
    unread = noisy(readout="none")
    clean_x = QuantumCircuit(2, 1)
    clean_x.x(qubit)
    start = (1 - unread.expectation(clean_x, SparsePauliOp("ZI"))) / 2
    clean_h = QuantumCircuit(2, 1)
    h(clean_h, qubit)

    # e ** -1 of what there was at the start.
    left = (1 - unread.expectation(excited, SparsePauliOp("ZI"))) / 2
    assert left == pytest.approx(start / math.e)
    coherent = unread.expectation(plus, SparsePauliOp("XI"))
    assert coherent == pytest.approx(
        unread.expectation(clean_h, SparsePauliOp("XI")) / math.e, rel=1e-4
    )


@pytest.mark.parametrize(
    ("name", "qubits"), [("cx", (1, 2)), ("cx", (2, 1)), ("sx", (0,)), ("x", (3,))]
)
@pytest.mark.parametrize("methods", ["exact", "trajectories"])
def test_a_gate_is_as_wrong_as_it_is_reported_or_as_relaxation_makes_it(name, qubits, methods):
    properties = FakeManilaV2().properties()
    circuit = QuantumCircuit(len(qubits))
    getattr(circuit, name)(*range(len(qubits)))
    gate = circuit.data[0].operation
    channel = noisy(methods)._gate(gate, qubits, _Scope({}, {}, {}))
    infidelity = 1 - average_gate_fidelity(_in_qiskits_order(channel), gate)

    relaxation = 1.0
    for qubit in qubits:
        seconds = properties.gate_length(name, list(qubits))
        t1, t2 = properties.t1(qubit), min(properties.t2(qubit), 2 * properties.t1(qubit))
        relaxation *= (1 + math.exp(-seconds / t1) + 2 * math.exp(-seconds / t2)) / 4
    side = 2 ** len(qubits)
    least = 1 - (side * relaxation + 1) / (side + 1)
    wanted = max(least, properties.gate_error(name, list(qubits)))
    assert infidelity == pytest.approx(wanted, rel=1e-6)
    assert (infidelity > 1.01 * properties.gate_error(name, list(qubits))) == (name != "cx")


def _in_qiskits_order(channel: np.ndarray) -> SuperOp:
    """SuperOp stacks the columns of a matrix where we stack its rows."""
    side = round(channel.shape[0] ** 0.5)
    turned = channel.reshape(side, side, side, side).transpose(1, 0, 3, 2)
    return SuperOp(turned.reshape(side**2, side**2))


def test_a_twirled_error_is_the_diagonal_of_the_exact_one():
    noise = Noise(PROPERTIES)
    paulis = [SparsePauliOp(name).to_matrix().ravel() for name in "IXYZ"]
    exact = noise.relaxation(0, 3e-5, twirled=False)
    twirled = noise.relaxation(0, 3e-5, twirled=True)
    transfer = np.array([[(a.conj() @ twirled @ b).real / 2 for b in paulis] for a in paulis])
    wanted = np.array([[(a.conj() @ exact @ b).real / 2 for b in paulis] for a in paulis])

    assert transfer == pytest.approx(np.diag(np.diag(wanted)), abs=1e-12)
    assert wanted[3, 0] > 0.1  # what twirling loses


def test_the_second_measurement_of_a_qubit_has_an_error_of_its_own():
    circuit = QuantumCircuit(1, 2)
    circuit.measure([0, 0], [0, 1])
    p = FakeManilaV2().properties().qubit_property(0, "prob_meas1_prep0")[0]

    assert noisy().probabilities(circuit) == pytest.approx(
        {
            bits("00"): (1 - p) ** 2,
            bits("01"): (1 - p) * p,
            bits("10"): (1 - p) * p,
            bits("11"): p**2,
        }
    )


def test_the_later_measurement_into_a_bit_stays_and_a_reset_is_perfect():
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.measure(1, 0)
    circuit.reset(0)
    circuit.measure(0, 1)

    assert ideal().probabilities(circuit) == pytest.approx({bits("00"): 1})


def test_a_while_loop_ends_with_its_condition():
    """A fair coin until it shows 0: how many rounds it took is geometric, modulo 4."""
    circuit = QuantumCircuit(1, 1)
    count = circuit.add_var("count", expr.lift(0, types.Uint(2)))
    register = ClassicalRegister(2, "n")
    circuit.add_register(register)
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.store(count, expr.add(count, expr.lift(1, types.Uint(2))))
        circuit.reset(0)
        circuit.sx(0)
        circuit.measure(0, 0)
    circuit.store(register, count)
    found = ideal().probabilities(circuit)

    first = 0.5 / (1 - 2**-4)
    assert found == pytest.approx({bits(f"{n:02b}0"): first * 2.0**-n for n in range(4)})


def test_loops_switches_and_blocks_on_other_bits():
    theta = Parameter("theta")
    circuit = QuantumCircuit(2, 3)
    with circuit.for_loop((1, 3, 1), theta):  # 5 quarter turns in all, sx before and after
        circuit.rz(theta * math.pi / 2, 0)
    circuit.x(0)
    body = QuantumCircuit(QuantumRegister(1), ClassicalRegister(2, "b"))
    body.measure(0, 1)
    with body.if_test((body.cregs[0], 2)):
        body.x(0)
    circuit.if_else((circuit.clbits[0], 0), body, None, [0], [2, 1])  # b[1] is bit 1
    with circuit.switch(expr.lift(circuit.clbits[1])) as case:
        with case(0):
            circuit.x(1)
        with case(case.DEFAULT):
            circuit.measure(0, 2)
    circuit.measure(1, 0)

    assert ideal().probabilities(circuit) == pytest.approx({bits("010"): 1})


def test_a_sweep_binds_parameters_in_the_circuits_order():
    b, a = Parameter("b"), Parameter("a")
    circuit = QuantumCircuit(1, 1)
    circuit.sx(0)
    circuit.rz(b - 2 * a, 0)
    circuit.sx(0)
    circuit.measure(0, 0)

    found = ideal().probabilities(circuit, [math.pi / 2, math.pi])  # a, then b
    assert found == pytest.approx({bits("1"): 1})


def test_readout_of_an_observable_is_biased_or_twirled():
    properties = FakeManilaV2().properties()
    p = properties.qubit_property(2, "prob_meas1_prep0")[0]
    q = properties.qubit_property(2, "prob_meas0_prep1")[0]
    circuit = QuantumCircuit(3)
    measured = QuantumCircuit(3, 1)
    measured.measure(2, 0)
    chances = noisy().probabilities(measured)
    observable = SparsePauliOp("ZII")

    biased = noisy().expectation(circuit, observable)
    assert biased == pytest.approx(chances[bits("0")] - chances[bits("1")])
    assert biased == pytest.approx(1 - 2 * p)
    assert noisy(readout="twirled").expectation(circuit, observable) == pytest.approx(1 - p - q)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda r, v: expr.add(r, 7), 4),  # 5 + 7 in three bits
        (lambda r, v: expr.sub(r, 6), 7),
        (lambda r, v: expr.mul(r, 3), 7),
        (lambda r, v: expr.div(r, 2), 2),
        (lambda r, v: expr.bit_not(r), 2),
        (lambda r, v: expr.bit_xor(r, 1), 4),
        (lambda r, v: expr.shift_left(r, 1), 2),
        (lambda r, v: expr.shift_left(r, expr.lift(9, types.Uint(4))), 0),
        (lambda r, v: expr.shift_right(r, 2), 1),
        (expr.add, 5 + 200),  # widened to the variable's 8 bits
        (lambda r, v: expr.cast(v, types.Uint(3)), 0),  # 200 is 0b11001000
        (lambda r, v: expr.cast(r, types.Bool()), True),
        (lambda r, v: expr.cast(expr.index(r, 2), types.Uint(3)), 1),
        (lambda r, v: expr.index(r, 1), False),
        (lambda r, v: expr.index(v, expr.lift(7, types.Uint(4))), True),
        (lambda r, v: expr.logic_not(r), False),
        (lambda r, v: expr.logic_and(r, expr.less(r, v)), True),
        (lambda r, v: expr.not_equal(r, 5), False),
        (lambda r, v: expr.greater_equal(expr.sub(r, 6), r), True),
        (lambda r, v: expr.div(expr.cast(r, types.Float()), 2.0), 2.5),
        (lambda r, v: expr.negate(expr.lift(0.5)), -0.5),
        (lambda r, v: expr.cast(expr.lift(3.75), types.Uint(2)), 3),
        (lambda r, v: expr.less(Duration.ns(10), Duration.us(1)), True),
        (lambda r, v: expr.div(Duration.us(3), Duration.ns(1500)), 2.0),
        (lambda r, v: expr.mul(Duration.dt(2), 3), 6 * DT),
    ],
)
def test_expressions_have_the_value_of_their_type(make, wanted):
    register = ClassicalRegister(3, "r")
    variable = expr.Var.new("v", types.Uint(8))
    memory = Memory(
        (True, False, True), {variable: 200}, {bit: at for at, bit in enumerate(register)}, DT
    )
    found = memory.value(make(register, variable))

    assert found == pytest.approx(wanted)
    assert isinstance(found, bool) == isinstance(wanted, bool)


def test_stores_write_bits_registers_variables_and_single_bits_of_them():
    register = ClassicalRegister(3, "r")
    variable = expr.Var.new("v", types.Uint(8))
    memory = Memory((False,) * 3, {variable: 0}, {bit: at for at, bit in enumerate(register)}, DT)
    memory.store(expr.lift(register), 6)
    memory.store(expr.lift(register[0]), True)
    memory.store(expr.index(register, 2), False)
    memory.store(expr.index(variable, 5), True)

    assert memory.bits == [True, True, False]
    assert memory.variables == {variable: 32}
