"""Zero-noise extrapolation: circuits with more noise by folding, and fits back to none.

Folding and fits are qiskit-mitigation's. Its `postprocess` is not used, as it knows neither
projectors beside TREX nor what the measurements of one circuit have in common (averages.py).
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import DataBin
from qiskit.transpiler import PassManager
from qiskit_mitigation.zne.extrapolation import (
    _fit_extrapolation_models,
    _select_zne_extrapolated_result,
)
from qiskit_mitigation.zne.gate_folding import SUPPORTED_FOLDED_GATES, GateFoldingPass

from queuebit.errors import InvalidInput
from queuebit.programs.estimator.averages import Average, Outcomes, Pub, average, average_terms
from queuebit.programs.estimator.paulis import IDENTITY
from queuebit.programs.estimator.readout import Scales
from queuebit.programs.options import Zne

Floats = NDArray[np.float64]

METHODS = {
    "gate_folding": "random",
    "gate_folding_front": "front",
    "gate_folding_back": "back",
}
FOLDED_MAX = 25_000  # two-qubit gates of one circuit after folding; building them takes seconds
STEP = 1e-3  # of a standard error, when a fit's own error is not known


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
    if circuit.has_control_flow_op():
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
    its value is that of the first extrapolator whose result is possible.
    """
    means = [average(pub, one, scales) for one in outcomes]
    by_term = [average_terms(pub, one, scales) for one in outcomes]
    models, points = zne.extrapolators, zne.points
    size = len(pub.elements)
    zero = np.zeros((2, size))
    fits = np.zeros((2, size, len(models), len(points)))
    used: set[str] = set()
    for element, (_, column) in enumerate(pub.elements):
        for number, term in enumerate(pub.terms[column]):
            amplified = [one[element][number] for one in by_term]
            coefficient = amplified[0][0]
            if term == IDENTITY:
                zero[0, element] += coefficient
                fits[0, element] += coefficient
                continue
            values, stds = _fits([one for _, one in amplified], zne, [0.0, *points])
            value, std, model = _select_zne_extrapolated_result(
                values[:, 0], stds[:, 0], "Z", models
            )
            if not np.isfinite(value):  # no fit has come to an end
                least = amplified[int(np.argmin(zne.factors))][1]
                value, std, model = least.value, least.std, "fallback"
            used.add(model)
            zero[:, element] += coefficient * value, (coefficient * std) ** 2
            fits[:, element] += coefficient * values[:, 1:], (coefficient * stds[:, 1:]) ** 2
    shape = pub.shape
    data = DataBin(
        evs=zero[0].reshape(shape),
        stds=np.sqrt(zero[1]).reshape(shape),
        evs_noise_factors=_table(means, "value", shape),
        stds_noise_factors=_table(means, "std", shape),
        ensemble_stds_noise_factors=_table(means, "ensemble", shape),
        evs_extrapolated=fits[0].reshape(*shape, len(models), len(points)),
        stds_extrapolated=np.sqrt(fits[1]).reshape(*shape, len(models), len(points)),
        shape=shape,
    )
    told = [model for model in (*models, "fallback") if model in used] or models[:1]
    return data, told[0] if len(told) == 1 else list(told)


def _table(means: Sequence[Sequence[Average]], field: str, shape: tuple[int, ...]) -> Floats:
    """A field of averages, shape (*shape, noise factors)."""
    numbers = [[getattr(one, field) for one in factor] for factor in means]
    return np.array(numbers).T.reshape(*shape, len(means))


def _fits(amplified: Sequence[Average], zne: Zne, points: Sequence[float]) -> tuple[Floats, Floats]:
    """Per extrapolator and point, the fit's value and standard error."""
    values = np.array([one.value for one in amplified])
    # Noise that is injected at random spreads the randomizations far more than the shots.
    stds = np.array([max(one.std, one.ensemble) for one in amplified])
    found, errors = _fit(values, stds, zne, points)
    unknown = np.isfinite(found) & ~np.isfinite(errors)
    if unknown.any():
        # As many points as parameters: the fit tells no error, but the points have theirs.
        spread = np.zeros_like(found)
        for i, std in enumerate(stds):
            moved = values.copy()
            moved[i] += STEP * std
            spread += ((_fit(moved, stds, zne, points)[0] - found) / STEP) ** 2
        errors = np.where(unknown, np.sqrt(spread), errors)
    return found, errors


def _fit(values: Floats, stds: Floats, zne: Zne, points: Sequence[float]) -> tuple[Floats, Floats]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of all-zero errors, which are fitted unweighted
        found, errors = _fit_extrapolation_models(
            values, stds, zne.factors, zne.extrapolators, np.array(points)
        )
    return found, errors
