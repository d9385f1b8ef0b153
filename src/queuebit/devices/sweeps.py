"""Whether gates and delays are within their ranges at every set of values of their parameters."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Bit, Parameter, ParameterExpression

from queuebit.devices.angles import at_rows, is_linear
from queuebit.devices.target import CONTROL_FLOW, RZZ_BOUNDS, Wires, listed
from queuebit.errors import InvalidInput

_SWEPT = frozenset({"rzz", "delay"})
_ROUNDING = 1e-10  # what the client allows beyond the bounds
_WHOLE = 1e-6  # of a dt: what rounding may leave of a whole number, when seconds are made dt
EVALUATED_MAX = 1_000_000
"""Values of all expressions of a circuit that are not linear: each takes some microseconds. The
turns of loops count."""


def swept_error(circuit: QuantumCircuit, rows: NDArray[np.float64]) -> str | None:
    """The first gate or delay without a meaning at one of `rows` of parameter values.

    Shape (n, P), columns in circuit.parameters order. rzz has bounds as in the client (0.51,
    is_valid_rzz_pub), and is told in its words; delays are whole numbers of dt; angles are real
    numbers. Variables of loops take all their values. None if all is well. What is a number already
    is `Isa.error`'s.
    """
    if not circuit.num_parameters and not circuit.has_control_flow_op():
        return None
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    places: dict[Bit, int] = {bit: at for at, bit in enumerate(circuit.qubits)}
    return next(_errors(circuit, places, _Sweep(rows, columns)), None)


def in_bounds(angle: float) -> bool:
    """Whether rzz may turn by `angle`."""
    low, high = RZZ_BOUNDS
    return low <= angle <= high + _ROUNDING


@dataclass(slots=True)
class _Sweep:
    """The values of parameters, and of the variables of loops."""

    rows: NDArray[np.float64]
    columns: Mapping[Parameter, int]
    loops: dict[Parameter, NDArray[np.float64]] = field(default_factory=dict)
    sound: set[tuple[bool, Hashable]] = field(default_factory=set)
    """Expressions that are known to be well; whether as rzz's angle or a delay, or as others."""
    evaluated: list[int] = field(default_factory=list)
    """How many values each had that is not linear; with those of the blocks around."""

    def inside(self, operation: Any) -> "_Sweep":
        """As seen in the block of a control-flow operation."""
        if operation.name != "for_loop" or not isinstance(operation.params[1], Parameter):
            return self
        indices, turn, _ = operation.params
        values = np.unique(np.array(list(indices), dtype=np.float64))
        loops = {**self.loops, turn: values}
        return _Sweep(self.rows, self.columns, loops, evaluated=self.evaluated)

    def values(
        self, given: ParameterExpression
    ) -> tuple[list[Parameter], NDArray[np.float64], NDArray[np.float64]]:
        """Its parameters, their different sets of values, and its value at each."""
        swept = [parameter for parameter in given.parameters if parameter in self.columns]
        loops = [parameter for parameter in given.parameters if parameter in self.loops]
        rows = np.unique(self.rows[:, [self.columns[parameter] for parameter in swept]], axis=0)
        count = len(rows) * math.prod(len(self.loops[one]) for one in loops)
        if not is_linear(given):
            self.evaluated.append(count)
        if max(count, sum(self.evaluated)) > EVALUATED_MAX:
            raise InvalidInput(
                f"{given} and what is before it have more than {EVALUATED_MAX} values at the sets "
                "of parameter values and in the loops around them"
            )
        for loop in loops:
            turns = self.loops[loop]
            rows = np.hstack(
                [np.repeat(rows, len(turns), axis=0), np.tile(turns, len(rows))[:, None]]
            )
        used = swept + loops
        where = {parameter: column for column, parameter in enumerate(used)}
        return used, rows, at_rows(given, where, rows)


def _errors(circuit: QuantumCircuit, places: Mapping[Bit, int], sweep: _Sweep) -> Iterator[str]:
    for one in circuit.data:
        name = one.name
        if name in CONTROL_FLOW:
            at = [places[bit] for bit in one.qubits]
            for block in one.operation.blocks:
                inner = dict(zip(block.qubits, at, strict=True))
                yield from _errors(block, inner, sweep.inside(one.operation))
            continue
        for given in one.params:
            if not isinstance(given, ParameterExpression):
                continue
            key = (name in _SWEPT, _hashable(given))
            if key in sweep.sound or (name not in _SWEPT and isinstance(given, Parameter)):
                continue
            at = [places[bit] for bit in one.qubits]
            yield from _wrong(name, tuple(at), given, sweep)
            sweep.sound.add(key)


def _hashable(given: ParameterExpression) -> Hashable:
    """The expression, or its text: Qiskit 2.6 cannot hash one that comes to a negative number."""
    key: Hashable = given
    try:
        hash(key)
    except OverflowError:
        return str(given)
    return key


def _wrong(name: str, at: Wires, given: ParameterExpression, sweep: _Sweep) -> Iterator[str]:
    """What is wrong with the parameter `given` of an instruction."""
    if name not in _SWEPT and is_linear(given):
        return
    try:
        used, rows, values = sweep.values(given)
    except InvalidInput as refusal:
        yield f"The instruction {name} on qubits {listed(at)}: {refusal.message}."
        return
    if name not in _SWEPT:
        return
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        if out := _outside(name, value):
            told = ", ".join(f"{p.name}={x}" for p, x in zip(used, row, strict=True))
            yield (
                f"The instruction {name} on qubits {listed(at)} is supported only for {out} "
                f"has been requested; via parameter value(s) {told}, substituted in "
                f"parameter expression {given}."
            )


def _outside(name: str, value: float) -> str | None:
    if name == "rzz" and not in_bounds(value):
        return f"angles in the range [0, pi/2], but an angle ({value}) outside of this range"
    if name == "delay" and (round(value) < 0 or abs(value - round(value)) > _WHOLE):
        return f"whole numbers of dt, but a delay of {value}"
    return None
