"""A Qiskit circuit as plain operations on numbered bits, and its independent parts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import (
    Bit,
    ClassicalRegister,
    Clbit,
    ControlFlowOp,
    Delay,
    ParameterExpression,
    Store,
)
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
    others: tuple[Any, ...] = ()
    """What control flow or a store reads or writes besides: real-time variables, and, as ~index,
    classical bits that are not among `clbits`."""


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
    def fixed(self) -> bool:
        """Whether nothing decides and every delay has one length: a circuit for any simulator."""
        return not self.dynamic and not any(
            isinstance(op.params[0], ParameterExpression) for op in self.ops if op.name == "delay"
        )

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


def is_dynamic(circuit: QuantumCircuit) -> bool:
    """Whether it has control flow, classical variables, or stores into classical bits."""
    return bool(circuit.has_control_flow_op() or circuit.num_vars or "store" in circuit.count_ops())


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
            yield Op(name, at, to, one.params, operation, tuple(_others(operation, clbits, to)))


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
        wires = [*op.qubits, *[~c for c in op.clbits], *op.others]
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


def reads(operation: Any) -> Iterator[Any]:
    """Every variable, bit and register that a condition, a switch's target or a store names.

    Of the operation itself: blocks bring their own bits.
    """
    for node in expressions(operation):
        for var in expr.iter_vars(node):
            yield var if var.standalone else var.var
    for name in ("condition", "target"):
        found = getattr(operation, name, None)
        if isinstance(found, tuple):
            yield found[0]
        elif isinstance(found, Clbit | ClassicalRegister):
            yield found


def expressions(operation: Any) -> Iterator[expr.Expr]:
    """The classical expressions of an operation, without those in its blocks."""
    if isinstance(operation, Store):
        yield from (operation.lvalue, operation.rvalue)
    elif isinstance(operation, Delay) and isinstance(operation.duration, expr.Expr):
        yield operation.duration
    for name in ("condition", "target"):
        found = getattr(operation, name, None)
        if isinstance(found, expr.Expr):
            yield found


def _others(operation: Any, clbits: dict[Bit, int], among: Wires) -> set[Any]:
    found: set[Any] = set()
    for where in reads(operation):
        if isinstance(where, Clbit):
            found.add(~clbits[where])
        elif isinstance(where, ClassicalRegister):
            found.update(~clbits[bit] for bit in where)
        else:
            found.add(where)
    if isinstance(operation, ControlFlowOp):
        for block in operation.blocks:
            found.update(block.iter_captured_vars())
    return found.difference([~bit for bit in among])
