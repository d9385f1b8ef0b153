import pytest

from queuebit.errors import InvalidInput
from queuebit.programs import qasm

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
        (f"{HEAD} gate g a {{ x a; }} qubit[1] q; g q[0];", "'gate' is not supported"),
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
