"""Variables, stores, and conditions on any bits of the circuit, in every program that samples."""

import json

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import IfElseOp, SwitchCaseOp
from qiskit.circuit.classical import expr, types
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from tests.programs.conftest import Perfect
from tests.programs.quantum_programs import seeded

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.errors import InvalidInput
from queuebit.programs import program

SEED = {"simulator": {"seed_simulator": 1}}


@pytest.fixture(scope="module")
def like_ibm() -> Device:
    """With IBM's limits of dynamic circuits, and without errors."""
    device = Device(BackendConfig(name="fake_torino", snapshot="torino"))
    device.noise = Perfect(device.target, device.snapshot)
    return device


def flip() -> QuantumCircuit:
    body = QuantumCircuit(1)
    body.x(0)
    return body


def started() -> tuple[QuantumCircuit, ClassicalRegister]:
    """A qubit in |1>, measured."""
    register = ClassicalRegister(2, "c")
    circuit = QuantumCircuit(QuantumRegister(3, "q"), register)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit, register


def kept_in_a_variable() -> QuantumCircuit:
    circuit, c = started()
    seen = circuit.add_var("seen", expr.lift(c[0]))
    circuit.reset(0)
    circuit.measure(0, 0)
    with circuit.if_test(expr.lift(seen)):
        circuit.x(1)
    circuit.measure(1, 1)
    circuit.store(c[0], seen)
    return circuit


def stored_into_a_bit() -> QuantumCircuit:
    circuit, c = started()
    circuit.store(c[1], expr.lift(c[0]))
    return circuit


def stored_over_a_measurement() -> QuantumCircuit:
    circuit, c = started()
    circuit.measure(1, 1)
    circuit.store(c[1], expr.lift(True))
    return circuit


def stored_into_a_register() -> QuantumCircuit:
    circuit, c = started()
    word = circuit.add_var("word", expr.lift(2, types.Uint(2)))
    circuit.store(c, expr.bit_or(c, word))
    return circuit


def stored_in_a_block() -> QuantumCircuit:
    circuit, c = started()
    seen = circuit.add_var("seen", expr.lift(False))
    with circuit.if_test((c[0], 1)):
        circuit.store(seen, True)
    circuit.store(c[1], seen)
    return circuit


def condition_on_other_bits() -> QuantumCircuit:
    circuit, c = started()
    circuit.append(IfElseOp((c[0], 1), flip()), [1], [])
    circuit.measure(1, 1)
    return circuit


def expression_on_other_bits() -> QuantumCircuit:
    circuit, c = started()
    circuit.append(IfElseOp(expr.equal(c, 1), flip()), [1], [])
    circuit.measure(1, 1)
    return circuit


CIRCUITS = [
    kept_in_a_variable,
    stored_into_a_bit,
    stored_over_a_measurement,
    stored_into_a_register,
    stored_in_a_block,
    condition_on_other_bits,
    expression_on_other_bits,
]


@pytest.mark.parametrize("make", CIRCUITS)
def test_the_sampler_runs_it(make, run, like_ibm):
    (pub,) = run("sampler", like_ibm, [(make(), None, 1000)], SEED)

    assert pub.data.c.to_bool_array().all()


def test_a_switch_on_other_bits_runs(run, perfect):
    circuit, c = started()
    circuit.append(SwitchCaseOp(c, [(1, flip())]), [1], [])
    circuit.measure(1, 1)

    (pub,) = run("sampler", perfect, [(circuit, None, 1000)], SEED)

    assert pub.data.c.to_bool_array().all()


@pytest.mark.parametrize("make", CIRCUITS)
def test_flips_of_measurements_leave_it_alone(make, run, like_ibm):
    options = {**SEED, "twirling": {"enable_measure": True}}

    (pub,) = run("sampler", like_ibm, [(make(), None, 1000)], options)

    assert pub.data.c.to_bool_array().all()


@pytest.mark.parametrize("make", CIRCUITS)
def test_the_executor_runs_it(make, run_bytes, like_ibm):
    made = QuantumProgram(shots=1000)
    made.append_circuit_item(make())

    text = run_bytes("executor", json.dumps(seeded(made, 1)).encode(), like_ibm)

    (item,) = ExecutorResultDecoder.decode(text.decode())
    assert item["c"].all()


def test_stores_are_not_twirled(encode, like_ibm):
    params = encode([(stored_into_a_bit(),)], {"twirling": {"enable_gates": True}})

    with pytest.raises(InvalidInput, match="dynamic circuits"):
        program.validate("sampler", params, like_ibm)


def test_inputs_are_refused_by_name(encode, like_ibm):
    circuit, _ = started()
    circuit.add_input("level", types.Uint(3))

    with pytest.raises(InvalidInput, match=r"has classical inputs \('level'\)"):
        program.validate("sampler", encode([(circuit,)]), like_ibm)


def test_a_message_names_a_few_qubits(encode, like_ibm):
    circuit = QuantumCircuit(133, 1)
    with circuit.for_loop(range(2)):
        circuit.barrier(range(133))
        circuit.x(0)

    with pytest.raises(InvalidInput) as refusal:
        program.validate("sampler", encode([(circuit,)]), like_ibm)

    assert "(0, 1, 2, 3, 4, ...; 133 in all)" in refusal.value.message


def test_the_estimator_runs_it_where_limits_are_lifted(run, perfect):
    circuit, c = started()
    seen = circuit.add_var("seen", expr.lift(c[0]))
    with circuit.if_test(expr.lift(seen)):
        circuit.x(1)

    (pub,) = run("estimator", perfect, [(circuit, ["IIZ", "IZI", "IZZ", "ZII"])], SEED)

    assert pub.data.evs == pytest.approx([-1, -1, 1, 1])
