"""An estimator job: what runs, in one round or two, and what is made of it.

Without injected noise there is one round. With it (PEC, PEA), and no noise model given, a first
round learns the noise of the layers, and the circuits of the second are drawn from what it told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil, exp
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import DataBin, PrimitiveResult, PubResult
from qiskit_ibm_runtime.results import LayerError

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.errors import InvalidInput
from queuebit.programs import limits
from queuebit.programs.estimator import cancellation, extrapolation
from queuebit.programs.estimator.averages import Outcomes, Pub, average
from queuebit.programs.estimator.bodies import Body, Draws, Injection
from queuebit.programs.estimator.readout import Calibration, Scales, random_flips
from queuebit.programs.estimator.settings import Settings
from queuebit.programs.learner import layer_errors
from queuebit.programs.learner.layers import Key, Noise, known_at
from queuebit.programs.learner.learning import Learned
from queuebit.programs.seeds import Use, generator
from queuebit.programs.wire import codec

Bits = Sequence[NDArray[np.bool_]]

SHARE_MIN = exp(-cancellation.EXPONENT_MAX)  # then there are as many randomizations as without PEC


@dataclass(frozen=True, slots=True)
class Job:
    """PUBs, ready to be drawn; can be pickled."""

    pubs: list[Pub]
    """With as many randomizations as without PEC."""
    values: list[NDArray[np.float64]]
    bodies: list[list[Body]]
    """Per PUB, one per noise factor."""
    settings: Settings
    tagged: bool
    num_qubits: int
    by_u3: bool
    """How bases are changed: `readout.turns_by_u3`."""
    qpy_version: int | None
    """Of circuits in the result; None: there are none."""
    share: float | None = None
    """Of the randomizations that PEC asks for by what was learned; None: nothing was, yet."""

    def draw(
        self, noise: Noise | None, layers: list[LayerError] | None
    ) -> tuple[list[Experiment], "Done"]:
        """Circuits, and what makes a result of their bits.

        `noise` is what is known of layers, as Paulis to inject; `layers` likewise, for the result.
        """
        rng = generator(self.settings.seed, Use.CIRCUITS)
        experiments: list[Experiment] = []
        pubs, drawn = [], []
        for number, bodies in enumerate(self.bodies):
            pub, injections = self._injected(number, noise)
            draws = []
            for body, injection in zip(bodies, injections, strict=True):
                if not pub.configurations:
                    break  # an observable of identities alone needs no circuit
                experiment, draw = body.draw(
                    pub,
                    self.values[number],
                    rng,
                    flipped=self.settings.measures_twirled,
                    injection=injection,
                )
                experiments.append(experiment)
                draws.append(draw)
            pubs.append(pub)
            drawn.append(draws)
        calibration = self.calibration(rng)
        if calibration is not None:
            experiments.append(calibration.experiment(self.num_qubits, by_u3=self.by_u3))
        done = Done(
            pubs=pubs,
            draws=drawn,
            calibration=calibration,
            layers=layers,
            settings=self.settings,
            tagged=self.tagged,
            qpy_version=self.qpy_version,
        )
        return experiments, done

    def outline(self, noise: Noise | None) -> list[Experiment]:
        """What `draw` would make, without values."""
        found = []
        for number, bodies in enumerate(self.bodies):
            pub, injections = self._injected(number, noise)
            if pub.configurations:
                found += [
                    body.outline(pub, self.values[number], injection)
                    for body, injection in zip(bodies, injections, strict=True)
                ]
        calibration = self.calibration(np.random.default_rng(0))
        if calibration is not None:
            found.append(calibration.experiment(self.num_qubits, by_u3=self.by_u3))
        return found

    def over_limits(self, noise: Noise | None) -> Iterator[InvalidInput]:
        """The limits that the circuits break."""
        pubs = [self._injected(number, noise)[0] for number in range(len(self.pubs))]
        runs = [
            (len(pub.configurations) * pub.randomizations, pub.shots_each, body.what.circuit)
            for pub, bodies in zip(pubs, self.bodies, strict=True)
            for body in bodies
        ]
        if self.settings.gates_twirled:
            yield from limits.twirled(
                sum(
                    len(pub.configurations) * len(bodies)
                    for pub, bodies in zip(pubs, self.bodies, strict=True)
                )
            )
        yield from limits.values((count, circuit.num_parameters) for count, _, circuit in runs)
        yield from limits.bits((count, shots, circuit.num_clbits) for count, shots, circuit in runs)
        yield from limits.sizes([bodies[-1].what.circuit for bodies in self.bodies])

    def refusal(self, noise: Noise, device: Qpu) -> InvalidInput | None:
        """Why the circuits cannot run; None if they can."""
        for broken in self.over_limits(noise):
            return broken
        try:
            device.check(self.outline(noise))
        except InvalidInput as broken:
            return broken
        return None

    def _injected(self, number: int, noise: Noise | None) -> tuple[Pub, Sequence[Injection | None]]:
        """A PUB with as many randomizations as it gets, and what is injected per noise factor."""
        pub, bodies = self.pubs[number], self.bodies[number]
        if not self.settings.injected or noise is None:
            return pub, [None] * len(bodies)
        resilience = self.settings.options.resilience
        known = known_at(bodies[0].sites, noise)
        told: dict[str, Any] = {"layer_noise": cancellation.told(bodies[0].sites, known)}
        if self.settings.amplified:
            pub = replace(pub, metadata=pub.metadata | {"resilience": told})
            return pub, [Injection(known, factor - 1) for factor in self.settings.factors]
        found = cancellation.cancel(
            bodies[0].sites, known, resilience.pec, f"PUB {number}", refuse=self.share is None
        )
        scaling = found.scaling
        if self.share is not None:
            scaling = max(1.0, scaling * self.share)
        count = ceil(pub.randomizations * scaling)
        told["pec"] = {"num_randomizations_scaling": scaling}
        metadata = pub.metadata | {
            "shots": count * pub.shots_each,
            "num_randomizations": count,
            "resilience": told,
        }
        return replace(pub, randomizations=count, metadata=metadata), [found.injection]

    def calibration(self, rng: np.random.Generator) -> Calibration | None:
        """The circuits that learn the readout, with random flips; None if it is not learned."""
        qubits = sorted({qubit for pub in self.pubs for qubit in pub.qubits})
        if not self.settings.mitigated or not qubits:
            return None
        learning = self.settings.options.resilience.measure_noise_learning
        given = learning.shots_per_randomization
        shots = given if isinstance(given, int) else max(pub.shots_each for pub in self.pubs)
        flips = random_flips((learning.num_randomizations, len(qubits)), rng, twirled=True)
        return Calibration(qubits, flips, shots)


@dataclass(frozen=True, slots=True)
class Learns:
    """The end of the first round of two."""

    job: Job
    learned: Learned
    keys: list[Key]
    """Of the layers, in the order in which they were learned."""
    gates: list[QuantumCircuit]
    """Likewise."""

    def more(self, bits: Bits, device: Qpu) -> tuple[list[Experiment], "Done"]:
        """The second round, of as many randomizations as the limits allow."""
        told = self.learned.noise(bits)
        noise = {key: one.pauli_map for key, one in zip(self.keys, told, strict=True)}
        share = 1.0
        while refusal := (job := replace(self.job, share=share)).refusal(noise, device):
            if share < SHARE_MIN:
                raise refusal
            share /= 2
        return job.draw(noise, layer_errors.layer_errors(self.gates, told))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What makes a result of bits."""

    pubs: list[Pub]
    draws: list[list[Draws]]
    """Per PUB and noise factor."""
    calibration: Calibration | None
    layers: list[LayerError] | None
    """Their noise, where it is needed: as it was learned, or as the job brought it."""
    settings: Settings
    tagged: bool
    qpy_version: int | None

    def result(self, bits: Bits, start: datetime, stop: datetime) -> bytes:
        """The job's result as JSON text; when it ran is told only of samples."""
        del start, stop
        left = list(bits)
        scales = None if self.calibration is None else Scales(self.calibration, left.pop())
        results = []
        for pub, draws in zip(self.pubs, self.draws, strict=True):
            outcomes = [_outcomes(pub, draw, left.pop(0)) for draw in draws]
            results.append(self._pub_result(pub, outcomes or [_nothing(pub)], scales))
        metadata = self.settings.metadata()
        if self.layers is not None:
            metadata["resilience"]["layer_noise_model"] = [
                layer if self.tagged else layer_errors.plain(layer) for layer in self.layers
            ]
        result = PrimitiveResult(results, metadata=metadata)
        return codec.encode(result, tagged=self.tagged, version=self.qpy_version)

    def _pub_result(
        self, pub: Pub, outcomes: Sequence[Outcomes], scales: Scales | None
    ) -> PubResult:
        if self.settings.extrapolated:
            zne = self.settings.options.resilience.zne
            every = list(outcomes) if pub.configurations else [*outcomes] * len(zne.factors)
            data, used = extrapolation.extrapolate(pub, every, scales, zne)
            resilience = {**pub.metadata["resilience"], "zne": {"extrapolator": used}}
            return PubResult(data, metadata=pub.metadata | {"resilience": resilience})
        found = average(pub, outcomes[0], scales)
        return PubResult(
            DataBin(
                evs=np.array([one.value for one in found]).reshape(pub.shape),
                stds=np.array([one.std for one in found]).reshape(pub.shape),
                ensemble_standard_error=np.array([one.ensemble for one in found]).reshape(
                    pub.shape
                ),
                shape=pub.shape,
            ),
            metadata=pub.metadata,
        )


def _outcomes(pub: Pub, draws: Draws, bits: NDArray[np.bool_]) -> Outcomes:
    found = bits[..., draws.clbits].reshape(*draws.flips.shape[:2], pub.shots_each, -1)
    found ^= draws.flips[:, :, np.newaxis, :]
    return Outcomes(found, draws.weights)


def _nothing(pub: Pub) -> Outcomes:
    return Outcomes(np.zeros((0, pub.randomizations, pub.shots_each, 0), dtype=bool))
