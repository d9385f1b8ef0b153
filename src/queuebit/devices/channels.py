"""Every operation as a noisy channel, with angles filled in for all sets of parameter values."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression
from qiskit.circuit.library import get_standard_gate_name_mapping

from queuebit.devices import ptm
from queuebit.devices.noise import Noise
from queuebit.devices.ptm import Array
from queuebit.devices.reading import Op
from queuebit.devices.target import unit_s

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
        self._dt = dt
        self._columns = {parameter: at for at, parameter in enumerate(parameters)}
        self._values = values
        self._ready: dict[int, Array] = {}

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
            return self._delay(op, loop)
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

    def angle(self, written: Any, loop: Mapping[Parameter, float]) -> Angle:
        """The value of a gate's parameter."""
        if not isinstance(written, ParameterExpression):
            return float(written)
        inner = [parameter for parameter in written.parameters if parameter in loop]
        if inner:
            written = written.bind({parameter: loop[parameter] for parameter in inner})
        if not written.parameters:
            return float(written)
        if written in self._columns:
            return self._values[:, self._columns[written]]
        return self._expression(written)

    def _expression(self, written: Any) -> NDArray[np.float64]:
        used = list(written.parameters)
        columns = [self._columns[parameter] for parameter in used]
        slopes = [written.gradient(parameter) for parameter in used]
        if all(isinstance(slope, float | int) for slope in slopes):
            # Transpilers write theta / 2 + pi and the like: no need to go through row by row.
            start = float(written.bind(dict.fromkeys(used, 0.0)))
            linear: NDArray[np.float64] = start + self._values[:, columns] @ np.array(slopes)
            return linear
        rows = self._values[:, columns]
        return np.array([float(written.bind(dict(zip(used, row, strict=True)))) for row in rows])

    def _matrices(self, op: Op, angles: list[Angle]) -> NDArray[np.complex128]:
        gate = type(op.operation) if op.operation is not None else _STANDARD[op.name].base_class
        if all(isinstance(angle, float) for angle in angles):
            return np.asarray(gate(*angles).to_matrix())
        rows = np.stack(np.broadcast_arrays(*angles), axis=-1)
        return np.stack([gate(*row).to_matrix() for row in rows])

    def _delay(self, op: Op, loop: Mapping[Parameter, float]) -> Array:
        scale = unit_s(op.operation.unit, self._dt)
        spans = self.angle(op.params[0], loop)
        if isinstance(spans, float):
            return self.noise.relaxation(op.qubits[0], spans * scale)
        return np.stack([self.noise.relaxation(op.qubits[0], span * scale) for span in spans])
