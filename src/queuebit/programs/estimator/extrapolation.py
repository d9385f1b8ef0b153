"""Zero-noise extrapolation: circuits with more noise by folding, and fits back to none.

Folding and fits are qiskit-mitigation's. Its `postprocess` is not used, as it knows neither
projectors beside TREX nor what the measurements of one circuit have in common (averages.py). Nor
are the errors of its fits, which it takes from how far the points lie from the curve: three points
that lie on a line by chance would tell that there is no error.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import DataBin
from qiskit.transpiler import PassManager
from qiskit_mitigation.zne.extrapolation import (
    _clamp_degenerate_stds,
    _fit_extrapolation_models,
    _select_zne_extrapolated_result,
)
from qiskit_mitigation.zne.gate_folding import SUPPORTED_FOLDED_GATES, GateFoldingPass

from queuebit.devices.reading import is_dynamic
from queuebit.errors import InvalidInput
from queuebit.programs.estimator.averages import (
    Average,
    Outcomes,
    Pub,
    average,
    average_terms,
    weighted_sums,
)
from queuebit.programs.estimator.paulis import IDENTITY, Term
from queuebit.programs.estimator.readout import Scales
from queuebit.programs.options import Extrapolator, Zne

Floats = NDArray[np.float64]

METHODS = {
    "gate_folding": "random",
    "gate_folding_front": "front",
    "gate_folding_back": "back",
}
FOLDED_MAX = 25_000  # two-qubit gates of one circuit after folding; building them takes seconds
STEP = 1e-3  # of a standard error, for differences
UNSTEADY = 2.0  # times a straight line's error


def fold(circuit: QuantumCircuit, zne: Zne, rng: np.random.Generator) -> list[QuantumCircuit]:
    """`circuit` at each noise factor: its two-qubit gates repeated, U (U^-1 U)^n.

    InvalidInput for gates that cannot be folded.
    """
    gates = _foldable(circuit)
    if gates * max(zne.factors) > FOLDED_MAX:
        raise InvalidInput(
            f"option resilience.zne.noise_factors: {max(zne.factors):g} times {gates} "
            f"two-qubit gates; the limit is {FOLDED_MAX}",
            8031,
        )
    folded = []
    for factor in zne.factors:
        folding = GateFoldingPass(factor, METHODS[zne.amplifier], seed=rng)
        folded.append(circuit if factor == 1 else PassManager([folding]).run(circuit))
    return folded


def _foldable(circuit: QuantumCircuit) -> int:
    """How many two-qubit gates there are to fold; refuses others."""
    if is_dynamic(circuit):
        raise InvalidInput(
            "Zero-noise extrapolation cannot be used with dynamic circuits (circuits "
            "with control flow operations)",
            1208,
            "Set resilience.zne_mitigation to false.",
        )
    gates = 0
    for instruction in circuit.data:
        if len(instruction.qubits) < 2 or instruction.name == "barrier":  # noqa: PLR2004 - of two qubits
            continue
        if not isinstance(instruction.operation, SUPPORTED_FOLDED_GATES):
            raise InvalidInput(
                f"The gate {instruction.name} cannot be folded for zero-noise extrapolation",
                1208,
                "Transpile for the backend without fractional gates.",
            )
        gates += 1
    return gates


def extrapolate(
    pub: Pub, outcomes: Sequence[Outcomes], scales: Scales | None, zne: Zne
) -> tuple[DataBin, str | list[str]]:
    """A PUB's data, and the extrapolators that gave its values.

    Fields and shapes as in ZneOptions (client 0.51). Every term is extrapolated on its own, and
    its value is that of the first extrapolator whose result is possible. Standard errors follow
    from those of what was measured, and count what terms and noise factors have in common.
    """
    alone = [average_terms(pub, one, scales) for one in outcomes]
    means = [average(pub, one, scales, terms) for one, terms in zip(outcomes, alone, strict=True)]
    models, points = zne.extrapolators, zne.points
    shape = (len(pub.elements), 1 + len(models) * len(points))
    values, stds = np.zeros(shape), np.zeros(shape)  # at zero noise, then of each model and point
    used: set[str] = set()
    known: dict[tuple[int, Term], _Fit] = {}
    for element, (row, column) in enumerate(pub.elements):
        weights: dict[Term, Floats] = {}
        for term, coefficient in pub.terms[column].items():
            if term == IDENTITY:
                values[element] += coefficient
                continue
            if (row, term) not in known:
                known[row, term] = _fitted([one[row, term] for one in alone], zne)
            fit = known[row, term]
            used.add(fit.model)
            values[element] += coefficient * fit.values
            weights[term] = coefficient * fit.weights
        if weights:
            _, errors = weighted_sums(pub, outcomes, scales, row, weights)
            stds[element] = errors.max(axis=1)
    size = pub.shape
    fits = (*size, len(models), len(points))
    data = DataBin(
        evs=values[:, 0].reshape(size),
        stds=stds[:, 0].reshape(size),
        evs_noise_factors=_table(means, "value", size),
        stds_noise_factors=_table(means, "std", size),
        ensemble_stds_noise_factors=_table(means, "ensemble", size),
        evs_extrapolated=values[:, 1:].reshape(fits),
        stds_extrapolated=stds[:, 1:].reshape(fits),
        shape=size,
    )
    told = [model for model in (*models, "fallback") if model in used] or models[:1]
    return data, told[0] if len(told) == 1 else list(told)


def _table(means: Sequence[Sequence[Average]], field: str, shape: tuple[int, ...]) -> Floats:
    """A field of averages, shape (*shape, noise factors)."""
    numbers = [[getattr(one, field) for one in factor] for factor in means]
    return np.array(numbers).T.reshape(*shape, len(means))


class _Fit(NamedTuple):
    """One term's values at zero noise, and of every extrapolator at every point."""

    values: Floats
    """Shape (1 + extrapolators x points,)."""
    weights: Floats
    """How much each follows the measured values: shape (1 + extrapolators x points, factors)."""
    model: str
    """The extrapolator that gave the value at zero noise."""


def _fitted(amplified: Sequence[Average], zne: Zne) -> _Fit:
    measured = np.array([one.value for one in amplified])
    # Noise that is injected at random spreads the randomizations far more than the shots.
    stds = np.array([max(one.std, one.ensemble) for one in amplified])
    count = len(measured)
    places = np.array([*zne.factors, 0.0, *zne.points])
    fits, weights = _every(measured, stds, zne, places)
    value, model = _selected(fits[:, count], weights[:, count], measured, stds, zne)
    if model in zne.extrapolators:
        chosen = weights[zne.extrapolators.index(model), count]
        if model == "exponential":
            chosen = _steadied(chosen, value, measured, stds, places)
    else:
        chosen = np.eye(count)[int(np.argmin(zne.factors))]
    rest = slice(count + 1, None)
    return _Fit(
        np.concatenate([[value], fits[:, rest].ravel()]),
        np.concatenate([[chosen], weights[:, rest].reshape(-1, count)]),
        model,
    )


def _every(measured: Floats, stds: Floats, zne: Zne, places: Floats) -> tuple[Floats, Floats]:
    """Of every extrapolator and place the value, and how much it follows each measured value."""
    fits, weights = [], []
    for model in zne.extrapolators:
        if model in ("exponential", "double_exponential"):
            fit = _fit(model, measured, stds, places)
            follows = (
                _weights(stds, places, np.vander(places, 2) * fit[:, np.newaxis])
                if model == "exponential"
                else _steps(measured, stds, places)
            )
        else:
            follows = _linear(model, stds, places)
            fit = follows @ measured
        fits.append(fit)
        weights.append(follows)
    return np.array(fits), np.array(weights)


def _selected(
    values: Floats, weights: Floats, measured: Floats, stds: Floats, zne: Zne
) -> tuple[float, str]:
    """The value at zero noise, and the extrapolator that it comes from."""
    value, _, model = _select_zne_extrapolated_result(
        values, _errors(weights, stds), "Z", zne.extrapolators
    )
    if np.isfinite(value):
        return float(value), model
    return float(measured[int(np.argmin(zne.factors))]), "fallback"  # no fit has come to an end


def _errors(weights: Floats, stds: Floats) -> Floats:
    return np.asarray(np.sqrt(weights**2 @ stds**2))


def _steadied(
    chosen: Floats, value: float, measured: Floats, stds: Floats, places: Floats
) -> Floats:
    """The weights of an exponential's value at zero noise, or of a straight line in its place.

    Where the values are no larger than their errors the decay is not determined, and to first order
    the exponential's error may be anything. Then it is a straight line's, and as much more as the
    two lie apart.
    """
    line = _linear("linear", stds, places)[len(stds)]
    error = _errors(line, stds)
    if _errors(chosen, stds) <= UNSTEADY * error:
        return chosen
    apart = value - line @ measured
    return np.asarray(line * np.hypot(error, apart) / error)


def _linear(model: Extrapolator, stds: Floats, places: Floats) -> Floats:
    """How much the values of an extrapolator that is linear in the data follow them."""
    count = len(stds)
    if model == "fallback":
        return np.tile(np.eye(count)[int(np.argmin(places[:count]))], (len(places), 1))
    degree = 1 if model == "linear" else int(model.rsplit("_", 1)[1])
    return _weights(stds, places, np.vander(places, degree + 1))


def _weights(stds: Floats, places: Floats, tangents: Floats) -> Floats:
    """How much a fit's values at `places` follow each measured value: shape (places, factors).

    The first of the places are the noise factors. To first order, a least squares fit projects a
    change of the data onto the changes that its parameters can make, the columns of `tangents`.
    """
    count = len(stds)
    if not np.isfinite(tangents).all():
        return np.full((len(places), count), np.nan)
    sure = _clamp_degenerate_stds(stds) if stds.any() else np.ones(count)
    certainty = sure.min() / sure
    inverse = np.linalg.pinv(tangents[:count] * certainty[:, np.newaxis])
    return np.asarray(tangents @ inverse * certainty)


def _steps(measured: Floats, stds: Floats, places: Floats) -> Floats:
    """Likewise of the double exponential, whose parameters cannot be told from its values."""
    before = _fit("double_exponential", measured, stds, places)
    columns = []
    for factor, std in enumerate(stds):
        step = STEP * (std or 1.0)
        moved = measured + step * np.eye(len(stds))[factor]
        columns.append((_fit("double_exponential", moved, stds, places) - before) / step)
    return np.array(columns).T


def _fit(model: Extrapolator, measured: Floats, stds: Floats, places: Floats) -> Floats:
    """The values of one extrapolator at every place; not a number where the fit fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of all-zero errors, which are fitted unweighted
        found, _ = _fit_extrapolation_models(
            measured, stds, places[: len(stds)].tolist(), [model], places
        )
    return np.asarray(found[0])
