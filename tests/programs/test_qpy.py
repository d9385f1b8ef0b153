"""Every circuit that Qiskit can save for us loads; nothing else gets to Qiskit's reader."""

import io
import struct
import time

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit import qpy as qiskit_qpy
from qiskit.circuit import (
    Duration,
    IfElseOp,
    Instruction,
    Parameter,
    ParameterVector,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import HGate, PauliEvolutionGate, QFTGate
from qiskit.quantum_info import SparsePauliOp

from queuebit.errors import InvalidInput
from queuebit.programs.wire import qpy, qpy_walk

VERSIONS = list(qpy_walk.VERSIONS)


def saved(circuit: QuantumCircuit, version: int = 17) -> bytes:
    file = io.BytesIO()
    qiskit_qpy.dump(circuit, file, version=version)
    return file.getvalue()


def everything() -> QuantumCircuit:
    vector, a, turn = ParameterVector("v", 3), Parameter("a"), Parameter("turn")
    circuit = QuantumCircuit(
        QuantumRegister(3, "q"), ClassicalRegister(3, "c"), metadata={"k": [1]}, global_phase=a
    )
    circuit.rz(vector[0] * 2 + a.sin(), 0)
    circuit.rz(vector[1].subs({vector[1]: vector[2]}) ** 2, 1)
    circuit.rz(np.int64(1), 1)
    circuit.rz(3, 0)
    circuit.cz(0, 1)
    circuit.delay(100, 1)
    circuit.barrier()
    circuit.reset(2)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with circuit.if_test((circuit.cregs[0], 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.sx(2)
    with circuit.for_loop(range(3), turn):
        circuit.rz(turn, 0)
    with circuit.for_loop((1, 5)):
        circuit.x(0)
        circuit.break_loop()
    with circuit.switch(circuit.cregs[0]) as case:
        with case(0, 1):
            circuit.x(0)
        with case(case.DEFAULT):
            circuit.x(1)
    with circuit.if_test(expr.logic_or(circuit.clbits[0], circuit.clbits[1])):
        circuit.x(0)
    return circuit


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_that_may_be_in_a_circuit_loads(version):
    circuit = everything()

    loaded = qpy.load(saved(circuit, version))

    assert loaded.count_ops() == circuit.count_ops()
    assert list(loaded.parameters) == list(circuit.parameters)
    assert loaded.metadata == {"k": [1]}
    assert loaded == circuit


@pytest.mark.parametrize("version", VERSIONS)
def test_a_transpiled_circuit_loads_without_its_layout(version, torino):
    circuit = QuantumCircuit(4)
    circuit.h(0)
    for i in range(3):
        circuit.cx(i, i + 1)
    circuit.measure_all()
    circuit = transpile(circuit, target=torino.target, seed_transpiler=1, optimization_level=1)

    loaded = qpy.load(saved(circuit, version))

    assert loaded == circuit
    assert loaded.layout is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_devices_own_instruction_loads(version):
    circuit = QuantumCircuit(1, 1)
    circuit.append(Instruction("measure_2", 1, 1, []), [0], [0])

    assert qpy.load(saved(circuit, version)).count_ops() == {"measure_2": 1}


def composed() -> QuantumCircuit:
    inner = QuantumCircuit(1, name="mine")
    inner.h(0)
    circuit = QuantumCircuit(2)
    circuit.append(inner.to_gate(), [0])
    return circuit


def with_gate(gate: Instruction) -> QuantumCircuit:
    circuit = QuantumCircuit(gate.num_qubits, gate.num_clbits)
    circuit.append(gate, circuit.qubits, circuit.clbits)
    return circuit


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("circuit", "name"),
    [
        (composed(), "mine"),
        (with_gate(PauliEvolutionGate(SparsePauliOp("XX"))), "PauliEvolutionGate"),
        (with_gate(QFTGate(2)), "QFTGate"),
        (with_gate(HGate().control(2, annotated=False)), "cch"),
        (with_gate(Instruction("rz", 1, 0, [])), "rz"),  # would pass for a gate, without its angle
        (with_gate(Instruction("if_else", 1, 0, [])), "if_else"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_instructions_are_refused_by_name(circuit, name, version):
    with pytest.raises(InvalidInput, match=f"the instruction {name} is not supported") as refusal:
        qpy.load(saved(circuit, version))

    assert refusal.value.code == 1517


def test_a_name_of_qiskits_library_is_not_called():
    # Qiskit's reader would call qiskit.circuit.library.QuantumVolume(...), whatever that takes.
    circuit = QuantumCircuit(1)
    circuit.rz(1.0, 0)
    content = saved(circuit).replace(b"RZGate", b"UCGate")

    with pytest.raises(InvalidInput, match="the instruction UCGate is not supported"):
        qpy.load(content)


@pytest.mark.parametrize("version", [*range(13), 19, 255])
def test_other_versions_are_refused_with_the_range(version):
    content = bytearray(saved(QuantumCircuit(1)))
    content[6] = version

    with pytest.raises(InvalidInput, match=f"QPY version {version} .* only 13 to 18"):
        qpy.load(bytes(content))


@pytest.mark.parametrize("version", VERSIONS)
def test_symengine_payloads_are_refused(version):
    content = saved(QuantumCircuit(1), version)
    at = struct.calcsize("!6sBBBBQ")
    assert content[at : at + 1] == b"p"

    with pytest.raises(InvalidInput, match="symbolic encoding b'e'"):
        qpy.load(content[:at] + b"e" + content[at + 1 :])


@pytest.mark.parametrize("content", [b"", b"QISKIT", b"QPY", bytes(1000), b"QISKIT\x11" * 20])
def test_what_is_no_qpy_is_refused(content):
    with pytest.raises(InvalidInput):
        qpy.load(content)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_cut_anywhere_is_refused(version):
    content = saved(everything(), version)

    for length in range(0, len(content), 7):
        with pytest.raises(InvalidInput):
            qpy.load(content[:length])


def header_at(version: int) -> int:
    """Where the circuit's header starts."""
    return struct.calcsize("!6sBBBBQcc") + (8 if version >= 16 else 0)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("field", [3, 4, 5, 6, 7, 8])  # qubits, bits, metadata, ... variables
def test_a_header_that_announces_too_much_is_refused_at_once(version, field):
    circuit = QuantumCircuit(2, 2)
    circuit.cz(0, 1)
    content = bytearray(saved(circuit, version))
    layout, at = struct.Struct("!HcHIIQIQI"), header_at(version)
    fields = list(layout.unpack_from(content, at))
    fields[field] = 2**31
    layout.pack_into(content, at, *fields)
    start = time.perf_counter()

    with pytest.raises(InvalidInput):
        qpy.load(bytes(content))

    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_vector_that_announces_too_many_parameters_is_refused(version):
    circuit = QuantumCircuit(1)
    circuit.rz(ParameterVector("vector", 7)[3], 0)
    content = saved(circuit, version)
    size = struct.pack("!Q", 7)
    assert content.count(size) == 1

    with pytest.raises(InvalidInput, match="vector of"):
        qpy.load(content.replace(size, struct.pack("!Q", 2**40)))


def test_a_long_loop_is_refused():
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(10**9)):
        circuit.x(0)

    with pytest.raises(InvalidInput, match="a loop over range"):
        qpy.load(saved(circuit))


def test_deep_blocks_are_refused():
    circuit = QuantumCircuit(1, 1)
    for _ in range(40):
        outer = QuantumCircuit(1, 1)
        outer.if_test((outer.clbits[0], 1), circuit, [0], [0])
        circuit = outer

    with pytest.raises(InvalidInput, match="nested"):
        qpy.load(saved(circuit))


def test_a_long_expression_is_refused():
    value = Parameter("a")
    for i in range(1_500):
        value = (value + i).sin()
    circuit = QuantumCircuit(1)
    circuit.rz(value, 0)

    with pytest.raises(InvalidInput, match="an expression of more than 1000 steps"):
        qpy.load(saved(circuit))


@pytest.mark.parametrize("angle", [float("nan"), float("inf")])
@pytest.mark.parametrize("version", VERSIONS)
def test_an_angle_must_be_finite(angle, version):
    circuit = QuantumCircuit(1)
    circuit.rz(angle, 0)

    with pytest.raises(InvalidInput, match="not finite"):
        qpy.load(saved(circuit, version))


def test_a_delay_whose_unit_is_lost_is_refused():
    """QPY keeps no unit: a delay of 1 us was read as one of 1e-6 dt, which cannot be."""
    circuit = QuantumCircuit(1)
    circuit.delay(1e-6, 0, unit="s")

    with pytest.raises(InvalidInput, match="QPY keeps no units"):
        qpy.load(saved(circuit))


def deciding() -> QuantumCircuit:
    """Variables, stores, conditions on bits that are not among the instruction's own."""
    register = ClassicalRegister(2, "c")
    circuit = QuantumCircuit(QuantumRegister(2, "q"), register, ClassicalRegister(1, "d"))
    body = QuantumCircuit(1)
    body.x(0)
    circuit.measure([0, 1], register)
    count = circuit.add_var("count", expr.lift(3, types.Uint(4)))
    circuit.add_var("share", expr.lift(0.5))
    circuit.add_uninitialized_var(expr.Var.new("seen", types.Bool()))
    circuit.store(circuit.clbits[2], expr.less(count, 2))
    circuit.store(expr.index(count, 1), register[0])
    circuit.append(IfElseOp((register[0], 1), body), [1], [])
    circuit.append(IfElseOp((register, 2), body, body), [1], [])
    circuit.append(IfElseOp(expr.less(register, count), body), [1], [])
    circuit.append(WhileLoopOp((circuit.clbits[2], 1), body), [0], [])
    circuit.append(SwitchCaseOp(register, [(1, body)]), [0], [])
    circuit.append(SwitchCaseOp(expr.add(register, count), [(1, body)]), [0], [])
    with circuit.if_test(expr.lift(circuit.clbits[2])):
        own = circuit.add_var("own", expr.add(count, 1))
        circuit.store(count, own)
        with circuit.while_loop(expr.less(count, 9)):
            circuit.store(count, expr.add(count, own))
    return circuit


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_variables_and_conditions_on_any_bits_load(version):
    circuit = deciding()

    loaded = qpy.load(saved(circuit, version))

    assert loaded == circuit


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_durations_load(version):
    circuit = QuantumCircuit(1)
    circuit.delay(expr.add(Duration.us(1), Duration.dt(5)), 0)

    assert qpy.load(saved(circuit, version)) == circuit


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_stretches_are_refused_by_name(version):
    circuit = QuantumCircuit(1)
    circuit.delay(circuit.add_stretch("wait"), 0)

    with pytest.raises(InvalidInput, match="the stretch 'wait' is not supported"):
        qpy.load(saved(circuit, version))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_wide_variable_is_refused(version):
    circuit = QuantumCircuit(1)
    circuit.add_uninitialized_var(expr.Var.new("wide", types.Uint(2**30)))

    with pytest.raises(InvalidInput, match="a classical variable of"):
        qpy.load(saved(circuit, version))
