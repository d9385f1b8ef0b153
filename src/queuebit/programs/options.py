"""The options of the primitives: honoured, or refused by name.

The models list every option that IBM's clients know (ibm-quantum-schemas 0.13, "Options Model"), so
that a misspelt one is told from one that this service does not honour yet. An option that is off,
or has no effect on its own, may have any legal value.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from queuebit.devices.protocol import Qpu
from queuebit.errors import InvalidInput

SHOTS_MAX = 2**31 - 1  # semantics 6.2: "shots/default_shots 0..2^31-1"
NAME_CHARS_MAX = 200  # of an option, in an error message
SEED_MAX = 2**63 - 1  # what the simulator takes
REP_DELAY_RANGE_US = (20, 2_000)  # semantics 6.2: Heron; for devices that tell no range

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1, le=SHOTS_MAX)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX)]
Precision = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Extrapolator = Literal[
    "linear",
    "exponential",
    "double_exponential",
    "polynomial_degree_1",
    "polynomial_degree_2",
    "polynomial_degree_3",
    "polynomial_degree_4",
    "polynomial_degree_5",
    "polynomial_degree_6",
    "polynomial_degree_7",
    "fallback",
]
Extrapolators = Annotated[
    list[Extrapolator], Field(min_length=1, max_length=len(get_args(Extrapolator)))
]
FACTORS_MAX = 100  # noise factors of one job
Factors = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=FACTORS_MAX)
]
NoiseFactors = Annotated[
    list[Annotated[float, Field(ge=1, allow_inf_nan=False)]],
    Field(min_length=1, max_length=FACTORS_MAX),
]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DynamicalDecoupling(_Options):
    """Pulses on idle qubits."""

    enable: bool = False
    sequence_type: Literal["XX", "XpXm", "XY4"] = "XX"
    extra_slack_distribution: Literal["middle", "edges"] = "middle"
    scheduling_method: Literal["alap", "asap"] = "alap"
    skip_reset_qubits: bool = False


class Execution(_Options):
    """How circuits are run."""

    init_qubits: bool = True
    """No effect: a simulated shot begins in the ground state with a reset or without one."""
    rep_delay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class SamplerExecution(Execution):
    """How circuits are run, and what is told of their measurements."""

    meas_type: Literal["classified", "kerneled", "avg_kerneled"] = "classified"
    scheduler_timing: bool = False
    """Experimental, like the next: the client merges what `experimental` holds into the others."""
    stretch_values: bool = False
    """No effect: circuits with stretches are refused."""


class Twirling(_Options):
    """Randomized, equivalent circuits. None: as the resilience level has it."""

    enable_gates: bool | None = None
    enable_measure: bool | None = None
    num_randomizations: Count | Auto = "auto"
    shots_per_randomization: Count | Auto = "auto"
    strategy: Literal["active", "active-accum", "active-circuit", "all"] = "active-accum"

    @property
    def enabled(self) -> bool:
        """Whether the sampler twirls anything; the estimator looks at its level too."""
        return bool(self.enable_gates or self.enable_measure)

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
    noise_factors: NoiseFactors | Auto = [1, 3, 5]
    extrapolator: Extrapolator | Extrapolators = ["exponential", "linear"]
    extrapolated_noise_factors: Factors | Auto = "auto"

    @property
    def factors(self) -> list[float]:
        """By what the noise is amplified."""
        return [1, 3, 5] if isinstance(self.noise_factors, str) else self.noise_factors

    @property
    def extrapolators(self) -> list[Extrapolator]:
        """In the order in which they are tried."""
        given = self.extrapolator
        return [given] if isinstance(given, str) else given

    @property
    def points(self) -> list[float]:
        """At what amplifications the fits are told."""
        given = self.extrapolated_noise_factors
        return [0.0, *self.factors] if isinstance(given, str) else given


class Pec(_Options):
    """Probabilistic error cancellation; without effect while `pec_mitigation` is off."""

    max_overhead: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 100.0
    noise_gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Auto = "auto"


class LayerNoiseLearning(_Options):
    """The circuits that learn the errors of gates; without effect unless PEC or PEA is on."""

    max_layers_to_learn: Annotated[int, Field(ge=0)] | None = 4
    shots_per_randomization: Count = 128
    num_randomizations: Count = 32
    layer_pair_depths: list[Annotated[int, Field(ge=0, le=SHOTS_MAX)]] = [0, 1, 2, 4, 16, 32]


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


# What `experimental` may hold that changes results at IBM: options inside the groups of options.
GROUPS = frozenset(
    ("dynamical_decoupling", "execution", "resilience", "simulator", "transpilation", "twirling")
)


Honoured = tuple[tuple[str, str], ...]
"""Groups and names of what is honoured under `experimental`."""
EXECUTION: Honoured = (("execution", "scheduler_timing"), ("execution", "stretch_values"))


def inside(tree: Any, *names: str) -> Any:
    """What stands in JSON objects under `names`; None if there is nothing."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def experiment(experimental: Any, name: str) -> bool:
    """Whether one of `EXECUTION` is on, under `execution` or without that."""
    return inside(experimental, "execution", name) is True or inside(experimental, name) is True


def refused_experiments(
    experimental: dict[str, Any] | None, honoured: Honoured = ()
) -> Iterator[str]:
    """Names of the experimental options that might change a result, but for the `honoured` ones.

    IBM's schema takes any dictionary ("subject to change without notification"); other names mean
    nothing to this service, as to IBM's, and are accepted. InvalidInput for one of a wrong type.
    """
    for group, given in (experimental or {}).items():
        if group in GROUPS and given not in ({}, None):
            names = given if isinstance(given, dict) else [None]
            left = [name for name in names if (group, name) not in honoured]
            yield from (f"experimental.{group}" + (f".{name}" if name else "") for name in left)
    for group, name in honoured:
        value = inside(experimental, group, name)
        kind = int if name == "seed_simulator" else bool
        if value is not None and type(value) is not kind:
            raise InvalidInput(
                f"option experimental.{group}.{name} must be of type {kind.__name__}", 1208
            )


class Transpilation(_Options):
    """No effect: circuits run as they come, "ISA circuits". IBM's guides for REST send it."""

    optimization_level: Literal[0, 1] = 1


class _Primitive(_Options):
    """What the sampler and the estimator have in common."""

    default_shots: Count | None = None
    transpilation: Transpilation = Transpilation()
    dynamical_decoupling: DynamicalDecoupling = DynamicalDecoupling()
    twirling: Twirling = Twirling()
    simulator: Simulator | None = None
    experimental: dict[str, Any] | None = None

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        yield from (self.simulator or Simulator()).refused()
        yield from refused_experiments(self.experimental)


class SamplerOptions(_Primitive):
    """Options of the sampler."""

    execution: SamplerExecution = SamplerExecution()
    scheduler_timing: bool = False
    """Likewise experimental."""

    @property
    def timed(self) -> bool:
        """Whether schedules of the circuits are told, wherever that is asked for."""
        return (
            self.scheduler_timing
            or self.execution.scheduler_timing
            or experiment(self.experimental, "scheduler_timing")
        )

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        yield from (self.simulator or Simulator()).refused()
        yield from refused_experiments(self.experimental, EXECUTION)


class EstimatorOptions(_Primitive):
    """Options of the estimator."""

    default_precision: Precision | None = None
    seed_estimator: Seed | None = None
    resilience: Resilience = Resilience()
    execution: Execution = Execution()


class NoiseLearnerOptions(LayerNoiseLearning):
    """Options of the noise learner, whose layers are found in circuits."""

    twirling_strategy: Literal["active", "active-accum", "active-circuit", "all"] = "active-accum"
    support_qiskit: bool = True
    simulator: Simulator | None = None
    experimental: dict[str, Any] | None = None

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        yield from (self.simulator or Simulator()).refused()
        yield from (f"experimental.{name}" for name in self.experimental or {})


class BitFlips(_Options):
    """Checks that discard shots whose qubits do not flip when they should."""

    enable: bool = False
    x_pulse_type: Literal["xslow", "rx"] = "xslow"
    strategy: Literal["node", "edge"] = "node"


class BitFlipChecks(_Options):
    """Before and after the circuit."""

    pre_circuit: BitFlips = BitFlips()
    post_circuit: BitFlips = BitFlips()


class NoiseLearnerV3Options(Execution):
    """Options of the noise learner, whose layers are given as boxes."""

    shots_per_randomization: Count = 128
    num_randomizations: Count = 32
    layer_pair_depths: list[Annotated[int, Field(ge=0, le=SHOTS_MAX)]] = [0, 1, 2, 4, 16, 32]
    post_selection: BitFlips = BitFlips()
    bit_flip_checks: BitFlipChecks = BitFlipChecks()

    def refused(self) -> Iterator[str]:
        """Names of the options that are set and not honoured."""
        for name, checks in (
            ("post_selection", self.post_selection),
            ("bit_flip_checks.pre_circuit", self.bit_flip_checks.pre_circuit),
            ("bit_flip_checks.post_circuit", self.bit_flip_checks.post_circuit),
        ):
            if checks.enable:
                yield f"{name}.enable"


Model = TypeVar(
    "Model", SamplerOptions, EstimatorOptions, NoiseLearnerOptions, NoiseLearnerV3Options
)


def parse(model: type[Model], given: object) -> Model:
    """The options as given, checked; InvalidInput names those that cannot stand."""
    try:
        options = model.model_validate({} if given is None else given)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_context=False)[0]
        where = ["options", *(str(one) for one in first["loc"])]
        if first["type"] == "extra_forbidden":
            name = ".".join(where)[:NAME_CHARS_MAX]
            raise InvalidInput(f"{name}: there is no such option.", 1208) from None
        # Of a union Pydantic names the branch too, as in "list[constrained-float]".
        name = ".".join(one for one in where if "[" not in one and "-" not in one)
        raise InvalidInput(f"{name}: {first['msg']}", 1208) from None
    refuse(options.refused())
    return options


def refuse(names: Iterable[str]) -> None:
    """Refuse options that are set and not honoured, if there are any."""
    found = [name[:NAME_CHARS_MAX] for name in names]
    if not found:
        return
    if len(found) == 1:
        raise InvalidInput(
            f"option {found[0]} is not supported by this service yet.",
            1208,
            "Leave it at its default.",
        )
    raise InvalidInput(
        f"options {', '.join(found[:-1])} and {found[-1]} are not supported by this service yet.",
        1208,
        "Leave them at their defaults.",
    )


def seed_of(simulator: Simulator | None) -> int | None:
    """The seed of the simulated QPU, if one was given."""
    return None if simulator is None else simulator.seed_simulator


def rep_delay_s(execution: Execution, device: Qpu) -> float:
    """Seconds between two shots, from the option or the device's default."""
    if execution.rep_delay is None:
        return device.rep_delay_s
    allowed_us = device.description.configuration.get("rep_delay_range") or REP_DELAY_RANGE_US
    low, high = (1e-6 * float(bound) for bound in allowed_us)
    if not low <= execution.rep_delay <= high:
        raise InvalidInput(
            f"option execution.rep_delay: {execution.rep_delay:g} s is outside the backend's range "
            f"of {low:g} s to {high:g} s.",
            1208,
        )
    return execution.rep_delay
