"""Every operation as a noisy channel, with angles filled in for all sets of parameter values."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression
from qiskit.circuit.classical import expr
from qiskit.circuit.library import get_standard_gate_name_mapping

from queuebit.devices import ptm
from queuebit.devices.angles import at_rows
from queuebit.devices.classical import constant_s, unit_s
from queuebit.devices.noise import Noise
from queuebit.devices.ptm import Array
from queuebit.devices.reading import Op

Angle = float | NDArray[np.float64]
"""One for all sets of values, or one for each."""

_ROTATIONS = {"rx": 1, "ry": 2, "rz": 3, "p": 3, "u1": 3}
_STANDARD = get_standard_gate_name_mapping()


class Channels:
    """Channels of one experiment's operations."""

    def __init__(
        self,
        noise: Noise,
        dt: float | None,
        parameters: Iterable[Parameter],
        values: NDArray[np.float64],
    ) -> None:
        self.noise = noise
        self.dt = dt
        self._columns = {parameter: at for at, parameter in enumerate(parameters)}
        self._values = values
        self._ready: dict[int, Array] = {}
        self._unitaries: dict[str, NDArray[np.complex128]] = {}

    def prepare(self, ops: list[Op]) -> None:
        """Build what can be built in bulk: constant z rotations, which are half of all gates."""
        plain = [op for op in ops if op.name == "rz" and isinstance(op.params[0], float | int)]
        turns = ptm.rotation(3, [op.params[0] for op in plain])
        for op, turn in zip(plain, turns, strict=True):
            error = self.noise.error("rz", op.qubits)
            self._ready[id(op)] = turn if error is None else error @ turn

    def of(self, op: Op, loop: Mapping[Parameter, float]) -> Array:
        """The channel of `op`: one matrix, or one for each set of values.

        `loop` holds the present values of the parameters of `for` loops.
        """
        ready = self._ready.get(id(op))
        if ready is not None:
            return ready
        if op.name == "delay":
            return self._delay(op.qubits[0], self.span_s(op, loop))
        if op.name.startswith("reset"):
            return ptm.RESET
        if not op.params:
            return self.noise.gate(op.name, op.qubits, op.operation or _STANDARD[op.name])
        angles = [self.angle(parameter, loop) for parameter in op.params]
        if op.name in _ROTATIONS:
            ideal = ptm.rotation(_ROTATIONS[op.name], angles[0])
        else:
            ideal = ptm.of_unitary(self._matrices(op, angles))
        error = self.noise.error(op.name, op.qubits)
        return ideal if error is None else error @ ideal

    def unitary(self, op: Op, loop: Mapping[Parameter, float]) -> NDArray[np.complex128]:
        """The matrix of a gate without its error, or one for each set of values."""
        if op.params:
            return self._matrices(op, [self.angle(parameter, loop) for parameter in op.params])
        if op.name not in self._unitaries:
            gate = op.operation or _STANDARD[op.name]
            self._unitaries[op.name] = np.asarray(gate.to_matrix())
        return self._unitaries[op.name]

    def angle(self, written: Any, loop: Mapping[Parameter, float]) -> Angle:
        """The value of a gate's parameter."""
        if not isinstance(written, ParameterExpression):
            return float(written)
        inner = [parameter for parameter in written.parameters if parameter in loop]
        if inner:
            written = written.bind({parameter: loop[parameter] for parameter in inner})
        if not written.parameters:
            return float(written)
        return at_rows(written, self._columns, self._values)

    def span_s(self, op: Op, loop: Mapping[Parameter, float]) -> Angle:
        """How long a delay lasts, in seconds."""
        span, unit = op.params[0], op.operation.unit
        if isinstance(span, expr.Expr):
            return constant_s(span, self.dt)
        return self.angle(span, loop) * unit_s(unit, self.dt)

    def _matrices(self, op: Op, angles: list[Angle]) -> NDArray[np.complex128]:
        gate = type(op.operation) if op.operation is not None else _STANDARD[op.name].base_class
        if all(isinstance(angle, float) for angle in angles):
            return np.asarray(gate(*angles).to_matrix())
        rows = np.stack(np.broadcast_arrays(*angles), axis=-1)
        return np.stack([gate(*row).to_matrix() for row in rows])

    def _delay(self, qubit: int, spans_s: Angle) -> Array:
        if isinstance(spans_s, float):
            return self.noise.relaxation(qubit, spans_s)
        return np.stack([self.noise.relaxation(qubit, span) for span in spans_s])
