"""Observables as Pauli terms, and how few measurements give them all.

A term is a pair of bit masks over qubits, (x, z): qubit q has X or Y if bit q of x is set, Z or Y
if bit q of z is.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from qiskit.quantum_info import SparseObservable

from queuebit.errors import InvalidInput

Term = tuple[int, int]
Observable = dict[Term, float]

IDENTITY: Term = (0, 0)
TERMS_MAX = 100_000  # of one job; grouping and averaging are linear in it


def expand(observable: SparseObservable) -> Observable:
    """The observable's Pauli terms; projectors (0, 1, +, -, r, l) as sums of two each."""
    terms: Observable = {}
    for labels, qubits, coefficient in observable.as_paulis().to_sparse_list():
        x = sum(1 << q for q, label in zip(qubits, labels, strict=True) if label in "XY")
        z = sum(1 << q for q, label in zip(qubits, labels, strict=True) if label in "ZY")
        terms[x, z] = terms.get((x, z), 0.0) + float(coefficient.real)
    return terms


def check_terms(observables: Iterable[SparseObservable]) -> None:
    """Refuses observables of too many Pauli terms, before they are made."""
    count = 0
    for observable in observables:
        for term in observable:
            projectors = sum(label not in "XYZ" for label in term.bit_labels())
            count += 2 ** min(projectors, 64)
    if count > TERMS_MAX:
        raise InvalidInput(
            f"the job's observables have {count} Pauli terms, of which each projector "
            f"(0, 1, +, -, r, l) doubles the number; the limit is {TERMS_MAX}",
            1208,
            "Split the job.",
        )


def support(term: Term) -> int:
    """The mask of the qubits that `term` acts on."""
    return term[0] | term[1]


def qubits_of(mask: int) -> list[int]:
    """The qubits in a mask, ascending."""
    return [q for q in range(mask.bit_length()) if mask >> q & 1]


@dataclass(slots=True)
class Basis:
    """What one circuit measures: a Pauli per qubit, and the terms that it gives."""

    x: int
    z: int
    terms: list[Term]

    def takes(self, term: Term) -> bool:
        """Whether `term` can be measured together with the others: qubit by qubit the same."""
        common = (self.x | self.z) & support(term)
        return not ((self.x ^ term[0]) | (self.z ^ term[1])) & common


def group(terms: Iterable[Term]) -> list[Basis]:
    """Few bases in which all `terms` can be read; the identity needs none.

    Each term goes into the first basis that takes it, the largest terms first: a standard greedy
    colouring, in time linear in terms times bases.
    """
    bases: list[Basis] = []
    for term in sorted(terms, key=lambda term: (-support(term).bit_count(), term)):
        if term == IDENTITY:
            continue
        basis = next((basis for basis in bases if basis.takes(term)), None)
        if basis is None:
            basis = Basis(0, 0, [])
            bases.append(basis)
        basis.x |= term[0]
        basis.z |= term[1]
        basis.terms.append(term)
    return bases
