"""The layers of a job's circuits, and the noise that is injected for each.

A layer is a box of gates on physical qubits, as gate twirling makes them. Its noise is learned, or
comes with the job (`resilience.layer_noise_model`); a layer of which nothing is known is taken as
noiseless, and is not mitigated (client 0.51, ResilienceOptionsV2).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import PauliLindbladMap, PauliList
from qiskit.transpiler import Target
from qiskit_ibm_runtime.results import LayerError, PauliLindbladError
from samplomatic.annotations import InjectNoise
from samplomatic.utils import get_annotation, undress_box

from queuebit.errors import InvalidInput
from queuebit.programs.circuits.twirling import TwirledGates
from queuebit.programs.learner.learning import Layer
from queuebit.programs.wire.codec import Tagged

Gates = frozenset[tuple[str, tuple[int, ...]]]
SYMMETRIC = ("cz", "rzz", "swap")  # gates whose qubits have no order

MODEL = "option resilience.layer_noise_model"


@dataclass(frozen=True, slots=True)
class Key:
    """What makes two layers the same."""

    gates: Gates
    """Names and physical qubits."""
    qubits: tuple[int, ...]
    """All that the layer twirls, ascending."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a circuit where the noise of a layer is injected."""

    ref: str
    """The samplex's name for it."""
    key: Key
    layer: Layer


Noise = Mapping[Key, PauliLindbladMap]
"""What is known of layers."""


def sites(twirled: TwirledGates) -> list[Site]:
    """Where noise is injected, in the order of the circuit."""
    found = []
    for instruction in twirled.boxed.data:
        if instruction.name != "box":
            continue
        noise = get_annotation(instruction.operation, InjectNoise)
        if noise is None:
            continue
        indices = [twirled.boxed.find_bit(qubit).index for qubit in instruction.qubits]
        physical = tuple(twirled.qubits[index] for index in indices)
        layer = Layer(instruction.operation, physical)
        inside = undress_box(instruction.operation).body
        found.append(Site(noise.ref, Key(_gates(inside, physical), tuple(sorted(physical))), layer))
    return found


def to_learn(circuits: Iterable[Sequence[Site]], most: int | None) -> dict[Key, Layer]:
    """The layers to learn: those that occur most often, the larger first among equals.

    Client 0.51, LayerNoiseLearningOptions, max_layers_to_learn.
    """
    found = [site for circuit in circuits for site in circuit]
    counts = Counter(site.key for site in found)
    layers = {site.key: site.layer for site in found}
    ranked = sorted(layers, key=lambda key: (-counts[key], -len(key.gates)))
    return {key: layers[key] for key in ranked[:most]}


def known_at(found: Sequence[Site], noise: Noise) -> dict[str, PauliLindbladMap]:
    """The noise at each site, by its ref."""
    return {
        site.ref: noise.get(site.key, PauliLindbladMap.identity(len(site.key.qubits)))
        for site in found
    }


def expected(found: Iterable[Site], target: Target) -> dict[Key, PauliLindbladMap]:
    """What is likely to be learned, for the prediction of costs: all errors of the same size.

    A gate of two qubits with the average error e leaves its state with the chance 1 - 5/4 e, which
    is a sum of rates of about that.
    """
    guesses = {}
    for site in found:
        terms = []
        for name, qubits in site.key.gates:
            error = 0.0
            for wires in (qubits, qubits[::-1]):
                properties = (target[name] or {}).get(wires) if name in target else None
                if properties is not None and properties.error is not None:
                    error = properties.error
                    break
            terms.append(("Z", [site.key.qubits.index(qubits[0])], 1.25 * min(error, 0.5)))
        guesses[site.key] = PauliLindbladMap.from_sparse_list(
            terms, num_qubits=len(site.key.qubits)
        )
    return guesses


def exponent(noise: PauliLindbladMap) -> float:
    """To cancel `noise` takes e to this power times the shots: gamma squared."""
    return 4 * float(noise.rates.sum())


def told(model: Iterable[LayerError]) -> list[tuple[Key, PauliLindbladMap]]:
    """What a noise model tells of layers, but for those whose error is unknown."""
    return [
        (Key(_gates(one.circuit, one.qubits), tuple(sorted(one.qubits))), _noise(one))
        for one in model
        if one.error is not None
    ]


def given(model: object, num_qubits: int) -> list[LayerError]:
    """The noise model of a job's options: a NoiseLearnerResult, or a list of LayerError."""
    if isinstance(model, Tagged) and model.kind == "NoiseLearnerResult":
        model = model.content.get("data") if isinstance(model.content, dict) else None
    if not isinstance(model, list):
        raise InvalidInput(f"{MODEL}: must be a NoiseLearnerResult or a list of LayerError", 1208)
    return [_layer(one, number, num_qubits) for number, one in enumerate(model)]


def match(keys: Iterable[Key], model: Sequence[tuple[Key, PauliLindbladMap]]) -> Noise:
    """What the model says of `keys`: of layers of the same gates, the one most alike in qubits."""
    found = {}
    for key in keys:
        alike = [one for one in model if one[0].gates == key.gates]
        if alike:
            best = max(
                alike,
                key=lambda one: (
                    one[0].qubits == key.qubits,
                    len(set(one[0].qubits) & set(key.qubits)),
                ),
            )
            found[key] = _moved(best[1], best[0].qubits, key.qubits)
    return found


def _gates(circuit: QuantumCircuit, physical: Sequence[int]) -> Gates:
    found = set()
    for instruction in circuit.data:
        if len(instruction.qubits) < 2 or instruction.name == "barrier":  # noqa: PLR2004 - the layer's own gates
            continue
        qubits = tuple(physical[circuit.find_bit(qubit).index] for qubit in instruction.qubits)
        if instruction.name in SYMMETRIC:
            qubits = tuple(sorted(qubits))
        found.add((instruction.name, qubits))
    return frozenset(found)


def _layer(one: object, number: int, num_qubits: int) -> LayerError:
    where = f"{MODEL}: layer {number}"
    match one:
        case Tagged("LayerError", {"circuit": QuantumCircuit() as circuit, "qubits": list(qubits)}):
            error = one.content.get("error")
        case _:
            raise InvalidInput(f"{where} is not a LayerError", 1208)
    if (
        len(set(qubits)) != circuit.num_qubits
        or len(qubits) != circuit.num_qubits
        or not all(type(q) is int and 0 <= q < num_qubits for q in qubits)
    ):
        raise InvalidInput(
            f"{where}: qubits must be {circuit.num_qubits} different qubits of the backend", 1208
        )
    known = None if error is None else _error(error, circuit.num_qubits, where)
    return LayerError(circuit, qubits, known)


def _error(error: object, num_qubits: int, where: str) -> PauliLindbladError:
    match error:
        case Tagged(
            "PauliLindbladError",
            {"generators": Tagged("PauliList", {"data": list(labels)}), "rates": rates},
        ):
            pass
        case _:
            raise InvalidInput(f"{where}: its error is not a PauliLindbladError", 1208)
    try:
        numbers = np.asarray(rates, dtype=np.float64)
        _check_error(labels, numbers, num_qubits)
        none = np.zeros((0, num_qubits), dtype=bool)
        generators = PauliList(labels) if labels else PauliList.from_symplectic(none, none)
        return PauliLindbladError(generators, numbers)
    except (TypeError, ValueError, QiskitError) as broken:
        raise InvalidInput(f"{where}: its error cannot be read: {broken}", 1208) from None


def _check_error(labels: list[object], rates: NDArray[np.float64], num_qubits: int) -> None:
    if rates.shape != (len(labels),) or not np.isfinite(rates).all() or (rates < 0).any():
        raise ValueError("rates must be finite numbers, none negative, one per generator")
    for label in labels:
        if not isinstance(label, str) or len(label) != num_qubits or not set("IXYZ") >= set(label):
            raise ValueError(f"generators must be Paulis of {num_qubits} qubits, without phases")


def _noise(layer: LayerError) -> PauliLindbladMap:
    """The layer's error on its qubits in ascending order."""
    labels = layer.error.generators.to_labels()
    noise = PauliLindbladMap.from_list(
        list(zip(labels, layer.error.rates.tolist(), strict=True)), num_qubits=layer.num_qubits
    )
    return _moved(noise, layer.qubits, sorted(layer.qubits))


def _moved(noise: PauliLindbladMap, old: Sequence[int], new: Sequence[int]) -> PauliLindbladMap:
    """The map, whose qubits are `old`, on `new`; what acts on others falls away."""
    place = {qubit: i for i, qubit in enumerate(new)}
    kept = [
        (paulis, [place[old[index]] for index in indices], rate)
        for paulis, indices, rate in noise.to_sparse_list()
        if all(old[index] in place for index in indices)
    ]
    return PauliLindbladMap.from_sparse_list(kept, num_qubits=len(new))
