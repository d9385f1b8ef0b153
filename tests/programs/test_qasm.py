from contextlib import nullcontext

import pytest
from qiskit import QuantumCircuit, qasm3, transpile
from qiskit.circuit import Parameter
from qiskit.circuit.library import ECRGate, RZZGate
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
        (f"{HEAD} qubit[1000000000] q;", "register of size '1000000000'"),
        (f"{HEAD} qubit /* x */ [ 9 * 9 ] q;", r"register of size ' 9 \* 9 '"),
        (f"{HEAD} x $1000000000;", "register of size"),
        (f"{HEAD} const int n = 10; qubit[n] q;", "'const' is not supported"),
        (f"{HEAD} gate g a {{ x a; }} qubit[1] q; g q[0];", "gate 'g' is not a standard gate"),
        (f"{HEAD} gate ecr a, b {{ cx a, b; }} ecr $0, $1;", "'ecr' is defined as another"),
        (f"{HEAD} gate rzz(t) a, b {{ cx a, b; rz(-t) b; cx a, b; }} rzz(1) $0, $1;", "'rzz' is"),
        (f"{HEAD} gate ecr a {{ x a; }} ecr $0;", "'ecr' "),
        (f"{HEAD} qubit[1] q; pow(1000000000) @ x q[0];", "'pow' is not supported"),
        (f"{HEAD} qubit[1] q; rz({'(' * 99}1{')' * 99}) q[0];", "nested"),
        (f"{HEAD} qubit[1] q; delay[100ns] q[0];", "delays must be in dt"),
        (f"{HEAD} qubit[1] q; ?", "OpenQASM: "),
        (f"{HEAD} qubit[1] q; x r[0];", "OpenQASM: "),
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
