from contextlib import nullcontext

import pytest
from qiskit import QuantumCircuit, qasm3, transpile
from qiskit.circuit import ClassicalRegister, Parameter
from qiskit.circuit.classical import expr
from qiskit.circuit.classical import types as classical_types
from qiskit.circuit.library import ECRGate, IGate, RZZGate
from qiskit_ibm_runtime.fake_provider import FakeFractionalBackend, FakeSherbrooke

from queuebit.errors import InvalidInput
from queuebit.programs.wire import qasm

HEAD = 'OPENQASM 3.0; include "stdgates.inc";'


def test_physical_qubits_keep_their_numbers():
    circuit = qasm.load(f"{HEAD} bit[1] c; sx $7; cz $3, $7; c[0] = measure $7; // done")

    pairs = [[circuit.find_bit(q).index for q in i.qubits] for i in circuit.data]
    assert circuit.num_qubits == 8
    assert pairs == [[7], [3, 7], [7]]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("OPENQASM 2.0; qreg q[1];", "must be OpenQASM 3"),
        ("", "must be OpenQASM 3"),
        (f'{HEAD} include "/etc/passwd";', "only stdgates.inc"),
        (f"{HEAD} qubit[1000000000] q;", "a register of 1000000000 qubits"),
        (f"{HEAD} qubit /* x */ [ 9 * 9 ] q;", "size of a register must be a plain number"),
        (f"{HEAD} x $1000000000;", "the largest number is 9999"),
        (f"{HEAD} const int n = 10; qubit[n] q;", "'const' is not supported"),
        (f"{HEAD} gate g a {{ x a; }} qubit[1] q; g q[0];", "gate 'g' is not a standard gate"),
        (f"{HEAD} gate ecr a, b {{ cx a, b; }} ecr $0, $1;", "'ecr' is defined as another"),
        (f"{HEAD} gate rzz(t) a, b {{ cx a, b; rz(-t) b; cx a, b; }} rzz(1) $0, $1;", "'rzz' is"),
        (f"{HEAD} gate ecr a {{ x a; }} ecr $0;", "'ecr' "),
        (f"{HEAD} qubit[1] q; pow(1000000000) @ x q[0];", "'pow @' is not supported"),
        (f"{HEAD} qubit[1] q; rz({'(' * 99}1{')' * 99}) q[0];", "nested"),
        (f"{HEAD} qubit[1] q; ?", r"line 1: '\?' is not allowed here"),
        (f"{HEAD} qubit[1] q; x r[0];", "line 1: Undefined symbol 'r'"),
        (HEAD + " " * 200_000, "the limit is 100000"),
    ],
)
def test_what_cannot_be_read_or_would_take_too_long_is_refused(source, why):
    with pytest.raises(InvalidInput, match=why) as refusal:
        qasm.load(source)

    assert refusal.value.code == 1506


@pytest.mark.parametrize(
    "turns",
    [
        "0:100000000000000000000",
        "0:99999999999*99999999999",
        "0:2**70",
        "0:999999999",
        "0:1<<40",
        "a:3",
    ],
)
def test_a_loop_whose_turns_are_no_small_plain_range_is_refused(turns):
    source = f"OPENQASM 3.0; bit c; for int i in [{turns}] {{ reset $0; }} c = measure $0;"

    with pytest.raises(InvalidInput, match="OpenQASM"):
        qasm.load(source)


def test_a_small_loop_is_read():
    source = (
        'OPENQASM 3.0; include "stdgates.inc"; bit c;'
        "for int i in [0:3] { x $0; } for int j in [9:-3:0] { x $0; } c = measure $0;"
    )

    assert [one.operation.name for one in qasm.load(source).data] == [
        "for_loop",
        "for_loop",
        "measure",
    ]


@pytest.mark.parametrize("snapshot", ["sherbrooke", "fractional"])
def test_what_qiskit_writes_for_a_qpu_is_read_as_what_it_was(snapshot):
    """REST users send `qasm3.dumps(isa_circuit)`, which defines gates that stdgates.inc lacks."""
    backend = FakeFractionalBackend() if snapshot == "fractional" else FakeSherbrooke()
    theta = Parameter("theta")
    circuit = QuantumCircuit(2, 2)
    circuit.rx(theta, 0)
    circuit.rzz(theta / 4, 0, 1) if snapshot == "fractional" else circuit.cx(0, 1)
    with circuit.if_test((0, 1)) if snapshot == "sherbrooke" else nullcontext():
        circuit.cz(0, 1)
    circuit.measure([0, 1], [0, 1])
    isa = transpile(circuit, backend, seed_transpiler=1)

    read = qasm.load(qasm3.dumps(isa))

    assert read.count_ops() == isa.count_ops()
    assert [p.name for p in read.parameters] == ["theta"]
    gates = [one.operation for one in read.data if one.operation.name in {"ecr", "rzz"}]
    assert all(isinstance(gate, ECRGate | RZZGate) for gate in gates)
    assert len(gates) > 0
    wires = [[one.find_bit(q).index for q in i.qubits] for one in (isa, read) for i in one.data]
    assert wires[: len(isa.data)] == wires[len(isa.data) :]


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("ctrl @ x $0, $1;", "the gate modifier 'ctrl @'"),
        ("negctrl(2) @ x $0, $1, $2;", "the gate modifier 'negctrl @'"),
        ("inv @ sx $0;", "the gate modifier 'inv @'"),
        ("switch (c) { case 0 { x $0; } }", "'switch'"),
        ("box { x $0; }", "'box'"),
        ("stretch a; delay[a] $0;", "a variable of type 'stretch'"),
        ("int n = 3;", "a variable of type 'int'"),
        ("bool b;", "a variable of type 'bool'"),
        ("input int n;", "an input of type 'int'"),
        ("input bool b;", "an input of type 'bool'"),
        ("input bit[2] b;", "an input of type 'bit'"),
        ("input duration d;", "an input of type 'duration'"),
        ("output bit b;", "'output'"),
        ("c = 1;", "an assignment to a classical variable"),
        ('bit[2] d = "01";', "an initial value of a classical bit"),
        ("let d = c[0:0];", "'let' for classical bits"),
        ("def f() { x $0; }", "'def'"),
        ("extern f(int) -> int;", "'extern'"),
        ("cal { play; }", "'cal'"),
        ("defcal x $0 { play; }", "'defcal'"),
        ('defcalgrammar "openpulse";', "'defcalgrammar'"),
        ("@note hello\nx $0;", "an annotation"),
        ("#pragma hello\n", "'pragma'"),
        ("end;", "'end'"),
        ("rz(sin(1)) $0;", "the function 'sin'"),
        ("rz(durationof({x $0;}) / 1ns) $0;", "'durationof'"),
        ("rz(int(1)) $0;", "this kind of value"),
        ("{ x $0; }", "a block without 'if', 'for' or 'while'"),
        ("if (c[0:1] == 2) { x $0; }", "a condition on a part of a register"),
        ("if (c ** 2 == 1) { x $0; }", r"the operator '\*\*' in a condition"),
    ],
)
def test_what_a_circuit_cannot_hold_is_refused_by_its_name_and_line(statement, why):
    source = f'OPENQASM 3.0;\ninclude "stdgates.inc";\nbit[2] c;\n{statement}\nc[0] = measure $0;'

    with pytest.raises(InvalidInput, match=f"line 4: {why} is not supported by the target system"):
        qasm.load(source)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("x $0", "line 5: 'c' is not allowed here"),
        ("x $0 $1;", r"line 4: '\$1' is not allowed here"),
        ("foo $0;", "line 4: gate 'foo' is not defined"),
        ("x $0, $1;", "line 4: "),
        ("cx $0, $0;", "line 4: duplicate bit arguments"),
        ("bit c;", "line 4: the name 'c' is already taken"),
        ("float x;", "line 4: a variable of type 'float'"),
        ("c = measure $0;", "line 4: a measurement with qubits: 1, classical bits: 2"),
        ("measure $0;", "line 4: a measurement needs a classical bit"),
        ("c[7] = measure $0;", "line 4: an index is out of range"),
        ("for int i in [0:1] { c[i] = measure $0; }", "line 4: the operands do not fit"),
        ("for int i in [0:0:1] { x $0; }", "line 4: the step of a range cannot be 0"),
        ("delay[1.5dt] $0;", "line 4: Integer duration is expected for 'dt'"),
        ("delay[100ns];", "line 4: a delay needs the qubits that wait"),
        ("delay[-3ns] $0;", "line 4: "),
        ("if (c) { x $0; }", "line 4: a condition must be true or false"),
        ("if (c == -1) { x $0; }", "line 4: the operator '-' in a condition"),
        ("qubit[2] q;\nx $0;", "line 5: Physical qubit referenced in virtual addressing mode"),
        ("gate ecr a, b { for int i in [0:1] { x a; } }", "line 4: only gates and barriers"),
        ("bit[9990] d;\nbit[9] e;", "line 5: a register of 9 bits; a circuit has 1 to 10000"),
        ("bit[0] d;", "line 4: a register of 0 bits"),
        (f"rz({2**63}) $0;", "line 4: an integer of more than 63 bits"),
        (f"rz({'-' * 5_000}1) $0;", "more than 200 operators"),
        (f"rz({'9' * 5_000}) $0;", "OpenQASM"),
        ('include "qelib1.inc";', "line 4: only stdgates.inc can be included"),
        ("\ud800", r"line 4: '\\ud800' is not allowed here"),
    ],
)
def test_a_mistake_is_told_with_its_line(statement, why, capfd):
    source = f'OPENQASM 3.0;\ninclude "stdgates.inc";\nbit[2] c;\n{statement}\nc[0] = measure $0;'

    with pytest.raises(InvalidInput, match=why) as refusal:
        qasm.load(source)

    assert refusal.value.code == 1506
    assert "Error" not in refusal.value.message
    assert "object at" not in refusal.value.message
    refusal.value.message.encode()  # it goes into an answer
    assert not any(capfd.readouterr())  # a worker's streams are kept, the text may be private


def test_a_text_that_ends_too_early_is_told_with_its_line():
    with pytest.raises(InvalidInput, match="line 2: the text ends within a statement"):
        qasm.load("OPENQASM 3.0;\nbit[2] c")


def test_definitions_that_stand_for_too_many_gates_are_refused():
    """Each could stand for some times the one before: the product would never be done."""
    names = ["x", "y", "z", "h", "s"]
    lines = ["gate sx a { U(0, 0, 0) a; }"]
    for before, name in zip(["sx", *names], names, strict=False):
        lines.append(f"gate {name} a {{ {f'{before} a; ' * 20} }}")

    with pytest.raises(InvalidInput, match="line 5: gate 'h' stands for 160000 gates; the limit"):
        qasm.load("\n".join(lines[:1] + lines[1:]))


@pytest.mark.parametrize(
    "name",
    ["o", "Result", "_hidden", "ψ", "mesure_à_zéro", "メ", "esc_a"],
)
@pytest.mark.parametrize("size", ["", "[1]", "[3]"])
def test_registers_and_scalars_keep_their_names(name, size):
    circuit = qasm.load(f"OPENQASM 3; bit{size} {name}; bit[2] other; other[0] = measure $0;")

    assert [register.name for register in circuit.cregs] == [name, "other"]
    assert circuit.cregs[0].size == int(size.strip("[]") or 1)


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        ("450dt", 450),
        ("100us", 50_000),
        ("100 us", 50_000),
        ("1.5\u00b5s", 750),  # the micro sign
        ("1.5\u03bcs", 750),  # the Greek letter
        ("100ns", 50),
        ("7ns", 4),  # 3.5: to the even neighbour
        ("2ms", 1_000_000),
        ("1s", 500_000_000),
        ("0.0000001s", 50),
        ("0ns", 0),
        ("2 * 50ns", None),
    ],
)
def test_delays_are_read_in_every_unit(delay, expected):
    source = f"bit c; delay[{delay}] $0; c = measure $0;"
    if expected is None:
        with pytest.raises(InvalidInput, match="line 1: "):
            qasm.load(source, 2e-9)
        return
    told = qasm.load(source, 2e-9).data[0].operation

    assert (told.name, told.duration, told.unit) == ("delay", expected, "dt")
    assert isinstance(told.duration, int)


def test_delays_within_conditions_are_read_in_dt_too():
    circuit = qasm.load("bit c; if (c) { delay[1us] $0; } else { delay[2us] $0; }", 2e-9)

    blocks = circuit.data[0].operation.blocks
    assert [block.data[0].operation.duration for block in blocks] == [500, 1_000]


def test_a_delay_in_seconds_needs_a_backend_that_knows_its_dt():
    assert qasm.load("bit c; delay[100dt] $0;").data[0].operation.duration == 100
    with pytest.raises(InvalidInput, match="delays must be in dt"):
        qasm.load("bit c; delay[100ns] $0;")


def test_an_identity_is_the_gate_that_backends_have():
    assert qasm.load(f"{HEAD} id $0;").data[0].operation == IGate()


A = ClassicalRegister(2, "a")
B = ClassicalRegister(2, "b")
SCALAR = ClassicalRegister(1, "o")


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("a[0]", (A[0], 1)),
        ("!a[1]", (A[1], 0)),
        ("~a[1]", (A[1], 0)),
        ("a[0] == 1", (A[0], 1)),
        ("a[0] == false", (A[0], 0)),
        ("a == 2", (A, 2)),
        ('a == "10"', (A, 2)),
        ("o", (SCALAR[0], 1)),
        ("a != 1", expr.not_equal(A, 1)),
        ("a < 2", expr.less(A, 2)),
        ("a >= b", expr.greater_equal(A, B)),
        ("a == 9", expr.equal(A, expr.lift(9))),
        ("a[0] != 0", expr.not_equal(A[0], expr.lift(False))),
        ("a[0] == b[1]", expr.equal(A[0], B[1])),
        ("a[0] && !b[1]", expr.logic_and(A[0], expr.logic_not(B[1]))),
        ("o || a == 1", expr.logic_or(SCALAR[0], expr.equal(A, 1))),
        ("(a & b) == 1", expr.equal(expr.bit_and(A, B), 1)),
        ("(a ^ b) != 3", expr.not_equal(expr.bit_xor(A, B), 3)),
        ("~a == 1", expr.equal(expr.bit_not(A), 1)),
        ("a << 1 == 2", expr.equal(expr.shift_left(A, 1), 2)),
        ("bool(a)", expr.cast(A, classical_types.Bool())),
    ],
)
def test_conditions_are_those_that_qiskit_writes(text, condition):
    circuit = qasm.load(f"{HEAD} bit[2] a; bit[2] b; bit o; if ({text}) {{ x $0; }}")

    assert circuit.data[0].operation.condition == condition


BROADCASTS = {
    "gates": "qubit[10000] q; " + "x q;" * 25,
    "two": "qubit[5000] q; qubit[5000] r; " + "cx q, r;" * 25,
    "reset": "qubit[10000] q; " + "reset q;" * 25,
    "measure": "qubit[9000] q; bit[9000] d; " + "d = measure q;" * 25,
    "range": "qubit[10000] q; " + "x q[0:9999];" * 25,
    "alias": "qubit[10000] q; let a = q[0:9999]; " + "x a;" * 25,
    "doubling": "qubit[9000] q; let a = q ++ q; x a;",
    "delay": "qubit[10000] q; " + "delay[4dt] q;" * 25,
}
ENDLESS = {
    "sum": "+".join(["1"] * 20_000),
    "minus": "-" * 40_000 + "1",
    "not": "!" * 40_000 + "true",
    "power": "**".join(["2"] * 20_000),
    "compare": "<".join(["1"] * 20_000),
}


@pytest.mark.parametrize("name", BROADCASTS)
def test_what_registers_make_many_is_counted_before_it_is_made(name: str):
    with pytest.raises(InvalidInput, match=r"registers make it more than|an alias of"):
        qasm.load(f'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; {BROADCASTS[name]}')


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_expression_is_not_parsed(name: str):
    with pytest.raises(InvalidInput, match="operators"):
        qasm.load(f'OPENQASM 3.0; include "stdgates.inc"; rz({ENDLESS[name]}) $0;')
