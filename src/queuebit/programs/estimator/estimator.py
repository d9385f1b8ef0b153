"""The estimator: expectation values of observables."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Qubit
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit_ibm_runtime.results import LayerError

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.errors import InvalidInput
from queuebit.programs import dynamic, limits, pubs
from queuebit.programs.estimator import averages, paulis
from queuebit.programs.estimator.averages import Pub
from queuebit.programs.estimator.bodies import bodies
from queuebit.programs.estimator.estimation import Done, Job, Learns
from queuebit.programs.estimator.propagated import Propagated, propagated
from queuebit.programs.estimator.readout import turns_by_u3
from queuebit.programs.estimator.settings import Settings, settle
from queuebit.programs.learner import layer_errors, layers, learning
from queuebit.programs.learner.layers import Noise
from queuebit.programs.options import SHOTS_MAX, EstimatorOptions, parse, rep_delay_s, seed_of
from queuebit.programs.seeds import Use, generator
from queuebit.programs.wire import codec

DEFAULT_PRECISION = 0.015625  # client 0.51, EstimatorOptions.default_precision: 1 / sqrt(4096)
COEFFICIENT_MAX = 1e100  # sums and squares of larger ones are not finite


@dataclass(slots=True)
class Plan:
    """An estimator job that can run, unless it is over a limit."""

    job: Job
    seed: int | None
    rep_delay_s: float
    device: Qpu
    given: Noise | None = None
    """The noise of layers that the job brought; None: it is learned, if it is needed."""
    given_layers: list[LayerError] | None = None
    """Likewise, as it came."""
    learner: learning.Learning | None = None
    """What learns it."""
    propagated: Propagated | None = None
    """The job without sampling, if it is too wide for that."""
    _outline: list[Experiment] = field(default_factory=list)

    @property
    def sampled(self) -> bool:
        """Whether the device samples what the outline tells."""
        return self.propagated is None

    def experiments(self) -> tuple[list[Experiment], Done | Learns | Propagated]:
        """What the device shall run first, and what makes a result of it, or more to run."""
        if self.propagated is not None:
            return [], self.propagated
        if self.learner is None:
            return self.job.draw(self._noise(), self.given_layers)
        rng = generator(self.job.settings.seed, Use.LEARNING)
        experiments, learned = self.learner.experiments(rng)
        chosen = self.to_learn()
        gates = [layer_errors.gates_of(layer) for layer in chosen.values()]
        return experiments, Learns(self.job, learned, list(chosen), gates)

    def outline(self) -> list[Experiment]:
        """What will run in all rounds, as far as it is known, without parameter values."""
        if not self._outline:
            first = [] if self.learner is None else self.learner.outline()
            self._outline = [*first, *self.job.outline(self._noise())]
        return self._outline

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""
        yield from self.job.over_limits(self._noise())
        if self.learner is not None:
            yield from limits.bits(self.learner.runs)

    def _noise(self) -> Noise | None:
        """Of layers, or what it is expected to be."""
        if not self.job.settings.injected:
            return None
        if self.given is not None:
            return self.given
        learned = set(self.to_learn())
        sites = [site for found in self.job.bodies for site in found[0].sites]
        return layers.expected((s for s in sites if s.key in learned), self.device.target)

    def to_learn(self) -> dict[layers.Key, learning.Layer]:
        """The layers whose noise is learned, where it is."""
        most = self.job.settings.options.resilience.layer_noise_learning.max_layers_to_learn
        return layers.to_learn((found[0].sites for found in self.job.bodies), most)


def plan(text: bytes, device: Qpu) -> Plan:
    """The job that the parameters' JSON text asks for; InvalidInput if it cannot run."""
    params = codec.decode(text)
    frame = pubs.frame(params, ("precision", "resilience_level"))
    options = parse(EstimatorOptions, frame.options)
    settings = settle(options, params.get("resilience_level"))
    common = _precision(params.get("precision"), "params.precision")
    names = ("circuit", "observables", "parameter values", "precision")
    given = [pubs.parts(pub, i, names, 2, device) for i, pub in enumerate(frame.pubs)]
    for pub, (circuit, what, *_) in zip(frame.pubs, given, strict=True):
        if isinstance(pub[0], str):
            _widen(circuit, what, device.num_qubits)
    observables = [_observables(circuit, what, i) for i, (circuit, what, *_) in enumerate(given)]
    paulis.check_terms(o for array in observables for o in _flat(array))
    checked, circuits, values, wanted = [], [], [], 0
    for i, (circuit, _, own_values, own_precision) in enumerate(given):
        precision = _precision(own_precision, f"PUB {i}, precision") or common
        bound = pubs.bindings(circuit, own_values, i)
        shape = _shape(bound.shape, observables[i].shape, i)
        wanted += prod(shape)
        limits.check_values(wanted)
        checked.append(
            _pub(
                i,
                circuit=circuit,
                observables=observables[i],
                bound=bound.shape,
                shape=shape,
                precision=precision,
                settings=settings,
            )
        )
        circuits.append(circuit)
        values.append(pubs.rows(circuit, bound))
    for i, circuit in enumerate(circuits):
        dynamic.check_static(circuit, device, f"PUB {i}")
    pubs.check_circuits(circuits, device, values)
    by_u3 = turns_by_u3(device.target)
    made = []
    for i, (circuit, pub) in enumerate(zip(circuits, checked, strict=True)):
        with pubs.told_of(i):
            made.append(bodies(circuit, pub.qubits, settings, device))
    seed = seed_of(options.simulator)
    job = Job(
        pubs=checked,
        values=values,
        bodies=made,
        settings=settings,
        tagged=frame.tagged,
        num_qubits=device.num_qubits,
        by_u3=by_u3,
        qpy_version=_qpy_version(text) if settings.injected else None,
    )
    found = Plan(
        job=job,
        seed=options.seed_estimator if seed is None else seed,
        rep_delay_s=rep_delay_s(options.execution, device),
        device=device,
    )
    _add_noise(found)
    if not list(found.over_limits()):
        found.propagated = propagated(job, circuits, found.outline(), device)
    return found


def _qpy_version(text: bytes) -> int:
    """Of the PUBs' circuits."""
    return codec.qpy_version(pub[0] for pub in codec.document(text)["pubs"])


def _add_noise(plan: Plan) -> None:
    """The noise model that the job brought, or what learns one."""
    if not plan.job.settings.injected:
        return
    resilience = plan.job.settings.options.resilience
    if resilience.layer_noise_model is not None:
        model = layers.given(resilience.layer_noise_model, plan.device.num_qubits)
        sites = [site for found in plan.job.bodies for site in found[0].sites]
        plan.given = layers.match({site.key for site in sites}, layers.told(model))
        plan.given_layers = model
        return
    chosen = plan.to_learn()
    if not chosen:
        plan.given, plan.given_layers = {}, []
        return
    asked = resilience.layer_noise_learning
    plan.learner = learning.Learning(
        list(chosen.values()),
        learning.Settings(
            num_randomizations=asked.num_randomizations,
            shots_per_randomization=asked.shots_per_randomization,
            pair_depths=tuple(asked.layer_pair_depths),
        ),
        plan.device,
    )


def _shape(bound: tuple[int, ...], observables: tuple[int, ...], number: int) -> tuple[int, ...]:
    """The shape of a PUB's result, from those of its parameter values and its observables."""
    try:
        return np.broadcast_shapes(bound, observables)
    except ValueError:
        raise InvalidInput(
            f"PUB {number}: observables of shape {observables} and parameter values of "
            f"shape {bound} cannot be broadcast together",
            1208,
        ) from None


def _pub(  # noqa: PLR0913 - the parts of a PUB
    number: int,
    *,
    circuit: QuantumCircuit,
    observables: ObservablesArray,
    bound: tuple[int, ...],
    shape: tuple[int, ...],
    precision: float | None,
    settings: Settings,
) -> Pub:
    """What is measured for a PUB; `bound` is the shape of its parameter values."""
    shots = _shots(precision, settings.options, number)
    split = settings.split(shots)
    metadata: dict[str, Any] = {
        "shots": prod(split),
        "target_precision": precision or shots**-0.5,
        "circuit_metadata": circuit.metadata or {},
        "resilience": {},
        "num_randomizations": split[0],
    }
    return averages.plan(
        shape=shape,
        terms=[paulis.expand(o) for o in _flat(observables)],
        rows=_index(bound, shape),
        columns=_index(observables.shape, shape),
        split=split,
        metadata=metadata,
    )


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


def _widen(circuit: QuantumCircuit, observables: object, most: int) -> None:
    """Let a circuit from OpenQASM, which ends at the last qubit it names, be as wide as these."""
    while isinstance(observables, list) and observables:
        observables = observables[0]
    if isinstance(observables, dict) and observables:
        observables = next(iter(observables))
    width = len(observables) if isinstance(observables, str) else 0
    if circuit.num_qubits < width <= most:
        circuit.add_bits([Qubit() for _ in range(width - circuit.num_qubits)])


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
    if not all((np.abs(observable.coeffs) <= COEFFICIENT_MAX).all() for observable in _flat(array)):
        raise InvalidInput(
            f"PUB {number}: an observable's coefficient is not finite, or over {COEFFICIENT_MAX:g}",
            1208,
        )
    return array


def _flat(array: ObservablesArray) -> list[Any]:
    return list(array.sparse_observables_array().ravel())


def _index(shape: tuple[int, ...], broadcast: tuple[int, ...]) -> NDArray[np.intp]:
    """Per element of the broadcast shape, flat, which flat element of `shape` it comes from."""
    return np.broadcast_to(np.arange(prod(shape)).reshape(shape), broadcast).ravel()
