"""What an estimator job does, from its resilience level and its options.

A level only stands for options that were left open (client 0.51, finalize_options), and some
options bring others with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from queuebit.errors import InvalidInput
from queuebit.programs.options import EstimatorOptions, Extrapolator, seed_of

DEFAULT_LEVEL = 1  # client 0.51, EstimatorOptions.resilience_level
LEVEL_MAX = 2
PEC_SHOTS_EACH = 64  # client 0.51, calculate_pec_twirling_shots

# How many different noise factors a fit needs (qiskit-mitigation 0.1, zne.extrapolation).
FACTORS_NEEDED: dict[Extrapolator, int] = {
    "fallback": 1,
    "linear": 2,
    "exponential": 2,
    "double_exponential": 4,
    "polynomial_degree_1": 2,
    "polynomial_degree_2": 3,
    "polynomial_degree_3": 4,
    "polynomial_degree_4": 5,
    "polynomial_degree_5": 6,
    "polynomial_degree_6": 7,
    "polynomial_degree_7": 8,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a job, with nothing left open."""

    options: EstimatorOptions
    gates_twirled: bool
    measures_twirled: bool
    mitigated: bool
    """Readout, by TREX."""
    extrapolated: bool
    """ZNE."""

    @property
    def seed(self) -> int | None:
        """Of all that is drawn: twirls, folded gates, injected noise."""
        given = self.options.seed_estimator
        return seed_of(self.options.simulator) if given is None else given

    @property
    def cancelled(self) -> bool:
        """PEC."""
        return self.options.resilience.pec_mitigation

    @property
    def amplified(self) -> bool:
        """ZNE whose noise is amplified by injecting learned noise: PEA."""
        return self.extrapolated and self.options.resilience.zne.amplifier == "pea"

    @property
    def injected(self) -> bool:
        """Whether the noise of layers is needed."""
        return self.cancelled or self.amplified

    @property
    def factors(self) -> list[float]:
        """By what the noise of each circuit is amplified."""
        return self.options.resilience.zne.factors if self.extrapolated else [1.0]

    def split(self, shots: int) -> tuple[int, int]:
        """Randomizations, before PEC makes more of them, and shots of each."""
        twirling = self.options.twirling
        if not (self.gates_twirled or self.measures_twirled):
            return 1, shots
        if (
            self.cancelled
            and twirling.num_randomizations == "auto"
            and twirling.shots_per_randomization == "auto"
        ):
            return ceil(shots / PEC_SHOTS_EACH), PEC_SHOTS_EACH
        return twirling.split(shots)

    def metadata(self) -> dict[str, Any]:
        """The job's metadata, as the guide prints it (Run jobs in a batch, Result1)."""
        options = self.options
        zne = options.resilience.zne
        told: dict[str, Any] = {
            "measure_mitigation": self.mitigated,
            "zne_mitigation": self.extrapolated,
            "pec_mitigation": self.cancelled,
        }
        if self.extrapolated:
            told["zne"] = {
                "noise_factors": zne.factors,
                "extrapolator": zne.extrapolator,
                "extrapolated_noise_factors": zne.points,
            }
        return {
            "dynamical_decoupling": options.dynamical_decoupling.model_dump(
                exclude={"skip_reset_qubits"}
            ),
            "twirling": {
                "enable_gates": self.gates_twirled,
                "enable_measure": self.measures_twirled,
                "num_randomizations": options.twirling.num_randomizations,
                "shots_per_randomization": options.twirling.shots_per_randomization,
                "interleave_randomizations": True,
                "strategy": options.twirling.strategy,
            },
            "resilience": told,
            "version": 2,
        }


def settle(options: EstimatorOptions, level: object) -> Settings:
    """The settings of a job; InvalidInput if they do not go together."""
    if level is None:
        level = DEFAULT_LEVEL
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= LEVEL_MAX:
        raise InvalidInput("params.resilience_level must be 0, 1 or 2", 1208)
    resilience, twirling = options.resilience, options.twirling
    mitigated = _or(resilience.measure_mitigation, level >= 1)
    extrapolated = _or(resilience.zne_mitigation, level == LEVEL_MAX)
    injected = resilience.pec_mitigation or (extrapolated and resilience.zne.amplifier == "pea")
    settings = Settings(
        options,
        gates_twirled=_or(twirling.enable_gates, level == LEVEL_MAX) or injected,
        # "measurement mitigation requires twirling.enable_measure=True" (client 0.51).
        measures_twirled=_or(twirling.enable_measure, level >= 1) or mitigated or injected,
        mitigated=mitigated,
        extrapolated=extrapolated,
    )
    for broken in _contradictions(settings):
        raise broken
    return settings


def _or(given: bool | None, by_level: bool) -> bool:  # noqa: FBT001 - both are answers
    return by_level if given is None else given


def _contradictions(settings: Settings) -> Iterator[InvalidInput]:
    if settings.cancelled and settings.extrapolated:
        yield InvalidInput(
            "options resilience.pec_mitigation and resilience.zne_mitigation cannot be enabled "
            "together",
            1208,
            "Set one of them to false; resilience_level 2 turns ZNE on.",
        )
    if not settings.extrapolated:
        return
    zne = settings.options.resilience.zne
    different = len(set(zne.factors))
    for extrapolator in zne.extrapolators:
        if different < FACTORS_NEEDED[extrapolator]:
            yield InvalidInput(
                f"option resilience.zne.extrapolator: {extrapolator} requires at least "
                f"{FACTORS_NEEDED[extrapolator]} different noise_factors, there are {different}",
                1208,
            )
