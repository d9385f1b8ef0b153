"""Probabilistic error cancellation: how much noise is cancelled, and how many shots that takes.

van den Berg, Minev, Kandala, Temme, Nature Physics 19, 1116; options as in client 0.51, PecOptions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import Any

from qiskit.quantum_info import PauliLindbladMap

from queuebit.errors import InvalidInput
from queuebit.programs.estimator.bodies import Injection
from queuebit.programs.learner.layers import Site, exponent
from queuebit.programs.options import Pec

EXPONENT_MAX = 50.0  # e^50 times the shots are out of every reach


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What PEC does to a PUB."""

    injection: Injection
    scaling: float
    """By what its randomizations are multiplied."""


def cancel(
    sites: Sequence[Site],
    noise: Mapping[str, PauliLindbladMap],
    pec: Pec,
    where: str,
    *,
    refuse: bool,
) -> Cancellation:
    """How the noise at `sites` is cancelled.

    If that takes more shots than there are, InvalidInput if it is to be refused; else, once the job
    has run, what is too much is left. `noise_gain` "auto" leaves as much noise as keeps the
    overhead within `max_overhead`; with a gain that is given, `max_overhead` cuts the
    randomizations (qiskit-mitigation 0.1, PEC.prepare).
    """
    whole = sum(exponent(noise[site.ref]) for site in sites)
    most = inf if pec.max_overhead is None else pec.max_overhead
    if pec.noise_gain != "auto":
        gain = pec.noise_gain
    elif whole == 0 or most == inf:
        gain = 0.0
    else:
        gain = min(1.0, max(0.0, 1 - log(most) / whole))
    cancelled = max(0.0, 1 - gain) * whole
    if cancelled > EXPONENT_MAX and not refuse:
        gain, cancelled = 1 - EXPONENT_MAX / whole, EXPONENT_MAX
    if cancelled > EXPONENT_MAX:
        raise InvalidInput(
            f"{where}: to cancel its noise takes e^{cancelled:.0f} times the shots",
            1208,
            "Leave options resilience.pec.noise_gain and max_overhead at their defaults, or use a "
            "shorter circuit.",
        )
    return Cancellation(
        Injection(noise, gain - 1, gamma=exp(cancelled / 2)), min(most, exp(cancelled))
    )


def told(sites: Sequence[Site], noise: Mapping[str, PauliLindbladMap]) -> dict[str, Any]:
    """The metadata of layer noise (ibm-quantum-schemas 0.13, LayerNoiseMetadataModel)."""
    mitigated = [site for site in sites if len(noise[site.ref])]
    unique = {site.ref: exponent(noise[site.ref]) for site in mitigated}
    return {
        "noise_overhead": _overhead(sum(unique[site.ref] for site in mitigated)),
        "total_mitigated_layers": len(mitigated),
        "unique_mitigated_layers": len(unique),
        "unique_mitigated_layers_noise_overhead": [_overhead(one) for one in unique.values()],
    }


def _overhead(exponent: float) -> float | str:
    return exp(exponent) if exponent < 700 else "infinity"  # noqa: PLR2004 - the largest that a float holds
