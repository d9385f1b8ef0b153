"""A Qiskit circuit as plain operations on numbered bits, and its independent parts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Bit, ControlFlowOp, Store
from qiskit.circuit.classical import expr

from queuebit.devices.target import Wires


@dataclass(slots=True)
class Op:
    """One instruction; bits are indices of the outermost circuit."""

    name: str
    qubits: Wires
    clbits: Wires
    params: Sequence[Any]
    operation: Any = None
    """The Qiskit object, for control flow, stores and gates that are not standard."""
    variables: tuple[Any, ...] = ()
    """Real-time variables that a control-flow operation or a store reads or writes."""


@dataclass(slots=True)
class Part:
    """Operations connected by qubits, classical bits or variables: independent of all others."""

    qubits: list[int]
    clbits: list[int]
    ops: list[Op] = field(default_factory=list)

    @property
    def dynamic(self) -> bool:
        """Whether something in it depends on what was measured."""
        return any(op.operation is not None and op.name in CLASSICAL for op in self.ops)

    @property
    def alone(self) -> bool:
        """Whether it is one qubit, whose only measurement comes last."""
        return (
            len(self.qubits) == 1
            and len(self.clbits) == 1
            and self.ops[-1].name.startswith("measure")
            and not self.dynamic
            and not any(op.name.startswith("measure") for op in self.ops[:-1])
        )


CLASSICAL = frozenset({"if_else", "switch_case", "while_loop", "for_loop", "store", "box"})


def read(circuit: QuantumCircuit, qubits: dict[Bit, int], clbits: dict[Bit, int]) -> Iterator[Op]:
    """The circuit's operations, without barriers."""
    for one in circuit.data:
        name = one.name
        if name == "barrier":
            continue
        at = tuple([qubits[bit] for bit in one.qubits])
        if one.is_standard_gate():
            yield Op(name, at, (), one.params)
            continue
        to = tuple([clbits[bit] for bit in one.clbits])
        if name in {"measure", "reset", "delay"}:
            yield Op(name, at, to, one.params, one.operation if name == "delay" else None)
        else:
            operation = one.operation
            yield Op(name, at, to, one.params, operation, tuple(_variables(operation)))


def read_whole(circuit: QuantumCircuit) -> list[Op]:
    """The operations of an outermost circuit."""
    qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
    clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
    return list(read(circuit, qubits, clbits))


def split(ops: Iterable[Op]) -> list[Part]:
    """Parts that share no qubit, classical bit or variable, in order of first use."""
    above: dict[Any, Any] = {}

    def root(wire: Any) -> Any:
        while above[wire] != wire:
            above[wire] = above[above[wire]]
            wire = above[wire]
        return wire

    kept = []
    for op in ops:
        wires = [*op.qubits, *[~c for c in op.clbits], *op.variables]
        for wire in wires:
            above.setdefault(wire, wire)
        first = root(wires[0]) if wires else None
        for wire in wires[1:]:
            above[root(wire)] = first
        kept.append((op, wires))
    parts: dict[Any, Part] = {}
    for op, wires in kept:
        if wires:
            parts.setdefault(root(wires[0]), Part([], [])).ops.append(op)
    for wire in above:
        if isinstance(wire, int):
            part = parts[root(wire)]
            part.qubits.append(wire) if wire >= 0 else part.clbits.append(~wire)
    return list(parts.values())


def _variables(operation: Any) -> set[Any]:
    """Real-time variables in an operation, told apart by themselves (qiskit expr.Var)."""
    if isinstance(operation, Store):
        return set(_of_expression(operation.lvalue)) | set(_of_expression(operation.rvalue))
    if not isinstance(operation, ControlFlowOp):
        return set()
    return set().union(*(block.iter_captured_vars() for block in operation.blocks)) | {
        variable for condition in _conditions(operation) for variable in _of_expression(condition)
    }


def _conditions(operation: Any) -> Iterator[Any]:
    for name in ("condition", "target"):
        found = getattr(operation, name, None)
        if found is not None and not isinstance(found, tuple | list):
            yield found


def _of_expression(node: Any) -> Iterator[Any]:
    if isinstance(node, expr.Expr):
        yield from (var for var in expr.iter_vars(node) if var.standalone)
