"""Conditions and real-time variables: classical expressions on one set of measured bits.

Types are Qiskit's. An unsigned integer wraps at its width, and division by zero gives the largest
value of its type, as integer units of processors have it: a controller cannot stop for it.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Bit, Clbit, Delay, Duration, ParameterExpression
from qiskit.circuit.classical import expr, types

from queuebit.errors import InvalidInput

Value = bool | int | float
"""Of a Bool, a Uint, a Float; durations are floats too, in seconds."""

WIDTH_MAX = 10_000
"""Bits of an unsigned integer; as many as a circuit may have."""

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}

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
    expr.Binary.Op.SHIFT_LEFT: lambda a, b: a << b if b < WIDTH_MAX else 0,
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
    """A variable that nothing was stored in yet is 0."""
    dt: float | None
    """Seconds of the unit of durations that are given in "dt"."""

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
            new = old | place if value else old & ~place
            self.write(target.target, _as_type(new, target.target.type))
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
    """The value of an expression that `refusal` lets pass."""
    match node:
        case expr.Value():
            return _plain(node.value, scope.dt)
        case expr.Var():
            if not node.standalone:
                return scope.read(node.var)
            return scope.variables.get(node, _as_type(0, node.type))
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
    raise InvalidInput(refusal(node) or f"the expression {node} is not supported", code=1517)


def constant_s(node: Any, dt: float | None) -> float:
    """Seconds of a duration that no measurement and no variable decides."""
    return float(evaluate(node, Scope({}, np.zeros(0, dtype=bool), {}, dt)))


def delay_s(delay: Delay, dt: float | None) -> float | None:
    """Seconds of a delay; None if it is a parameter."""
    span = delay.duration
    if isinstance(span, expr.Expr):
        return constant_s(span, dt)
    if isinstance(span, ParameterExpression):
        return None
    return float(span) * unit_s(delay.unit, dt)


def refusal(node: expr.Expr) -> str | None:
    """Why no device of ours evaluates an expression; None if it does."""
    for part in _parts(node):
        if isinstance(part, expr.Stretch):
            return (
                f"the stretch {part.name!r} is not supported: nothing here decides how long it is, "
                "so give the delay its length"
            )
        if isinstance(part.type, types.Uint) and part.type.width > WIDTH_MAX:
            return f"an unsigned integer of {part.type.width} bits; the limit is {WIDTH_MAX}"
    return None


def _parts(node: expr.Expr) -> Iterator[expr.Expr]:
    """The expression and all in it."""
    left = [node]
    while left:
        one = left.pop()
        yield one
        match one:
            case expr.Cast() | expr.Unary():
                left.append(one.operand)
            case expr.Index():
                left += [one.target, one.index]
            case expr.Binary():
                left += [one.left, one.right]


def unit_s(unit: str, dt: float | None) -> float:
    """Seconds of a unit of time, by Qiskit's name of it."""
    if unit == "dt" and dt is not None:
        return dt
    if unit not in _UNITS:
        raise InvalidInput(f"durations in {unit!r} are not supported by this backend", code=1517)
    return _UNITS[unit]


def _divide(left: Value, right: Value, kind: Any) -> Value:
    if isinstance(kind, types.Uint):
        largest: int = (1 << kind.width) - 1
        return left // right if right else largest
    return left / right if right else math.copysign(math.inf, left)


def _as_type(value: Value, kind: Any) -> Value:
    """Wrapped to the type's width, as the controller's registers do it."""
    if isinstance(kind, types.Bool):
        return bool(value)
    if isinstance(kind, types.Uint):
        width: int = kind.width
        largest = (1 << width) - 1
        if isinstance(value, float) and not math.isfinite(value):
            return largest if value > 0 else 0
        return int(value) & largest
    return float(value)


def _plain(value: Any, dt: float | None) -> Value:
    if isinstance(value, Duration):
        return float(value.value()) * unit_s(value.unit(), dt)
    assert isinstance(value, bool | int | float)
    return value
