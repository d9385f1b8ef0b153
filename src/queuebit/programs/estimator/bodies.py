"""A PUB's circuits: twirled, folded, measured and decoupled, and the draws of their parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import PauliLindbladMap

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.programs.circuits.decoupling import decouple
from queuebit.programs.circuits.twirling import TwirledGates, twirl_gates
from queuebit.programs.estimator.averages import Configuration, Pub
from queuebit.programs.estimator.extrapolation import fold
from queuebit.programs.estimator.paulis import Basis
from queuebit.programs.estimator.readout import (
    Measured,
    angles,
    measured,
    random_flips,
    turns_by_u3,
)
from queuebit.programs.estimator.settings import Settings
from queuebit.programs.learner import layers
from queuebit.programs.learner.layers import Site
from queuebit.programs.seeds import Use, generator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

INJECTING = {"inject_noise_targets": "gates", "inject_noise_strategy": "uniform_modification"}
SIGNS = "pauli_signs"


@dataclass(frozen=True, slots=True)
class Injection:
    """Noise to inject into a circuit."""

    noise: Mapping[str, PauliLindbladMap]
    """By the samplex's name of each layer."""
    scale: float
    """By what rates are multiplied: negative to cancel noise."""
    gamma: float = 1.0
    """By what outcomes are multiplied, beside their signs."""

    def inputs(self) -> dict[str, Any]:
        """For the samplex."""
        return {f"pauli_lindblad_maps.{ref}": noise for ref, noise in self.noise.items()} | {
            f"noise_scales.{ref}": self.scale for ref in self.noise
        }


class Draws(NamedTuple):
    """What is needed to read the outcomes of one experiment."""

    flips: Bools
    """Shape (configurations, randomizations, qubits)."""
    weights: Floats | None
    """Shape (configurations, randomizations); None: 1."""
    clbits: list[int]
    """Where the outcomes are among the classical bits."""


@dataclass(frozen=True, slots=True)
class Body:
    """A PUB's circuit at one noise factor, with its measurement; can be pickled."""

    twirled: TwirledGates | None
    sites: list[Site]
    """Where noise can be injected."""
    what: Measured

    def draw(
        self,
        pub: Pub,
        rows: Floats,
        rng: np.random.Generator,
        *,
        flipped: bool,
        injection: Injection | None = None,
    ) -> tuple[Experiment, Draws]:
        """Random circuits for every configuration of a PUB, whose parameter values are `rows`."""
        count = pub.randomizations
        own = rows[[configuration.row for configuration in pub.configurations]]
        weights = None
        if self.twirled is None:
            drawn = np.broadcast_to(own[:, np.newaxis], (len(own), count, own.shape[1]))
        else:
            inputs = {} if injection is None else injection.inputs()
            drawn, told = self.twirled.draw(own, count, rng, **inputs)
            if injection is not None and injection.scale < 0 and injection.noise:
                odd = np.logical_xor.reduce(told[SIGNS], axis=-1)
                weights = injection.gamma * np.where(odd, -1.0, 1.0)
        flips = random_flips(pub.flips_shape, rng, twirled=flipped)
        bases = [
            angles(configuration.basis, self.what.qubits, flip)
            for configuration, flip in zip(pub.configurations, flips, strict=True)
        ]
        values = np.concatenate([drawn, np.array(bases)], axis=2).reshape(len(own) * count, -1)
        experiment = Experiment(self.what.circuit, values[:, self.what.columns], pub.shots_each)
        return experiment, Draws(flips, weights, self.what.clbits)

    def outline(self, pub: Pub, rows: Floats, injection: Injection | None) -> Experiment:
        """Like what will be drawn: as many circuits, all with the values of one.

        Of a sweep it is the circuit that is furthest from a Clifford circuit, and so the hardest.
        """
        count = len(pub.configurations) * pub.randomizations
        hard = np.abs(np.sin(2 * rows)).sum(axis=1).argmax()
        one = replace(pub, configurations=[Configuration(int(hard), Basis(0, 0, []))])
        one = replace(one, randomizations=1)
        like, _ = self.draw(one, rows, np.random.default_rng(0), flipped=False, injection=injection)
        values = np.broadcast_to(like.values, (count, like.values.shape[1]))
        return replace(like, values=values)


def bodies(
    circuit: QuantumCircuit, qubits: Sequence[int], settings: Settings, device: Qpu
) -> list[Body]:
    """The circuit's bodies, one per noise factor; InvalidInput if it cannot have them.

    `qubits` are measured. Folding draws which gates it takes, if not all, from the seed.
    """
    made = {}
    found = []
    for one in _amplified(circuit, settings):
        if id(one) not in made:
            made[id(one)] = _body(one, qubits, settings, device)
        found.append(made[id(one)])
    return found


def _amplified(circuit: QuantumCircuit, settings: Settings) -> list[QuantumCircuit]:
    if not settings.extrapolated or settings.amplified:
        return [circuit] * len(settings.factors)
    rng = generator(settings.seed, Use.FOLDING)
    return fold(circuit, settings.options.resilience.zne, rng)


def _body(circuit: QuantumCircuit, qubits: Sequence[int], settings: Settings, device: Qpu) -> Body:
    options = settings.options
    twirled, sites = None, []
    if settings.gates_twirled:
        boxing = INJECTING if settings.injected else {}
        twirled = twirl_gates(circuit, options.twirling, device, **boxing)
        circuit = twirled.circuit
        sites = layers.sites(twirled)
    what = measured(circuit, qubits, by_u3=turns_by_u3(device.target))
    if options.dynamical_decoupling.enable:
        decoupled = decouple(what.circuit, options.dynamical_decoupling, device)
        what = what._replace(circuit=decoupled)
    return Body(twirled, sites, what)
