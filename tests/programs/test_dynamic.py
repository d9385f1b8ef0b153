"""IBM's limits of dynamic circuits, which a backend has unless its operator lifts them."""

import json
from collections.abc import Callable

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr

from queuebit.config import BackendConfig, Config, MockConfig
from queuebit.devices.device import Device
from queuebit.devices.mock import Mock
from queuebit.devices.snapshot import Snapshot
from queuebit.errors import InvalidInput
from queuebit.programs import program


@pytest.fixture(scope="module")
def like_ibm() -> Device:
    return Device(BackendConfig(name="fake_torino", snapshot="torino"))


def started(bits: int = 2) -> tuple[QuantumCircuit, ClassicalRegister]:
    register = ClassicalRegister(bits, "c")
    circuit = QuantumCircuit(QuantumRegister(3, "q"), register)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit, register


def nested() -> QuantumCircuit:
    circuit, c = started()
    with circuit.if_test((c, 1)), circuit.if_test((c[0], 1)):
        circuit.x(1)
    return circuit


def nested_in_else() -> QuantumCircuit:
    circuit, c = started()
    with circuit.if_test((c, 0)) as otherwise:
        circuit.x(1)
    with otherwise, circuit.if_test((c, 1)):
        circuit.x(1)
    return circuit


def measured_inside() -> QuantumCircuit:
    circuit, c = started()
    with circuit.if_test((c, 1)):
        circuit.measure(1, 1)
    return circuit


def measured_in_else() -> QuantumCircuit:
    circuit, c = started()
    with circuit.if_test((c, 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.measure(1, 1)
    return circuit


def reset_inside() -> QuantumCircuit:
    circuit, c = started()
    with circuit.if_test((c, 1)):
        circuit.reset(1)
    return circuit


def wide(bits: int = 33) -> QuantumCircuit:
    circuit, c = started(bits)
    with circuit.if_test((c, 1)):
        circuit.x(1)
    return circuit


def wide_expression() -> QuantumCircuit:
    circuit, c = started(50)
    with circuit.if_test(expr.less(c, 15)):
        circuit.x(1)
    return circuit


def arithmetic() -> QuantumCircuit:
    circuit, c = started()
    with circuit.if_test(expr.equal(expr.add(c, 1), 2)):
        circuit.x(1)
    return circuit


def looped() -> QuantumCircuit:
    circuit, _ = started()
    with circuit.for_loop(range(3)):
        circuit.x(1)
    return circuit


def whiled() -> QuantumCircuit:
    circuit, c = started()
    with circuit.while_loop((c, 0)):
        circuit.x(1)
    return circuit


def switched() -> QuantumCircuit:
    circuit, c = started()
    with circuit.switch(c) as case, case(1):
        circuit.x(1)
    return circuit


BROKEN = {
    nested: "PUB 0: nested conditionals are not allowed.",
    nested_in_else: "PUB 0: nested conditionals are not allowed.",
    measured_inside: "PUB 0: having 'measure' inside a conditional is not supported.",
    measured_in_else: "PUB 0: having 'measure' inside a conditional is not supported.",
    reset_inside: "PUB 0: having 'reset' inside a conditional is not supported.",
    wide: "PUB 0: a condition on 33 bits; the operand used in an if_test statement must be 32 or",
    wide_expression: "PUB 0: a condition on 50 bits; the operand used in an if_test statement must",
    arithmetic: "PUB 0: arithmetic operations are not supported.",
    looped: "PUB 0: The instruction for_loop on qubits (1,) is not supported by the target system.",
    whiled: "PUB 0: The instruction while_loop on qubits (1,) is not supported by the target",
    switched: "PUB 0: The instruction switch_case on qubits (1,) is not supported by the target",
}
LOOPS = (looped, whiled, switched)


@pytest.mark.parametrize("made", BROKEN)
def test_what_ibms_qpus_do_not_take_is_refused(like_ibm, encode, made):
    for device in (like_ibm, Mock("mock_torino", like_ibm)):
        with pytest.raises(InvalidInput) as refusal:
            program.validate("sampler", encode([[made(), None, 10]]), device)

        assert refusal.value.code == 1517
        assert refusal.value.message.startswith(BROKEN[made])


@pytest.mark.parametrize("made", set(BROKEN) - {whiled})  # of which torino's snapshot knows nothing
def test_the_operator_can_lift_the_limits(torino, encode, made):
    program.validate("sampler", encode([[made(), None, 10]]), torino)


def one_bit_of_many() -> QuantumCircuit:
    circuit, c = started(50)
    with circuit.if_test((c[5], 1)):
        circuit.x(1)
    return circuit


def bit_of_many_in_an_expression() -> QuantumCircuit:
    circuit, c = started(50)
    with circuit.if_test(expr.index(c, 5)):
        circuit.x(1)
    return circuit


def expressed() -> QuantumCircuit:
    circuit, c = started()
    condition = expr.logic_or(expr.bit_xor(c[0], c[1]), expr.less(expr.bit_and(c, 3), 2))
    with circuit.if_test(condition) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.sx(1)
        circuit.delay(100, 2)
        circuit.barrier(1, 2)
    with circuit.if_test((c, 3)):
        circuit.cz(0, 1)
    circuit.reset(2)
    circuit.measure(1, 1)
    return circuit


@pytest.mark.parametrize(
    "made", [lambda: wide(32), one_bit_of_many, bit_of_many_in_an_expression, expressed]
)
def test_what_ibms_qpus_take_is_taken(like_ibm, encode, made: Callable[[], QuantumCircuit]):
    program.validate("sampler", encode([[made(), None, 10]]), like_ibm)


def test_the_estimator_takes_no_dynamic_circuit(like_ibm, torino, encode):
    circuit, c = started()
    with circuit.if_test((c, 1)):
        circuit.x(1)
    params = encode([[circuit, "IIZ"]], resilience_level=0)

    with pytest.raises(InvalidInput) as refusal:
        program.validate("estimator", params, like_ibm)
    assert refusal.value.message == "PUB 0: Estimator does not support dynamic circuits."
    program.validate("estimator", params, torino)


def test_clients_are_told_of_what_there_is():
    told = {
        limits: Snapshot(BackendConfig(name="t", snapshot="torino", dynamic_circuits=limits))
        for limits in ("ibm", "all")
    }
    without, all_of_them = (
        set(one.configuration["supported_instructions"]) for one in told.values()
    )

    assert all_of_them - without == {"for_loop", "switch_case"}
    assert "if_else" in without


def test_a_mock_is_shared_by_backends_with_the_same_limits_alone():
    backends = tuple(
        BackendConfig(name=f"{name}_x", snapshot="manila", dynamic_circuits=limits)
        for name, limits in (("a", "ibm"), ("b", "all"))
    )

    assert not [one for one in Config(backends=backends).offered if isinstance(one, MockConfig)]


def test_a_text_is_refused_likewise(like_ibm):
    text = """OPENQASM 3; include "stdgates.inc"; bit[2] c; x $0; c[0] = measure $0;
    if (c == 0) { x $1; } else if (c == 1) { x $2; }"""
    params = json.dumps({"pubs": [[text]]}).encode()

    with pytest.raises(InvalidInput, match="nested conditionals are not allowed"):
        program.validate("sampler", params, like_ibm)
