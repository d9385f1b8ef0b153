"""Learning the noise of layers: which circuits to run, and the Pauli-Lindblad maps in their bits.

The science is qiskit-noise-learning's "vanilla" protocol (van den Berg, Minev, Kandala, Temme,
Nature Physics 19, 1116: 2-local maps from pairs of a layer at several depths, in nine bases), and
for layers that measure the same with no gates: the flips of each readout. Here stands what it
leaves open: every layer is learned on its own qubits alone, as a small program, because a layer's
size is what makes templates slow; then its templates go to where the layer is on the device.

    job = Learning(layers, Settings(), device)
    experiments, learned = job.experiments(rng)      # for Device.sample
    noise = learned.noise(bits)                      # per layer, in the order of `layers`

`Noise.pauli_map` goes with its layer to whatever injects noise: samplomatic's
`pauli_lindblad_maps`, keyed by the box's InjectNoise ref, or qiskit-mitigation's `noise_maps`.
It is in the order of the layer's qubits, ascending, as both want it.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import BoxOp, CircuitInstruction
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Clifford, PauliLindbladMap, PauliList
from qiskit.transpiler import Target
from qiskit_noise_learning.analysis import Fit
from qiskit_noise_learning.protocols import prepare_vanilla_program, process_vanilla_result
from samplomatic import Twirl
from samplomatic.exceptions import BuildError, ParameterError, SamplexError, SynthError
from samplomatic.quantum_program import QuantumProgramResult, SamplexItem
from samplomatic.utils import get_annotation, undress_box

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.errors import InvalidInput

BASES = 9  # "the 16 Paulis for all of the layer's two-qubit subsystems with only 9 circuits"
LAYERS_MAX = 100  # of one job
# Of all templates together, and of all their parameter values: a layer of 156 qubits with the
# default options has 115,000 instructions, and 16 million values.
INSTRUCTIONS_MAX = 500_000
VALUES_MAX = 2**26
# The boxes of each template, squared, in all, as building takes time: one template of depth 1,000.
SQUARES_MAX = 4_100_000

# What the libraries raise for a layer that is nothing for them.
_UNLEARNABLE = (ValueError, QiskitError, BuildError, ParameterError, SamplexError, SynthError)

Bools = NDArray[np.bool_]


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to run; the defaults are IBM's (client 0.51, NoiseLearnerOptions)."""

    num_randomizations: int = 32
    shots_per_randomization: int = 128
    pair_depths: tuple[int, ...] = (0, 1, 2, 4, 16, 32)
    """Numbers of pairs of the layer; two different ones at least, to see a decay."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A box on physical qubits: gates that are their own inverse, or measurements."""

    box: BoxOp
    """With a Twirl annotation. The gates of its dressing, which twirling absorbs, do not count."""
    qubits: tuple[int, ...]
    """Physical, one per qubit of the box."""

    @property
    def measures(self) -> bool:
        """Whether its readout is learned."""
        return any(one.name.startswith("measure") for one in self.box.body.data)


@dataclass(frozen=True, slots=True)
class Noise:
    """What was learned of one layer."""

    qubits: tuple[int, ...]
    """Physical, ascending: qubit i of the map is qubits[i]."""
    pauli_map: PauliLindbladMap
    rates_std: NDArray[np.float64]
    """Of each of the map's rates."""


class Learning:
    """A job's layers with the templates that learn them; building them takes most of the time."""

    def __init__(self, layers: Sequence[Layer], settings: Settings, device: Qpu) -> None:
        """Build the templates; InvalidInput for a layer that cannot be learned."""
        for broken in over_limits(layers, settings):
            raise broken
        self._settings = settings
        self._programs = [_program(layer, settings, device, i) for i, layer in enumerate(layers)]

    @property
    def runs(self) -> list[tuple[int, int, int]]:
        """Per experiment its circuits, the shots of each, and the bits of a shot."""
        shots = self._settings.shots_per_randomization
        return [
            (item.size(), shots, item.circuit.num_clbits)
            for program in self._programs
            for item in program.items
        ]

    def outline(self) -> list[Experiment]:
        """Like `experiments`, with values of 0: what matters is that they make it Clifford."""
        shots = self._settings.shots_per_randomization
        return [
            Experiment(
                template,
                np.broadcast_to(np.zeros(1), (item.size(), template.num_parameters)),
                shots,
            )
            for program in self._programs
            for item, template in zip(program.items, program.templates, strict=True)
        ]

    def experiments(self, rng: np.random.Generator) -> tuple[list[Experiment], "Learned"]:
        """What the device shall run, twirled at random, and what makes noise of its bits."""
        experiments: list[Experiment] = []
        drawn: list[_Drawn] = []
        for program in self._programs:
            flips = []
            for item, template in zip(program.items, program.templates, strict=True):
                values, flipped = _sample(item, rng)
                shots = self._settings.shots_per_randomization
                experiments.append(Experiment(template, values, shots))
                flips.append((item.circuit.cregs[0].name, flipped))
            drawn.append(_Drawn(program.qubits, program.places, flips, program.passed))
        return experiments, Learned(drawn)


@dataclass(frozen=True, slots=True)
class Learned:
    """What makes noise of the bits of a learning job; can be pickled."""

    drawn: "list[_Drawn]"

    @property
    def num_experiments(self) -> int:
        """How many there are, where they run together with others."""
        return sum(len(one.flips) for one in self.drawn)

    def noise(self, bits: Sequence[Bools]) -> list[Noise]:
        """Per layer what was learned, from each experiment's bits of shape (rows, shots, qubits).

        InvalidInput where a layer is too noisy to tell: a fidelity that is not positive.
        """
        left = iter(bits)
        return [
            one.noise([next(left) for _ in one.flips], number)
            for number, one in enumerate(self.drawn)
        ]


def over_limits(layers: Sequence[Layer], settings: Settings) -> Iterator[InvalidInput]:
    """The limits that building these templates would break; nothing is built for it."""
    if len(layers) > LAYERS_MAX:
        yield InvalidInput(
            f"{len(layers)} layers to learn; the limit is {LAYERS_MAX}", 1208, "Split the job."
        )
    gates = [layer for layer in layers if not layer.measures]
    width, depths = sum(len(layer.qubits) for layer in gates), set(settings.pair_depths)
    if gates and len(depths) < 2:  # noqa: PLR2004 - what a line needs
        yield InvalidInput(
            "option layer_pair_depths needs two different depths or more, to see a decay", 1208
        )
    rounds = sum(2 * depth + 2 for depth in depths)
    measured = sum(len(layer.qubits) for layer in layers)  # gates' layers too, at depth 0
    squares = len(gates) * sum((2 * depth + 2) ** 2 for depth in depths)
    # Six gates per qubit and round, with three parameters.
    instructions = 6 * (width * rounds + 2 * measured)
    values = 3 * (width * rounds * BASES + 2 * measured) * settings.num_randomizations
    for what, asked, limit in (
        ("instructions", instructions, INSTRUCTIONS_MAX),
        ("parameter values", values, VALUES_MAX),
        ("boxes, squared circuit by circuit", squares, SQUARES_MAX),
    ):
        if asked > limit:
            yield InvalidInput(
                f"the circuits that learn the job's layers have {asked} {what}; "
                f"the limit is {limit}",
                5302,
                "Learn fewer or smaller layers, at lesser depths, or with fewer randomizations.",
            )


@dataclass(frozen=True, slots=True)
class _Program:
    """One layer's templates."""

    qubits: tuple[int, ...]
    places: tuple[int, ...]
    items: list[SamplexItem]
    templates: list[QuantumCircuit]
    """The items' circuits, on the whole device."""
    passed: Any
    """What the library needs again, to read the result."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One layer's experiments once their twirls are drawn."""

    qubits: tuple[int, ...]
    places: tuple[int, ...]
    """Those and, of a layer of one qubit, another."""
    flips: list[tuple[str, Bools]]
    """Per experiment its register, and what of it was flipped.

    Shape (configurations, randomizations, qubits).
    """
    passed: Any

    def noise(self, bits: Sequence[Bools], number: int) -> Noise:
        data = []
        for outcomes, (register, flips) in zip(bits, self.flips, strict=True):
            shaped = outcomes.reshape(*flips.shape[:2], *outcomes.shape[1:])
            told = {register: shaped, f"measurement_flips.{register}": flips[:, :, np.newaxis]}
            data.append(told)
        try:
            maps, _, fit = process_vanilla_result(QuantumProgramResult(data, self.passed))
        except ValueError as error:
            logger.warning("the noise of a layer cannot be learned: %s", error)
            raise InvalidInput(
                f"the noise of layer {number} cannot be learned: it leaves nothing of what was "
                "measured at these depths.",
                1208,
                "Use other qubits, or lesser depths.",
            ) from None
        return self._of_own_qubits(maps[0], _deviations(maps[0], fit))

    def _of_own_qubits(self, noise: PauliLindbladMap, deviations: NDArray[np.float64]) -> Noise:
        """Without what was learned of a qubit that only kept company."""
        own = [self.places.index(qubit) for qubit in self.qubits]
        if len(own) == len(self.places):
            return Noise(self.qubits, noise, deviations)
        terms = noise.to_sparse_list()
        kept = [i for i, (_, on, _) in enumerate(terms) if list(on) == own]
        rates = [(terms[i][0], [0], terms[i][2]) for i in kept]
        return Noise(self.qubits, PauliLindbladMap.from_sparse_list(rates, 1), deviations[kept])


def _program(layer: Layer, settings: Settings, device: Qpu, number: int) -> _Program:
    qubits = tuple(sorted(layer.qubits))
    try:
        wide = _two(layer, device) if len(qubits) == 1 else layer
        places = sorted(wide.qubits)
        program = prepare_vanilla_program(
            SimpleNamespace(target=_target(device, places), num_qubits=len(places)),
            [_on(_checked(wide), [places.index(qubit) for qubit in wide.qubits])],
            num_randomizations=settings.num_randomizations,
            shots_per_randomization=settings.shots_per_randomization,
            fragment_depths=sorted(set(settings.pair_depths)),
        )
    except _UNLEARNABLE as error:
        raise _refused(number, str(error)) from None
    templates = []
    for item in program.items:
        template = QuantumCircuit(device.num_qubits)
        for register in item.circuit.cregs:
            template.add_register(register)
        template.compose(item.circuit, places, template.clbits, inplace=True, copy=False)
        templates.append(template)
    if why := device.isa_error(max(templates, key=lambda one: len(one.data))):
        raise _refused(number, why)
    return _Program(qubits, tuple(places), program.items, templates, program.passthrough_data)


def _checked(layer: Layer) -> BoxOp:
    """The layer's box with nothing in it but what is learned; ValueError if it cannot be."""
    twirl = get_annotation(layer.box, Twirl)
    if twirl is None:
        raise ValueError("its box has no Twirl annotation")
    inside = undress_box(layer.box).body
    found = [one for one in inside.data if one.name != "barrier"]
    on = [qubit for one in found for qubit in one.qubits]
    if len(on) != len(set(on)):
        raise ValueError("it has two instructions on one qubit")
    body = QuantumCircuit(inside.num_qubits, len(on) if layer.measures else 0)
    for one in found:
        at = [inside.find_bit(qubit).index for qubit in one.qubits]
        body.append(one.operation, at, at if layer.measures else [])
    if layer.measures:
        if any(not one.name.startswith("measure") for one in found) or len(on) < len(body.qubits):
            raise ValueError("a layer with measurements must measure all its qubits, and no more")
    elif not _is_involution(body):
        raise ValueError("its gates must be Clifford gates that undo themselves when repeated")
    return BoxOp(body, annotations=[twirl])


def _is_involution(gates: QuantumCircuit) -> bool:
    try:
        done = Clifford(gates)
    except QiskitError:
        return False
    return bool(done.compose(done) == Clifford(QuantumCircuit(gates.num_qubits)))


def _two(layer: Layer, device: Qpu) -> Layer:
    """A layer of one qubit and another at leisure: the library's model is of two."""
    (qubit,) = layer.qubits
    body = QuantumCircuit(2, 2 if layer.measures else 0)
    body.compose(layer.box.body, [0], body.clbits[:1], inplace=True)
    if layer.measures:
        body.measure(1, 1)
    other = (qubit + 1) % device.num_qubits
    return Layer(BoxOp(body, annotations=layer.box.annotations), (qubit, other))


def _on(box: BoxOp, places: Sequence[int]) -> CircuitInstruction:
    """The box on qubits of a register that has no others."""
    circuit = QuantumCircuit(len(places), box.num_clbits)
    circuit.append(box, places, circuit.clbits)
    return circuit.data[0]


def _target(device: Qpu, qubits: Sequence[int]) -> Target:
    """What the device has on these qubits, numbered from 0: all that the library asks a backend."""
    place = {qubit: i for i, qubit in enumerate(qubits)}
    target = Target(num_qubits=len(qubits))
    for name in device.target.operation_names:
        known = device.target[name] or {None: None}
        if None in known:  # control flow, which is of no qubits
            continue
        kept = {
            tuple(place[qubit] for qubit in wires): None
            for wires in known
            if place.keys() >= set(wires)
        }
        if kept:
            target.add_instruction(device.target.operation_from_name(name), kept, name=name)
    return target


def _sample(item: SamplexItem, rng: np.random.Generator) -> tuple[NDArray[np.float64], Bools]:
    """Draw an item's twirls.

    A row of parameter values for each configuration and randomization, and what is flipped, of
    shape (configurations, randomizations, qubits).
    """
    (register,) = item.circuit.cregs
    values, flips = [], []
    for configuration in range(item.shape[0]):
        drawn = item.samplex.sample(
            {name: given[configuration, 0] for name, given in item.samplex_arguments.items()},
            num_randomizations=item.shape[1],
            rng=rng,
            max_workers=1,  # faster than many threads: the work is small
        )
        values.append(drawn["parameter_values"])
        flips.append(drawn[f"measurement_flips.{register.name}"][:, 0])
    return np.concatenate(values), np.array(flips)


def _deviations(noise: PauliLindbladMap, fit: Fit) -> NDArray[np.float64]:
    """The standard deviations of a map's rates, from those of the fidelities it was fitted to.

    The library tells them for readouts only. For gates they follow from its fit, which is linear
    where rates are above zero: -log(f) / 4 of a pair's fidelity f is the sum of the rates that
    anticommute with its one Pauli, and with its other. A rate that is held at zero has none.
    """
    told = fit.aggregated_observable_data.dataset
    paths, fidelities = told["unbound_path"].data, told["estimate_values"].data
    deviations = told["estimate_std"].data
    decays = [i for i, path in enumerate(paths) if path.repeatable_fragment]
    if not decays:
        known = fit.model_data.dataset
        place = {
            tuple(index.generator.indices): i
            for i, index in enumerate(known["parameter_index"].data)
        }
        order = [place[tuple(one.indices)] for one in noise.generators()]
        found = np.sqrt(np.diag(known["covariance"].data))[order]
        return np.asarray(found, dtype=np.float64)
    free = np.flatnonzero(noise.rates > 0)
    generators = noise.generators().to_pauli_list()[free]
    rows = [
        PauliList([paths[i].repeatable_fragment[turn].pauli.to_pauli() for i in decays])
        for turn in (0, 1)
    ]
    design = np.concatenate([_anticommute(paulis, generators) for paulis in rows])
    by_pair = np.linalg.pinv(design).reshape(len(free), 2, len(decays)).sum(axis=1)
    spread = np.zeros(len(noise))
    spread[free] = np.sqrt(by_pair**2 @ (deviations[decays] / (4 * fidelities[decays])) ** 2)
    return spread


def _anticommute(rows: PauliList, columns: PauliList) -> NDArray[np.float64]:
    """1 where the Pauli of a row anticommutes with that of a column, else 0."""
    x, z = (np.asarray(part, dtype=np.float64) for part in (columns.x, columns.z))
    return np.asarray((rows.x @ z.T + rows.z @ x.T) % 2)


def _refused(number: int, why: str) -> InvalidInput:
    return InvalidInput(f"the noise of layer {number} cannot be learned: {why}", 1208)
