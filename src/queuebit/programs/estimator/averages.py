"""From observables to the measurements that they need, and from outcomes to their averages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def average(planned: Pub, outcomes: Outcomes, scales: Scales | None) -> list[Average]:
    """Expectation values, one per element of the result.

    Standard errors as in ibm-quantum-schemas 0.13, estimator, "DataBinObjectModel". Both count what
    the measurements of one circuit have in common, and the readout calibration's own error.
    """
    return [
        _average(planned, outcomes, scales, row, planned.terms[column])
        for row, column in planned.elements
    ]


def average_terms(
    planned: Pub, outcomes: Outcomes, scales: Scales | None
) -> list[list[tuple[float, Average]]]:
    """Likewise of each term alone, with its coefficient; per element."""
    return [
        [
            (coefficient, _average(planned, outcomes, scales, row, {term: 1.0}))
            for term, coefficient in planned.terms[column].items()
        ]
        for row, column in planned.elements
    ]


def _average(
    planned: Pub, outcomes: Outcomes, scales: Scales | None, row: int, terms: Observable
) -> Average:
    place = {qubit: i for i, qubit in enumerate(planned.qubits)}
    value = 0.0
    parts: dict[int, NDArray[Any]] = {}
    learned: NDArray[Any] | float = 0.0
    for term, coefficient in terms.items():
        if term == IDENTITY:
            value += coefficient
            continue
        at = planned.where[row][term]
        mask = support(term)
        signs = outcomes.signs(at, [place[q] for q in qubits_of(mask)])
        scale = 1.0 if scales is None else scales.scale(mask)
        parts[at] = parts.get(at, 0.0) + coefficient / scale * signs
        if scales is not None:
            learned = learned + coefficient * signs.mean() / scale**2 * scales.signs(mask)
    value += sum(float(part.mean()) for part in parts.values())
    sources = [*parts.values(), *([learned] if isinstance(learned, np.ndarray) else [])]
    between, ensemble = np.sqrt(_variances(sources))
    return Average(value, float(between), float(ensemble))


def _variances(sources: Sequence[NDArray[Any]]) -> Floats:
    """Variance of the sum of means: between randomizations, and of all shots."""
    total = np.zeros(2)
    for source in sources:
        ensemble = source.var() / source.size
        means = source.mean(axis=1)
        between = means.var(ddof=1) / means.size if means.size > 1 else ensemble
        total += (between, ensemble)
    return total
