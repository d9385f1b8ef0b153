"""The options of the primitives: honoured, or refused by name.

The models list every option that IBM's clients know (ibm-quantum-schemas 0.13, "Options Model"), so
that a misspelt one is told from one that this service does not honour yet. An option that is off,
or has no effect on its own, may have any legal value.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from queuebit.devices.device import Device
from queuebit.errors import InvalidInput

SHOTS_MAX = 2**31 - 1  # semantics 6.2: "shots/default_shots 0..2^31-1"
SEED_MAX = 2**63 - 1  # what the simulator takes
REP_DELAY_RANGE_US = (20, 2_000)  # semantics 6.2: Heron; for devices that tell no range

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1, le=SHOTS_MAX)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX)]
Precision = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DynamicalDecoupling(_Options):
    """Pulses on idle qubits."""

    enable: bool = False
    sequence_type: Literal["XX", "XpXm", "XY4"] = "XX"
    extra_slack_distribution: Literal["middle", "edges"] = "middle"
    scheduling_method: Literal["alap", "asap"] = "alap"
    skip_reset_qubits: bool = False

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        if self.enable:
            yield "dynamical_decoupling.enable"


class Execution(_Options):
    """How circuits are run."""

    init_qubits: bool = True
    rep_delay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        if not self.init_qubits:
            yield "execution.init_qubits"


class SamplerExecution(Execution):
    """How circuits are run, and what is told of their measurements."""

    meas_type: Literal["classified", "kerneled", "avg_kerneled"] = "classified"

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        yield from super().refused()
        if self.meas_type != "classified":
            yield "execution.meas_type"


class Twirling(_Options):
    """Randomized, equivalent circuits. None: as the resilience level has it."""

    enable_gates: bool | None = None
    enable_measure: bool | None = None
    num_randomizations: Count | Auto = "auto"
    shots_per_randomization: Count | Auto = "auto"
    strategy: Literal["active", "active-accum", "active-circuit", "all"] = "active-accum"

    def split(self, shots: int) -> tuple[int, int]:
        """Randomizations, and shots of each, for `shots` in all; their product may be larger.

        Twirling options, "num_randomizations" and "shots_per_randomization" (client 0.51).
        """
        if isinstance(self.shots_per_randomization, int):
            each = self.shots_per_randomization
        elif isinstance(self.num_randomizations, int):
            each = math.ceil(shots / self.num_randomizations)
        else:
            each = max(64, math.ceil(shots / 32))
        if isinstance(self.num_randomizations, int):
            return self.num_randomizations, each
        return math.ceil(shots / each), each


class MeasureNoiseLearning(_Options):
    """The circuits that learn the readout errors."""

    num_randomizations: Count = 32
    shots_per_randomization: Count | Auto = "auto"


class Zne(_Options):
    """Zero-noise extrapolation; without effect while `zne_mitigation` is off."""

    amplifier: Literal["gate_folding", "gate_folding_front", "gate_folding_back", "pea"] = (
        "gate_folding"
    )
    noise_factors: list[float] | Auto = [1, 3, 5]
    extrapolator: str | list[str] = ["exponential", "linear"]
    extrapolated_noise_factors: list[float] | Auto = "auto"


class Pec(_Options):
    """Probabilistic error cancellation; without effect while `pec_mitigation` is off."""

    max_overhead: float | None = 100.0
    noise_gain: float | Auto = "auto"


class LayerNoiseLearning(_Options):
    """The circuits that learn the errors of gates; without effect unless PEC or PEA is on."""

    max_layers_to_learn: int | None = 4
    shots_per_randomization: Count = 128
    num_randomizations: Count = 32
    layer_pair_depths: list[int] = [0, 1, 2, 4, 16, 32]


class Resilience(_Options):
    """Error mitigation. None: as the resilience level has it."""

    measure_mitigation: bool | None = None
    measure_noise_learning: MeasureNoiseLearning = MeasureNoiseLearning()
    zne_mitigation: bool | None = None
    zne: Zne = Zne()
    pec_mitigation: bool = False
    pec: Pec = Pec()
    layer_noise_learning: LayerNoiseLearning = LayerNoiseLearning()
    layer_noise_model: Any = None

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        for name in ("zne_mitigation", "pec_mitigation"):
            if getattr(self, name):
                yield f"resilience.{name}"
        if self.layer_noise_model is not None:
            yield "resilience.layer_noise_model"


class Simulator(_Options):
    """Of IBM's local testing mode; here only the seed, which makes a job repeatable."""

    noise_model: Any = None
    seed_simulator: Seed | None = None
    coupling_map: Any = None
    basis_gates: Any = None  # "Deprecated field. Passed values will be ignored."

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        for name in ("noise_model", "coupling_map"):
            if getattr(self, name) is not None:
                yield f"simulator.{name}"


class SamplerOptions(_Options):
    """Options of the sampler."""

    default_shots: Count | None = None
    dynamical_decoupling: DynamicalDecoupling = DynamicalDecoupling()
    execution: SamplerExecution = SamplerExecution()
    twirling: Twirling = Twirling()
    simulator: Simulator | None = None
    experimental: dict[str, Any] | None = None

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        yield from self.dynamical_decoupling.refused()
        yield from self.execution.refused()
        for name in ("enable_gates", "enable_measure"):
            if getattr(self.twirling, name):
                yield f"twirling.{name}"
        yield from (self.simulator or Simulator()).refused()
        yield from (f"experimental.{name}" for name in self.experimental or {})


class EstimatorOptions(_Options):
    """Options of the estimator."""

    default_precision: Precision | None = None
    default_shots: Count | None = None
    seed_estimator: Seed | None = None
    dynamical_decoupling: DynamicalDecoupling = DynamicalDecoupling()
    resilience: Resilience = Resilience()
    execution: Execution = Execution()
    twirling: Twirling = Twirling()
    simulator: Simulator | None = None
    experimental: dict[str, Any] | None = None

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        yield from self.dynamical_decoupling.refused()
        yield from self.resilience.refused()
        yield from self.execution.refused()
        if self.twirling.enable_gates:
            yield "twirling.enable_gates"
        yield from (self.simulator or Simulator()).refused()
        yield from (f"experimental.{name}" for name in self.experimental or {})


Model = TypeVar("Model", SamplerOptions, EstimatorOptions)


def parse(model: type[Model], given: object) -> Model:
    """The options as given, checked; InvalidInput names those that cannot stand."""
    try:
        options = model.model_validate({} if given is None else given)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(["options", *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            raise InvalidInput(f"{name}: there is no such option", 1208) from None
        raise InvalidInput(f"{name}: {first['msg']}", 1208) from None
    if refused := list(options.refused()):
        subject = f"option {refused[0]} is" if len(refused) == 1 else f"options {_and(refused)} are"
        raise InvalidInput(
            f"{subject} not supported by this service yet", 1208, "Leave it at its default."
        )
    return options


def _and(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def seed_of(simulator: Simulator | None) -> int | None:
    """The seed of the simulated QPU, if one was given."""
    return None if simulator is None else simulator.seed_simulator


def rep_delay_s(execution: Execution, device: Device) -> float:
    """Seconds between two shots, from the option or the device's default."""
    if execution.rep_delay is None:
        return device.rep_delay_s
    allowed_us = device.snapshot.configuration.get("rep_delay_range") or REP_DELAY_RANGE_US
    low, high = (1e-6 * float(bound) for bound in allowed_us)
    if not low <= execution.rep_delay <= high:
        raise InvalidInput(
            f"option execution.rep_delay: {execution.rep_delay:g} s is outside the backend's range "
            f"of {low:g} s to {high:g} s",
            1208,
        )
    return execution.rep_delay
