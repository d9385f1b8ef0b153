"""From observables to the measurements that they need, and from outcomes to their averages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from queuebit.programs.estimator.paulis import (
    IDENTITY,
    Basis,
    Observable,
    Term,
    group,
    qubits_of,
    support,
)
from queuebit.programs.estimator.readout import Scales, parity_signs

Floats = NDArray[np.float64]

NUMBERS_AT_ONCE = 2**22  # weighted outcomes, while sums are taken


@dataclass(frozen=True, slots=True)
class Configuration:
    """One circuit: a set of parameter values, measured in one basis."""

    row: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class Pub:
    """What is measured for a PUB, and what is to be made of it."""

    shape: tuple[int, ...]
    terms: list[Observable]
    """The distinct observables."""
    elements: list[tuple[int, int]]
    """Per element of the result: its set of parameter values, its observable."""
    configurations: list[Configuration]
    where: dict[int, dict[Term, int]]
    """Per set of parameter values, the configuration in which a term is read."""
    qubits: list[int]
    """The measured ones, ascending."""
    randomizations: int
    shots_each: int
    metadata: dict[str, Any]

    @property
    def flips_shape(self) -> tuple[int, int, int]:
        """(configurations, randomizations, qubits)."""
        return (len(self.configurations), self.randomizations, len(self.qubits))


def plan(  # noqa: PLR0913 - a record's fields, by name
    *,
    shape: tuple[int, ...],
    terms: list[Observable],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    split: tuple[int, int],
    metadata: dict[str, Any],
) -> Pub:
    """Plan a PUB: `rows` and `columns` tell each element's parameter values and observable."""
    wanted: dict[int, list[int]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        wanted.setdefault(row, []).append(column)
    configurations: list[Configuration] = []
    where: dict[int, dict[Term, int]] = {}
    # Mostly all sets of parameter values want the same observables.
    grouped: dict[tuple[int, ...], list[Basis]] = {}
    for row, needed in wanted.items():
        key = tuple(sorted(set(needed)))
        if key not in grouped:
            grouped[key] = group({term for column in key for term in terms[column]})
        where[row] = {}
        for basis in grouped[key]:
            where[row].update(dict.fromkeys(basis.terms, len(configurations)))
            configurations.append(Configuration(row, basis))
    mask = 0
    for observable in terms:
        for term in observable:
            mask |= support(term)
    return Pub(
        shape=shape,
        terms=terms,
        elements=list(zip(rows.tolist(), columns.tolist(), strict=True)),
        configurations=configurations,
        where=where,
        qubits=qubits_of(mask),
        randomizations=split[0],
        shots_each=split[1],
        metadata=metadata,
    )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What was measured for a PUB at one amplification of its noise."""

    bits: NDArray[np.bool_]
    """Shape (configurations, randomizations, shots, qubits), flips taken back."""
    weights: Floats | None = None
    """Of each configuration and randomization; None: 1."""

    def signs(self, at: int, places: Sequence[int]) -> NDArray[Any]:
        """What each shot of a configuration says of the product of Zs, weighted."""
        signs = parity_signs(self.bits[at], places)
        return signs if self.weights is None else signs * self.weights[at][:, np.newaxis]


@dataclass(frozen=True, slots=True)
class Average:
    """One expectation value, and its two standard errors."""

    value: float
    std: float
    """From the spread between randomizations."""
    ensemble: float
    """All shots as one ensemble."""

    def times(self, factor: float) -> "Average":
        """Of the observable times `factor`."""
        size = abs(factor)
        return Average(factor * self.value, size * self.std, size * self.ensemble)


Alone = Mapping[tuple[int, Term], Average]
"""By sets of parameter values and terms, the average of the term."""


def average(
    planned: Pub, outcomes: Outcomes, scales: Scales | None, alone: Alone | None = None
) -> list[Average]:
    """Expectation values, one per element of the result.

    Standard errors as in ibm-quantum-schemas 0.13, estimator, "DataBinObjectModel". Both count what
    the measurements of one circuit have in common, and the readout calibration's own error. `alone`
    has what `average_terms` found, if it is known.
    """
    found = []
    for row, column in planned.elements:
        terms = planned.terms[column]
        if alone is None or len(terms) != 1 or IDENTITY in terms:
            found.append(_average(planned, outcomes, scales, row, terms))
        else:
            ((term, coefficient),) = terms.items()
            found.append(alone[row, term].times(coefficient))
    return found


def average_terms(
    planned: Pub, outcomes: Outcomes, scales: Scales | None
) -> dict[tuple[int, Term], Average]:
    """Likewise of every term that is wanted, alone."""
    wanted = {
        (row, term): None
        for row, column in planned.elements
        for term in planned.terms[column]
        if term != IDENTITY
    }
    return {
        (row, term): _average(planned, outcomes, scales, row, {term: 1.0}) for row, term in wanted
    }


def _average(
    planned: Pub, outcomes: Outcomes, scales: Scales | None, row: int, terms: Observable
) -> Average:
    weights = {term: np.array([[coefficient]]) for term, coefficient in terms.items()}
    constant = weights.pop(IDENTITY, np.zeros((1, 1)))[0, 0]
    values, errors = weighted_sums(planned, [outcomes], scales, row, weights)
    return Average(float(constant + values[0]), float(errors[0, 0]), float(errors[0, 1]))


def weighted_sums(
    planned: Pub,
    outcomes: Sequence[Outcomes],
    scales: Scales | None,
    row: int,
    weights: Mapping[Term, Floats],
) -> tuple[Floats, Floats]:
    """Sums of averages over terms and amplifications of the noise, and their standard errors.

    `outcomes` are those of K amplifications; each term has weights of shape (sums, K). Values have
    the shape (sums,), errors (sums, 2): from the spread between randomizations, and of all shots
    as one ensemble. What is measured in one circuit, or corrected by one calibration, is correlated
    and is added up before its variance is taken.
    """
    count = len(next(iter(weights.values()), np.zeros((1, 0))))
    values, variances = np.zeros(count), np.zeros((count, 2))
    if not weights:
        return values, variances
    # One sum's shots at a time where there are many.
    step = max(1, NUMBERS_AT_ONCE // outcomes[0].bits[0, ..., 0].size)
    for first in range(0, count, step):
        part = {term: weight[first : first + step] for term, weight in weights.items()}
        for source in _sources(planned, outcomes, scales, row, part):
            values[first : first + step] += source.value
            variances[first : first + step] += source.variances
    return values, np.sqrt(variances)


class _Source(NamedTuple):
    """Something random that is independent of the others."""

    value: Floats
    """What it adds to each sum."""
    variances: Floats
    """Shape (sums, 2)."""


def _sources(
    planned: Pub,
    outcomes: Sequence[Outcomes],
    scales: Scales | None,
    row: int,
    weights: Mapping[Term, Floats],
) -> Iterator[_Source]:
    place = {qubit: i for i, qubit in enumerate(planned.qubits)}
    learned: NDArray[Any] | None = None
    for amplification, found in enumerate(outcomes):
        parts: dict[int, NDArray[Any]] = {}
        for term, by_amplification in weights.items():
            at = planned.where[row][term]
            mask = support(term)
            signs = found.signs(at, [place[q] for q in qubits_of(mask)])
            scale = 1.0 if scales is None else scales.scale(mask)
            weight = by_amplification[:, amplification, np.newaxis, np.newaxis]
            parts[at] = parts.get(at, 0.0) + weight / scale * signs
            if scales is not None:
                sensitivity = weight * signs.mean() / scale**2 * scales.signs(mask)
                learned = sensitivity if learned is None else learned + sensitivity
        for part in parts.values():
            yield _Source(part.mean(axis=(1, 2)), _variances(part))
    if learned is not None:
        yield _Source(np.zeros(len(learned)), _variances(learned))


def _variances(source: NDArray[Any]) -> Floats:
    """Variances of means, shape (sums, 2), of values of shape (sums, randomizations, shots).

    From the spread between randomizations, and of all shots.
    """
    count, randomizations, shots = source.shape
    means = source.mean(axis=2)
    average = means.mean(axis=1)
    off = (source - average[:, np.newaxis, np.newaxis]).reshape(count, -1)
    ensemble = np.einsum("ij,ij->i", off, off) / (randomizations * shots) ** 2
    variances = np.stack([ensemble, ensemble], axis=1)
    if randomizations > 1:
        off = means - average[:, np.newaxis]
        between = np.einsum("ij,ij->i", off, off) / (randomizations - 1)
        variances[:, 0] = between / randomizations
    return variances
