"""Twirling: circuits equal to the user's but for random Paulis around gates and measurements.

A circuit becomes a template whose single-qubit gates are parameters. Each draw of their values is
another circuit with the same meaning, whose outcomes may be flipped; the flips are told, so that
they can be taken back. Gates are twirled by samplomatic, whose samplex draws the values. Only
qubits that the circuit uses are twirled: what the others do changes nothing, and a template of all
qubits of a device would be slow.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import BoxOp, CircuitInstruction, Parameter, ParameterExpression, Qubit
from qiskit.exceptions import QiskitError
from samplomatic import Twirl, build
from samplomatic.exceptions import BuildError, SamplexError
from samplomatic.samplex import Samplex
from samplomatic.transpiler import generate_boxing_pass_manager

from queuebit.devices.angles import at_rows
from queuebit.devices.protocol import Qpu
from queuebit.devices.reading import is_dynamic
from queuebit.errors import InvalidInput
from queuebit.programs.circuits.compact import compact, spread, used_qubits
from queuebit.programs.circuits.delays import put_back, set_aside
from queuebit.programs.circuits.flipping import Flipped, flip
from queuebit.programs.options import Twirling

FRACTIONAL = frozenset({"rx", "rzz"})  # client 0.51, utils.is_fractional_gate
NEEDED = ("rz", "sx")  # what the template's single-qubit gates are made of
VALUES = "parameter_values"
OFF = "Set twirling.enable_gates to false."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Draws:
    """Random circuits of a template; R rows of the user's values, n randomizations of each."""

    values: NDArray[np.float64]
    """Shape (R, n, P): values of the template's P parameters, in their order."""
    flips: NDArray[np.bool_]
    """Shape (R, n, clbits): which outcomes are to be flipped back."""


@dataclass(frozen=True, slots=True)
class TwirledGates:
    """A circuit whose gates can be twirled."""

    circuit: QuantumCircuit
    """The template: on the bits and registers of the user's circuit, with P parameters of its own.
    """
    samplex: Samplex
    qubits: list[int]
    """The device's qubits that the samplex's 0, 1, ... stand for."""
    boxed: QuantumCircuit
    """What the template was built of: `qubits`, with a box around each layer."""
    places: dict[Parameter, int]
    """Of the user's parameters in a row of values."""
    delays: list[ParameterExpression]
    """Those that are parameters of the user's: samplomatic draws no values for them."""
    order: list[int]
    """Per parameter of the template, its column in [the samplex's values, the delays' lengths]."""

    def draw(
        self,
        rows: NDArray[np.float64],
        randomizations: int,
        rng: np.random.Generator,
        **inputs: Any,
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
        """Values of the template's parameters, shape (R, n, P), and what else the samplex tells.

        For `rows` of the user's values, shape (R, user's parameters), n randomizations each;
        `inputs` are the samplex's other inputs. Takes 4 to 8 ms a row of parameter values, whatever
        the randomizations; rows without parameters are drawn all at once.
        """
        count = len(rows)
        if self.samplex.parameters:
            columns = [self.places[parameter] for parameter in self.samplex.parameters]
            drawn = [
                self._sample({VALUES: row, **inputs}, randomizations, rng)
                for row in rows[:, columns]
            ]
        else:
            drawn = [self._sample(inputs, count * randomizations, rng)]
        told = {
            name: np.concatenate([one[name] for one in drawn]).reshape(
                count, randomizations, *drawn[0][name].shape[1:]
            )
            for name in drawn[0]
        }
        values = told.pop(VALUES, np.zeros((count, randomizations, 0)))
        if self.delays:
            lengths = np.stack([at_rows(one, self.places, rows) for one in self.delays], axis=-1)
            each = np.broadcast_to(
                lengths[:, np.newaxis], (count, randomizations, len(self.delays))
            )
            values = np.concatenate([values, each], axis=-1)[..., self.order]
        return values, told

    def _sample(
        self, inputs: dict[str, Any], randomizations: int, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        # One thread is faster than many: the work is small.
        return dict(
            self.samplex.sample(inputs, num_randomizations=randomizations, rng=rng, max_workers=1)
        )


@dataclass(frozen=True, slots=True)
class Twirled:
    """A circuit whose gates, measurements or both can be twirled."""

    circuit: QuantumCircuit
    """The template: on the bits and registers of the user's circuit, with P parameters."""
    gates: TwirledGates | None
    measurements: Flipped | None

    def draw(
        self, rows: NDArray[np.float64], randomizations: int, rng: np.random.Generator
    ) -> Draws:
        """Random circuits for `rows` of the user's values, shape (R, user's parameters)."""
        if self.gates is None:
            shape = (len(rows), randomizations, rows.shape[1])
            values = np.broadcast_to(rows[:, np.newaxis], shape)
        else:
            values, _ = self.gates.draw(rows, randomizations, rng)
        flips = np.zeros((*values.shape[:2], self.circuit.num_clbits), dtype=bool)
        if self.measurements is not None:
            values, flips = self.measurements.draw(values, rng)
        return Draws(values, flips)


def twirl(
    circuit: QuantumCircuit, options: Twirling, device: Qpu, *, gates: bool, measures: bool
) -> Twirled:
    """The template of `circuit`, which stands on the device's qubits.

    `gates` and `measures` say what is twirled, `options` how. InvalidInput if the circuit has what
    cannot be twirled.
    """
    _check_device(device)
    twirled = twirl_gates(circuit, options, device) if gates else None
    runs = circuit if twirled is None else twirled.circuit
    flipped = flip(runs) if measures else None
    return Twirled(runs if flipped is None else flipped.circuit, twirled, flipped)


def twirl_gates(
    circuit: QuantumCircuit, options: Twirling, device: Qpu, **boxing: Any
) -> TwirledGates:
    """The template of `circuit` with its gates twirled; InvalidInput if they cannot be.

    `boxing` goes to samplomatic's generate_boxing_pass_manager besides.
    """
    _check_device(device)
    _check(circuit)
    qubits = used_qubits(circuit)
    manager = generate_boxing_pass_manager(
        enable_gates=True,
        enable_measures=False,
        twirling_strategy=options.strategy.replace("-", "_"),
        **boxing,
    )
    numbered, aside = set_aside(compact(circuit, qubits))
    try:
        boxed = manager.run(_dressed(numbered))
        template, samplex = build(boxed)
    except (QiskitError, BuildError, SamplexError) as error:
        logger.warning("a circuit's gates cannot be twirled: %s", error)
        raise InvalidInput("the circuit's gates cannot be twirled.", 1208, OFF) from None
    drawn = list(template.parameters)
    # Longer than any name that is there, and so new ones.
    free = max((parameter.name for parameter in drawn), key=len, default="") + "_"
    lengths = {number: Parameter(f"{free}{at}") for at, number in enumerate(aside)}
    template = put_back(template, lengths)
    order = {parameter: column for column, parameter in enumerate([*drawn, *lengths.values()])}
    return TwirledGates(
        spread(template, qubits, circuit),
        samplex,
        qubits,
        boxed,
        {parameter: column for column, parameter in enumerate(circuit.parameters)},
        list(aside.values()),
        [order[parameter] for parameter in template.parameters],
    )


def _dressed(circuit: QuantumCircuit) -> QuantumCircuit:
    """`circuit` with an empty box between turns by an angle and a delay.

    samplomatic puts single-qubit gates into the next box on their qubit; before a delay it makes
    none, and cannot carry the Paulis of the box before through a gate that is not Clifford.
    """
    if "delay" not in circuit.count_ops() or not circuit.num_nonlocal_gates():
        return circuit
    dressed = circuit.copy_empty_like()
    turned: set[Qubit] = set()
    for instruction in circuit.data:
        qubits = instruction.qubits
        if len(qubits) == 1 and instruction.is_standard_gate():
            if instruction.params:
                turned.update(qubits)
        elif instruction.name != "barrier":
            if instruction.name == "delay" and turned.issuperset(qubits):
                empty = BoxOp(QuantumCircuit(list(qubits)), annotations=[Twirl()])
                dressed.append(CircuitInstruction(empty, qubits), copy=False)
            turned.difference_update(qubits)
        dressed.append(instruction, copy=False)
    return dressed


def _check_device(device: Qpu) -> None:
    if missing := [name for name in NEEDED if name not in device.target.operation_names]:
        raise InvalidInput(
            f"twirling needs the gates rz and sx; {device.name} lacks {' and '.join(missing)}.",
            1208,
            "Set twirling.enable_gates and twirling.enable_measure to false.",
        )


def _check(circuit: QuantumCircuit) -> None:
    if is_dynamic(circuit):
        raise InvalidInput(
            "gate twirling cannot be used with dynamic circuits (circuits with control flow "
            "operations).",
            1208,
            OFF,
        )
    for instruction in circuit.data:
        if instruction.name in FRACTIONAL:
            at = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
            raise InvalidInput(
                f"The instruction {instruction.name} on qubits {at} is a fractional gate, "
                "which cannot be used with gate twirling.",
                1208,
                "Set twirling.enable_gates to false, or transpile for the backend without "
                "fractional gates.",
            )
