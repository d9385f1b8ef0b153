"""Measurement twirling: qubits that are flipped at random before they are measured, and back.

Before a measurement stands sx rz(b) sx, which is X for b = 0 and Z for b = pi; after it the same
again, if the qubit goes on. The outcome of a flipped qubit is flipped back in the result. A Z
changes nothing, as the measurement leaves no coherence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import (
    CircuitInstruction,
    ClassicalRegister,
    Clbit,
    ControlFlowOp,
    IfElseOp,
    Operation,
    Parameter,
    Qubit,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr
from qiskit.circuit.library import RZGate, SXGate


@dataclass(frozen=True, slots=True)
class Flipped:
    """A circuit whose measurements can be flipped."""

    circuit: QuantumCircuit
    """With a parameter more for each measurement that is twirled."""
    columns: list[int]
    """Per parameter of the circuit, its column in [the parameters before, one per flip]."""
    clbits: list[int]
    """Per flip, the classical bit whose outcome it flips."""

    def draw(
        self, before: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values for the circuit's parameters, and which outcomes they flip.

        `before` are values of the parameters before, shape (..., P); shapes are (..., P + flips)
        and (..., clbits).
        """
        drawn = rng.random((*before.shape[:-1], len(self.clbits))) < 0.5  # noqa: PLR2004 - heads or tails
        values = np.concatenate([before, np.where(drawn, 0.0, pi)], axis=-1)[..., self.columns]
        flips = np.zeros((*before.shape[:-1], self.circuit.num_clbits), dtype=bool)
        for flip, clbit in enumerate(self.clbits):  # in order: the last measurement counts
            flips[..., clbit] = drawn[..., flip]
        return values, flips


def flip(circuit: QuantumCircuit) -> Flipped:
    """`circuit` with flips around its measurements.

    "as long as the measurement is not involved within a conditional block" (client 0.51,
    TwirlingOptions.enable_measure): those inside of control flow are left as they are, and those
    into bits that control flow, or a store, reads or writes.
    """
    involved = set(_involved(circuit))
    # Longer than any name that is there, and so a new one.
    free = max((parameter.name for parameter in circuit.parameters), key=len, default="") + "_"
    flipped = circuit.copy_empty_like()
    last = _last_uses(circuit)
    added: list[Parameter] = []
    clbits = []
    for at, instruction in enumerate(circuit.data):
        if not instruction.name.startswith("measure") or instruction.clbits[0] in involved:
            flipped.append(instruction, copy=False)
            continue
        (qubit,), (clbit,) = instruction.qubits, instruction.clbits
        angle = Parameter(f"{free}{len(added)}")
        added.append(angle)
        clbits.append(circuit.find_bit(clbit).index)
        _append_flip(flipped, qubit, angle)
        flipped.append(instruction, copy=False)
        if last[qubit] > at:
            _append_flip(flipped, qubit, angle)
    order = {parameter: column for column, parameter in enumerate([*circuit.parameters, *added])}
    return Flipped(flipped, [order[parameter] for parameter in flipped.parameters], clbits)


def _append_flip(circuit: QuantumCircuit, qubit: Qubit, angle: Parameter) -> None:
    for gate in (SXGate(), RZGate(angle), SXGate()):
        circuit.append(CircuitInstruction(gate, (qubit,)), copy=False)


def _last_uses(circuit: QuantumCircuit) -> dict[Qubit, int]:
    """Per qubit, the number of the last instruction on it."""
    return {
        qubit: at
        for at, instruction in enumerate(circuit.data)
        if instruction.name != "barrier"
        for qubit in instruction.qubits
    }


def _involved(circuit: QuantumCircuit) -> Iterator[Clbit]:
    """Classical bits that something but a measurement reads or writes."""
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, ControlFlowOp):
            yield from instruction.clbits
        for what in _classical(operation):
            if isinstance(what, expr.Expr):
                for variable in expr.iter_vars(what):
                    yield from _bits(variable.var)
            else:
                yield from _bits(what)


def _classical(operation: Operation) -> Iterator[object]:
    """What of classical data an operation tells to read or write."""
    match operation:
        case IfElseOp() | WhileLoopOp():
            condition = operation.condition
            yield condition[0] if isinstance(condition, tuple) else condition
        case SwitchCaseOp():
            yield operation.target
        case Store():
            yield from (operation.lvalue, operation.rvalue)


def _bits(what: object) -> Iterator[Clbit]:
    if isinstance(what, Clbit):
        yield what
    elif isinstance(what, ClassicalRegister):
        yield from what
