"""IBM's limits of dynamic circuits, for backends that imitate IBM's.

Source: IBM's guide "Execute dynamic circuits", section "Qiskit Runtime limitations". That `for`,
`while` and `switch` are not supported is said by the backend's target. Not checked is how many bits
a job moves to its conditions ("approximately 300 broadcasts" of 60 bits each, 2400 of one bit).
"""

from collections.abc import Iterator
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister
from qiskit.circuit.classical import expr, types

from queuebit.devices.protocol import LimitsDynamicCircuits, Qpu
from queuebit.devices.reading import is_dynamic
from queuebit.errors import InvalidInput

OPERAND_BITS_MAX = 32
"""'The operand used in an `if_test` statement must be 32 or fewer bits.'"""

_OPERATOR = 'The operator of this service can lift the limit: dynamic_circuits = "all".'
_ARITHMETIC = frozenset(expr.Binary.Op[name] for name in ("ADD", "SUB", "MUL", "DIV"))


def check(circuit: QuantumCircuit, device: Qpu, where: str) -> None:
    """Refuses a circuit that breaks one of the limits, if `device` has them.

    `where` is what the message begins with.
    """
    if _limited(device) and (broken := next(_broken(circuit), None)):
        raise InvalidInput(f"{where}: {broken}.", 1517, _OPERATOR)


def check_static(circuit: QuantumCircuit, device: Qpu, where: str) -> None:
    """Refuses a dynamic circuit, if `device` has the limits: 'Estimator does not support' them."""
    if _limited(device) and is_dynamic(circuit):
        raise InvalidInput(
            f"{where}: Estimator does not support dynamic circuits.",
            1517,
            f"Use Sampler or Executor. {_OPERATOR}",
        )


def _limited(device: Qpu) -> bool:
    return isinstance(device, LimitsDynamicCircuits) and device.dynamic_circuits == "ibm"


def _broken(circuit: QuantumCircuit) -> Iterator[str]:
    """The limits that a circuit breaks, in IBM's words."""
    for one in circuit.data:
        if one.is_control_flow() or one.name == "store":
            yield from _broken_by(one.operation)
        if one.is_control_flow():
            for block in one.operation.blocks:
                yield from _broken_inside(block)


def _broken_inside(block: QuantumCircuit) -> Iterator[str]:
    for one in block.data:
        if one.is_control_flow():
            yield "nested conditionals are not allowed"
        elif one.name.startswith(("measure", "reset")):
            yield f"having {one.name!r} inside a conditional is not supported"
        elif one.name == "store":
            yield from _broken_by(one.operation)


def _broken_by(operation: Any) -> Iterator[str]:
    """By the operands of a condition or an assignment."""
    for name in ("condition", "target", "rvalue"):
        match getattr(operation, name, None):
            case (ClassicalRegister() as register, _):
                yield from _too_wide(register.size)
            case expr.Expr() as expression:
                yield from _broken_in(expression)


def _broken_in(node: expr.Expr) -> Iterator[str]:
    match node:
        case expr.Binary():
            if node.op in _ARITHMETIC:
                yield "arithmetic operations are not supported"
            yield from _broken_in(node.left)
            yield from _broken_in(node.right)
        case expr.Unary() | expr.Cast():
            yield from _broken_in(node.operand)
        case expr.Index():  # one bit, of a register of any size
            yield from _broken_in(node.index)
        case expr.Var(type=types.Uint(width=width)):
            yield from _too_wide(width)


def _too_wide(width: int) -> Iterator[str]:
    if width > OPERAND_BITS_MAX:
        yield (
            f"a condition on {width} bits; the operand used in an if_test statement must be "
            f"{OPERAND_BITS_MAX} or fewer bits"
        )
