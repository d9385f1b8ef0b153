"""The estimator: expectation values of observables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers import DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers.observables_array import ObservablesArray

from queuebit.devices.device import Device, Experiment
from queuebit.errors import InvalidInput
from queuebit.programs import averages, codec, limits, paulis, pubs
from queuebit.programs.averages import Pub
from queuebit.programs.options import SHOTS_MAX, EstimatorOptions, parse, rep_delay_s, seed_of
from queuebit.programs.readout import Calibration, Measured, Scales, angles, measured, random_flips

DEFAULT_PRECISION = 0.015625  # client 0.51, EstimatorOptions.default_precision: 1 / sqrt(4096)
DEFAULT_LEVEL = 1  # client 0.51, EstimatorOptions.resilience_level
LEVEL_MAX = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a job, with what its resilience level adds (client 0.51, finalize_options).

    Gate twirling, ZNE and PEC join here: they change which circuits run, and what is made of them.
    """

    options: EstimatorOptions
    twirled: bool
    mitigated: bool

    def metadata(self) -> dict[str, Any]:
        """The job's metadata, as the guide prints it (Run jobs in a batch, Result1)."""
        decoupling, twirling = self.options.dynamical_decoupling, self.options.twirling
        return {
            "dynamical_decoupling": decoupling.model_dump(exclude={"skip_reset_qubits"}),
            "twirling": {
                "enable_gates": False,
                "enable_measure": self.twirled,
                "num_randomizations": twirling.num_randomizations,
                "shots_per_randomization": twirling.shots_per_randomization,
                "interleave_randomizations": True,
                "strategy": twirling.strategy,
            },
            "resilience": {
                "measure_mitigation": self.mitigated,
                "zne_mitigation": False,
                "pec_mitigation": False,
            },
            "version": 2,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An estimator job that can run, unless it is over a limit."""

    pubs: list[Pub]
    circuits: list[QuantumCircuit]
    values: list[NDArray[np.float64]]
    settings: Settings
    seed: int | None
    rep_delay_s: float
    tagged: bool
    num_qubits: int

    def experiments(self) -> tuple[list[Experiment], "Done"]:
        """What the device shall run, and what makes a result of it."""
        options = self.settings.options
        twirl_seed = self.seed if options.seed_estimator is None else options.seed_estimator
        rng = np.random.default_rng(twirl_seed)
        experiments: list[Experiment] = []
        flips, places = [], []
        for pub, circuit, rows in zip(self.pubs, self.circuits, self.values, strict=True):
            what = measured(circuit, pub.qubits)
            drawn = random_flips(pub.flips_shape, rng, twirled=self.settings.twirled)
            flips.append(drawn)
            places.append(what.clbits)
            if pub.configurations:  # an observable of identities alone needs no circuit
                values = _values(what, pub, rows, drawn)
                experiments.append(Experiment(what.circuit, values, pub.shots_each))
        calibration = self._calibration(rng)
        if calibration is not None:
            experiments.append(calibration.experiment(self.num_qubits))
        done = Done(self.pubs, flips, places, calibration, self.settings.metadata(), self.tagged)
        return experiments, done

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""
        yield from limits.bits(
            (
                len(pub.configurations) * pub.randomizations,
                pub.shots_each,
                len(pub.qubits) + circuit.num_clbits,
            )
            for pub, circuit in zip(self.pubs, self.circuits, strict=True)
        )
        yield from limits.sizes(self.circuits)

    def _calibration(self, rng: np.random.Generator) -> Calibration | None:
        qubits = sorted({qubit for pub in self.pubs for qubit in pub.qubits})
        if not self.settings.mitigated or not qubits:
            return None
        learning = self.settings.options.resilience.measure_noise_learning
        given = learning.shots_per_randomization
        shots = given if isinstance(given, int) else max(pub.shots_each for pub in self.pubs)
        flips = random_flips((learning.num_randomizations, len(qubits)), rng, twirled=True)
        return Calibration(qubits, flips, shots)


@dataclass(frozen=True, slots=True)
class Done:
    """What makes a result of bits."""

    pubs: list[Pub]
    flips: list[NDArray[np.bool_]]
    """Per PUB, shape (configurations, randomizations, qubits)."""
    places: list[list[int]]
    """Per PUB, where its outcomes are among its classical bits."""
    calibration: Calibration | None
    metadata: dict[str, Any]
    tagged: bool

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The job's result as JSON text; when it ran is told only of samples."""
        del start, stop
        left = list(bits)
        scales = None if self.calibration is None else Scales(self.calibration, left.pop())
        results = []
        for pub, flips, places in zip(self.pubs, self.flips, self.places, strict=True):
            outcomes = np.zeros((*flips.shape[:2], pub.shots_each, len(places)), dtype=bool)
            if pub.configurations:
                outcomes = left.pop(0)[..., places].reshape(outcomes.shape)
                outcomes ^= flips[:, :, np.newaxis, :]
            results.append(_pub_result(pub, outcomes, scales))
        return codec.encode(PrimitiveResult(results, metadata=self.metadata), tagged=self.tagged)


def plan(text: bytes, device: Device) -> Plan:
    """The job that the parameters' JSON text asks for; InvalidInput if it cannot run."""
    params = codec.decode(text)
    frame = pubs.frame(params, ("precision", "resilience_level"))
    options = parse(EstimatorOptions, frame.options)
    settings = _settings(options, params.get("resilience_level"))
    common = _precision(params.get("precision"), "params.precision")
    names = ("circuit", "observables", "parameter values", "precision")
    given = [pubs.parts(pub, i, names, required=2) for i, pub in enumerate(frame.pubs)]
    observables = [_observables(circuit, what, i) for i, (circuit, what, *_) in enumerate(given)]
    paulis.check_terms(o for array in observables for o in _flat(array))
    checked, circuits, values = [], [], []
    for i, (circuit, _, own_values, own_precision) in enumerate(given):
        precision = _precision(own_precision, f"PUB {i}, precision") or common
        bound = pubs.bindings(circuit, own_values, i)
        try:
            shape = np.broadcast_shapes(bound.shape, observables[i].shape)
        except ValueError:
            raise InvalidInput(
                f"PUB {i}: observables of shape {observables[i].shape} and parameter values of "
                f"shape {bound.shape} cannot be broadcast together",
                1208,
            ) from None
        shots = _shots(precision, options, i)
        split = options.twirling.split(shots) if settings.twirled else (1, shots)
        terms = [paulis.expand(o) for o in _flat(observables[i])]
        checked.append(
            averages.plan(
                shape=shape,
                terms=terms,
                rows=_index(bound.shape, shape),
                columns=_index(observables[i].shape, shape),
                split=split,
                metadata={
                    "shots": prod(split),
                    "target_precision": precision or shots**-0.5,
                    "circuit_metadata": circuit.metadata or {},
                    "resilience": {},
                    "num_randomizations": split[0],
                },
            )
        )
        circuits.append(circuit)
        values.append(pubs.rows(circuit, bound))
    pubs.check_circuits(circuits, device)
    if missing := {"rz", "sx"} - set(device.target.operation_names):
        raise InvalidInput(
            f"the estimator measures with the gates rz and sx; {device.name} lacks "
            f"{' and '.join(sorted(missing))}",
            1517,
        )
    seed = seed_of(options.simulator)
    return Plan(
        pubs=checked,
        circuits=circuits,
        values=values,
        settings=settings,
        seed=options.seed_estimator if seed is None else seed,
        rep_delay_s=rep_delay_s(options.execution, device),
        tagged=frame.tagged,
        num_qubits=device.num_qubits,
    )


def _settings(options: EstimatorOptions, level: object) -> Settings:
    if level is None:
        level = DEFAULT_LEVEL
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= LEVEL_MAX:
        raise InvalidInput("params.resilience_level must be 0, 1 or 2", 1208)
    if level == LEVEL_MAX:
        raise InvalidInput(
            "option resilience_level 2 is not supported by this service yet",
            1208,
            "Use resilience_level 0 or 1.",
        )
    mitigated = options.resilience.measure_mitigation
    if mitigated is None:
        mitigated = level >= 1
    twirled = options.twirling.enable_measure
    if twirled is None:
        twirled = level >= 1
    # "measurement mitigation requires twirling.enable_measure=True" (client 0.51).
    return Settings(options, twirled or mitigated, mitigated)


def _precision(given: object, where: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1e9:  # noqa: PLR2004 - finite
        raise InvalidInput(f"{where}: must be a number greater than 0", 1208)
    return float(given)


def _shots(precision: float | None, options: EstimatorOptions, number: int) -> int:
    """Shots per configuration: a PUB's precision goes before the options (client 0.51, prepare)."""
    if precision is None and options.default_shots is not None:
        return options.default_shots
    precision = precision or options.default_precision or DEFAULT_PRECISION
    shots = ceil(1 / precision**2) if precision > 1e-6 else SHOTS_MAX + 1  # noqa: PLR2004 - of far too many shots
    if shots > SHOTS_MAX:
        raise InvalidInput(
            f"PUB {number}: precision {precision:g} needs more than {SHOTS_MAX} shots", 1208
        )
    return shots


def _observables(circuit: QuantumCircuit, given: object, number: int) -> ObservablesArray:
    try:
        array = ObservablesArray(given)
    except (TypeError, ValueError, KeyError, OverflowError, QiskitError, RecursionError) as error:
        raise InvalidInput(f"PUB {number}: the observables cannot be read: {error}", 1208) from None
    if not array.size:
        raise InvalidInput(f"PUB {number}: there are no observables", 1208)
    if array.num_qubits != circuit.num_qubits:
        raise InvalidInput(
            f"PUB {number}: the observables are of {array.num_qubits} qubits, the circuit of "
            f"{circuit.num_qubits}",
            1208,
            "Apply the circuit's layout to the observables.",
        )
    if not all(np.isfinite(observable.coeffs).all() for observable in _flat(array)):
        raise InvalidInput(f"PUB {number}: an observable's coefficient is not finite", 1208)
    return array


def _flat(array: ObservablesArray) -> list[Any]:
    return list(array.sparse_observables_array().ravel())


def _index(shape: tuple[int, ...], broadcast: tuple[int, ...]) -> NDArray[np.intp]:
    """Per element of the broadcast shape, flat, which flat element of `shape` it comes from."""
    return np.broadcast_to(np.arange(prod(shape)).reshape(shape), broadcast).ravel()


def _values(
    what: Measured, pub: Pub, rows: NDArray[np.float64], flips: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """A row of parameter values per configuration and randomization."""
    blocks = []
    for configuration, drawn in zip(pub.configurations, flips, strict=True):
        own = np.broadcast_to(rows[configuration.row], (len(drawn), rows.shape[1]))
        blocks.append(np.hstack([own, angles(configuration.basis, what.qubits, drawn)]))
    return np.concatenate(blocks)[:, what.columns]


def _pub_result(pub: Pub, outcomes: NDArray[np.bool_], scales: Scales | None) -> PubResult:
    values, between, ensemble = averages.average(pub, outcomes, scales)
    return PubResult(
        DataBin(
            evs=values.reshape(pub.shape),
            stds=between.reshape(pub.shape),
            ensemble_standard_error=ensemble.reshape(pub.shape),
            shape=pub.shape,
        ),
        metadata=pub.metadata,
    )
