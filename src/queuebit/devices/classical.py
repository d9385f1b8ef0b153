"""Conditions and real-time variables: classical expressions on one set of measured bits."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Bit, Clbit
from qiskit.circuit.classical import expr, types

from queuebit.errors import InvalidInput

Value = bool | int | float

_BINARY: dict[expr.Binary.Op, Callable[[Any, Any], Any]] = {
    expr.Binary.Op.BIT_AND: operator.and_,
    expr.Binary.Op.BIT_OR: operator.or_,
    expr.Binary.Op.BIT_XOR: operator.xor,
    expr.Binary.Op.LOGIC_AND: lambda a, b: bool(a) and bool(b),
    expr.Binary.Op.LOGIC_OR: lambda a, b: bool(a) or bool(b),
    expr.Binary.Op.EQUAL: operator.eq,
    expr.Binary.Op.NOT_EQUAL: operator.ne,
    expr.Binary.Op.LESS: operator.lt,
    expr.Binary.Op.LESS_EQUAL: operator.le,
    expr.Binary.Op.GREATER: operator.gt,
    expr.Binary.Op.GREATER_EQUAL: operator.ge,
    expr.Binary.Op.SHIFT_LEFT: operator.lshift,
    expr.Binary.Op.SHIFT_RIGHT: operator.rshift,
    expr.Binary.Op.ADD: operator.add,
    expr.Binary.Op.SUB: operator.sub,
    expr.Binary.Op.MUL: operator.mul,
}


@dataclass(slots=True)
class Scope:
    """What an expression can see: the bits as measured so far, and the variables."""

    clbits: Mapping[Bit, int]
    """Columns of the circuit's bits, and of those of the blocks around the expression."""
    bits: NDArray[np.bool_]
    variables: dict[Any, Value]

    def read(self, where: Any) -> Value:
        """The value of a bit or a register (unsigned, bit 0 lowest)."""
        if isinstance(where, Clbit):
            return bool(self.bits[self.clbits[where]])
        return sum(int(self.bits[self.clbits[bit]]) << i for i, bit in enumerate(where))

    def write(self, target: Any, value: Value) -> None:
        """Store `value` in a variable, a bit, a register or one bit of these."""
        if isinstance(target, expr.Index):
            place = 1 << int(evaluate(target.index, self))
            old = int(evaluate(target.target, self))
            self.write(target.target, old | place if value else old & ~place)
        elif target.standalone:
            self.variables[target] = value
        elif isinstance(target.var, Clbit):
            self.bits[self.clbits[target.var]] = bool(value)
        else:
            for i, bit in enumerate(target.var):
                self.bits[self.clbits[bit]] = bool(int(value) >> i & 1)


def holds(condition: Any, scope: Scope) -> bool:
    """Whether a condition is met: an expression, or Qiskit's older (bit or register, value)."""
    if isinstance(condition, expr.Expr):
        return bool(evaluate(condition, scope))
    where, wanted = condition
    return bool(scope.read(where) == wanted)


def evaluate(node: Any, scope: Scope) -> Value:  # noqa: PLR0911 - one for each kind of node
    """The value of an expression."""
    match node:
        case expr.Value():
            return _plain(node.value)
        case expr.Var():
            return scope.variables[node] if node.standalone else scope.read(node.var)
        case expr.Cast():
            return _as_type(evaluate(node.operand, scope), node.type)
        case expr.Index():
            return bool(int(evaluate(node.target, scope)) >> int(evaluate(node.index, scope)) & 1)
        case expr.Unary():
            operand = evaluate(node.operand, scope)
            if node.op is expr.Unary.Op.LOGIC_NOT or isinstance(node.type, types.Bool):
                return not operand
            turned = -operand if node.op is expr.Unary.Op.NEGATE else ~int(operand)
            return _as_type(turned, node.type)
        case expr.Binary():
            left, right = evaluate(node.left, scope), evaluate(node.right, scope)
            if node.op is expr.Binary.Op.DIV:
                return _divide(left, right, node.type)
            return _as_type(_BINARY[node.op](left, right), node.type)
    raise InvalidInput(f"the classical expression {node} is not supported")


def _divide(left: Value, right: Value, kind: Any) -> Value:
    if right == 0:
        raise InvalidInput("a classical expression divides by zero")
    return left // right if isinstance(kind, types.Uint) else left / right


def _as_type(value: Value, kind: Any) -> Value:
    """Wrapped to the type's width, as the controller's registers do it."""
    if isinstance(kind, types.Bool):
        return bool(value)
    if isinstance(kind, types.Uint):
        width: int = kind.width
        return int(value) & ((1 << width) - 1)
    return float(value)


def _plain(value: Any) -> Value:
    if not isinstance(value, bool | int | float):
        raise InvalidInput(f"the classical value {value} is not supported")
    return value
