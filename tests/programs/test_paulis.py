import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.quantum_info import Operator, PauliList, SparseObservable, SparsePauliOp

from queuebit.errors import InvalidInput
from queuebit.programs.estimator import paulis

LABELS = st.text(alphabet="IXYZ", min_size=4, max_size=4)


def label(term: paulis.Term, qubits: int = 4) -> str:
    x, z = term
    return "".join("IXZY"[(x >> q & 1) + 2 * (z >> q & 1)] for q in reversed(range(qubits)))


@given(st.sets(LABELS, min_size=1, max_size=30))
def test_every_term_is_read_once_in_a_basis_that_gives_it(labels):
    observable = SparseObservable.from_list([(one, 1.0) for one in labels])
    terms = set(paulis.expand(observable))

    bases = paulis.group(terms)

    assert {label(term) for term in terms} == labels
    assert sorted(t for basis in bases for t in basis.terms) == sorted(terms - {paulis.IDENTITY})
    for basis in bases:
        read = PauliList([label(term) for term in basis.terms])
        assert len(read.group_qubit_wise_commuting()) == 1
        whole = label((basis.x, basis.z))
        assert all(c in ("I", w) for t in basis.terms for c, w in zip(label(t), whole, strict=True))


def test_few_bases_are_needed():
    # All of a basis's Paulis fit into it, however many they are.
    labels = [a + b + c for a in "IZ" for b in "IX" for c in "IY"]
    terms = paulis.expand(SparseObservable.from_list([(one, 1.0) for one in labels]))

    assert len(paulis.group(terms)) == 1


@given(st.text(alphabet="IXYZ01+-rl", min_size=3, max_size=3))
def test_projectors_are_sums_of_paulis(letters):
    observable = SparseObservable.from_list([(letters, 0.5)])

    terms = paulis.expand(observable)

    summed = SparsePauliOp.from_list([(label(t, 3), c) for t, c in terms.items()])
    states = {
        "I": np.eye(2),
        "X": np.array([[0, 1], [1, 0]]),
        "Y": np.array([[0, -1j], [1j, 0]]),
        "Z": np.diag([1, -1]),
        "0": np.diag([1, 0]),
        "1": np.diag([0, 1]),
        "+": np.full((2, 2), 0.5),
        "-": np.array([[0.5, -0.5], [-0.5, 0.5]]),
        "r": np.array([[0.5, -0.5j], [0.5j, 0.5]]),
        "l": np.array([[0.5, 0.5j], [-0.5j, 0.5]]),
    }
    expected = np.array([[0.5]])
    for letter in letters:
        expected = np.kron(expected, states[letter])
    assert np.allclose(Operator(summed).data, expected)


def test_too_many_terms_are_refused_before_they_are_made():
    paulis.check_terms([SparseObservable.from_list([("0" * 10, 1.0)])])

    with pytest.raises(InvalidInput, match=f"have {2**64} Pauli terms"):
        paulis.check_terms([SparseObservable.from_list([("0" * 100, 1.0)])])
