"""Whether a circuit fits the device, and how long it takes: what Qiskit's Target knows, fast."""

from collections.abc import Mapping
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Bit, ParameterExpression
from qiskit.transpiler import Target

from queuebit.devices.classical import delay_s, refusal
from queuebit.devices.reading import expressions
from queuebit.devices.sweeps import in_bounds
from queuebit.devices.target import CONTROL_FLOW, Wires, listed

# The client's own text for code 1517, so that people find what they know (semantics 6.3).
ADVICE = (
    " Circuits that do not match the target hardware definition are no longer supported after "
    "March 4, 2024. See the transpilation documentation "
    "(https://quantum.cloud.ibm.com/docs/guides/transpile) for instructions to transform circuits."
)
_ANYWHERE = frozenset({"barrier", "store"})
_CLASSICAL = frozenset({"store", "delay", *CONTROL_FLOW})


def _refused(operation: Any) -> str | None:
    """Why the classical expressions of an operation, blocks aside, cannot be evaluated."""
    return next(filter(None, map(refusal, expressions(operation))), None)


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
        if circuit.num_input_vars:
            names = ", ".join(repr(variable.name) for variable in circuit.iter_input_vars())
            return (
                f"The circuit has classical inputs ({names[:200]}), and nothing gives them values: "
                "declare them with a value (QuantumCircuit.add_var), or use parameters."
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
            if name in _CLASSICAL and (wrong := _refused(one.operation)):
                return f"The instruction {name}: {wrong}."
            if name in _ANYWHERE:
                continue
            at = tuple([places[bit] for bit in one.qubits])
            wires = self._wires.get(name, frozenset())
            if wires is not None and at not in wires:
                faulty = [qubit for qubit in at if qubit not in self._alive]
                return (
                    f"The instruction {name} on qubits {listed(at)} is not supported by the target "
                    "system." + (f" Qubit {faulty[0]} is faulty." if faulty else "") + ADVICE
                )
            if (
                name == "rzz"
                and not isinstance(angle := one.params[0], ParameterExpression)
                and not in_bounds(angle)
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
