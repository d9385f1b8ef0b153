"""Whether a circuit fits the device, and how long it takes: what Qiskit's Target knows, fast."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Bit, Parameter, ParameterExpression
from qiskit.transpiler import Target

from queuebit.devices.classical import delay_s
from queuebit.devices.target import CONTROL_FLOW, RZZ_BOUNDS, Wires

# The client's own text for code 1517, so that people find what they know (semantics 6.3).
ADVICE = (
    " Circuits that do not match the target hardware definition are no longer supported after "
    "March 4, 2024. See the transpilation documentation "
    "(https://quantum.cloud.ibm.com/docs/guides/transpile) for instructions to transform circuits."
)
_ANYWHERE = frozenset({"barrier", "store"})
_SWEPT = frozenset({"rzz", "delay"})
_ROUNDING = 1e-10  # what the client allows beyond the bounds


def swept_error(circuit: QuantumCircuit, rows: NDArray[np.float64]) -> str | None:
    """The first rzz or delay that leaves its range at one of `rows` of parameter values.

    Shape (n, P), columns in circuit.parameters order. rzz as the client has it (0.51,
    is_valid_rzz_pub), and in its words; delays, which QPY tells without their unit, are whole
    numbers of dt. None if all is well. What is a number already is `Isa.error`'s.
    """
    if not circuit.num_parameters or _names(circuit).isdisjoint(_SWEPT):
        return None
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    places: dict[Bit, int] = {bit: at for at, bit in enumerate(circuit.qubits)}
    return next(_swept_errors(circuit, places, rows, columns, set()), None)


def _swept_errors(
    circuit: QuantumCircuit,
    places: Mapping[Bit, int],
    rows: NDArray[np.float64],
    columns: Mapping[Parameter, int],
    sound: set[tuple[str, ParameterExpression]],
) -> Iterator[str]:
    for one in circuit.data:
        at = tuple([places[bit] for bit in one.qubits])
        if one.name in CONTROL_FLOW:
            for block in one.operation.blocks:
                inner = dict(zip(block.qubits, at, strict=True))
                yield from _swept_errors(block, inner, rows, columns, sound)
        elif one.name in _SWEPT and isinstance(given := one.params[0], ParameterExpression):
            if (one.name, given) in sound or not columns.keys() >= given.parameters:
                continue  # seen, or the variable of a for loop, bound when it runs
            for value, told in _swept_values(given, rows, columns):
                if wrong := _swept_wrong(one.name, value):
                    yield (
                        f"The instruction {one.name} on qubits {at} is supported only for {wrong} "
                        f"has been requested; via parameter value(s) {told}, substituted in "
                        f"parameter expression {given}."
                    )
            sound.add((one.name, given))


def _swept_wrong(name: str, value: float) -> str | None:
    if name == "rzz" and not _in_bounds(value):
        return f"angles in the range [0, pi/2], but an angle ({value}) outside of this range"
    if name == "delay" and (value < 0 or not value.is_integer()):
        return f"whole numbers of dt, but a delay of {value}"
    return None


def _swept_values(
    given: ParameterExpression,
    rows: NDArray[np.float64],
    columns: Mapping[Parameter, int],
) -> Iterator[tuple[float, str]]:
    """Each value of `given` that occurs, and which parameters made it, in words."""
    used = list(given.parameters)
    for row in np.unique(rows[:, [columns[p] for p in used]], axis=0).tolist():
        value = (
            row[0]
            if isinstance(given, Parameter)
            else float(given.bind(dict(zip(used, row, strict=True))))
        )
        yield value, ", ".join(f"{p.name}={x}" for p, x in zip(used, row, strict=True))


def _names(circuit: QuantumCircuit) -> set[str]:
    names = set(circuit.count_ops())
    if not names.isdisjoint(CONTROL_FLOW):
        for one in circuit.data:
            if one.name in CONTROL_FLOW:
                names.update(*(_names(block) for block in one.operation.blocks))
    return names


def _in_bounds(angle: float) -> bool:
    low, high = RZZ_BOUNDS
    return low <= angle <= high + _ROUNDING


class Isa:
    """The device's instruction set architecture."""

    def __init__(self, target: Target) -> None:
        self._num_qubits: int = target.num_qubits
        self._dt: float | None = target.dt
        self._wires: dict[str, frozenset[Wires] | None] = {
            name: None if not target[name] or None in target[name] else frozenset(target[name])
            for name in target.operation_names
        }
        self._alive = {
            qubit for wires in self._wires.values() for at in wires or () for qubit in at
        }
        self._durations_s: dict[tuple[str, Wires], float] = {
            (name, wires): known.duration
            for name in target.operation_names
            for wires, known in (target[name] or {}).items()
            if wires is not None and known is not None and known.duration is not None
        }

    def error(self, circuit: QuantumCircuit) -> str | None:
        """The first rule that `circuit` breaks, in the client's words; None if it breaks none."""
        if circuit.num_qubits > self._num_qubits:
            return (
                f"The circuit has {circuit.num_qubits} qubits "
                f"but the target system requires {self._num_qubits} qubits."
            )
        return self._error(circuit, {bit: at for at, bit in enumerate(circuit.qubits)})

    def duration_s(self, circuit: QuantumCircuit) -> float:
        """Seconds from the first to the last instruction of one shot.

        Of branches the longest counts; a while loop counts as one round, and delays that are
        parameters as none, because nobody knows. So do instructions whose duration is not told.
        """
        return self._duration(circuit, {bit: at for at, bit in enumerate(circuit.qubits)})

    def _error(self, circuit: QuantumCircuit, places: Mapping[Bit, int]) -> str | None:
        for one in circuit.data:
            name = one.name
            if name in _ANYWHERE:
                continue
            at = tuple([places[bit] for bit in one.qubits])
            wires = self._wires.get(name, frozenset())
            if wires is not None and at not in wires:
                faulty = [qubit for qubit in at if qubit not in self._alive]
                return (
                    f"The instruction {name} on qubits {at} is not supported by the target system."
                    + (f" Qubit {faulty[0]} is faulty." if faulty else "")
                    + ADVICE
                )
            if (
                name == "rzz"
                and not isinstance(angle := one.params[0], ParameterExpression)
                and not _in_bounds(angle)
            ):
                return (
                    f"The instruction {name} on qubits {at} is supported only for angles in the "
                    f"range [0, pi/2], but an angle ({angle}) outside of this range has been "
                    "requested."
                )
            if name in CONTROL_FLOW:
                for block in one.operation.blocks:
                    inner = dict(zip(block.qubits, at, strict=True))
                    if found := self._error(block, inner):
                        return found
        return None

    def _duration(self, circuit: QuantumCircuit, places: Mapping[Bit, int]) -> float:
        """Critical path over qubits and bits."""
        busy: dict[Bit, float] = {}
        for one in circuit.data:
            bits = (*one.qubits, *one.clbits)
            start = max([busy.get(bit, 0.0) for bit in bits], default=0.0)
            name = one.name
            if name == "barrier":
                end = start
            elif name == "delay":
                end = start + (delay_s(one.operation, self._dt) or 0.0)
            elif name in CONTROL_FLOW:
                at = [places[bit] for bit in one.qubits]
                end = start + self._control_s(one.operation, at)
            else:
                at = [places[bit] for bit in one.qubits]
                end = start + self._durations_s.get((name, tuple(at)), 0.0)
            for bit in bits:
                busy[bit] = end
        return max(busy.values(), default=0.0)

    def _control_s(self, operation: Any, at: list[int]) -> float:
        blocks = operation.blocks
        longest = max(
            self._duration(block, dict(zip(block.qubits, at, strict=True))) for block in blocks
        )
        if operation.name == "for_loop":
            indices = operation.params[0]
            return longest * (len(indices) if hasattr(indices, "__len__") else 1)
        return longest
