"""Conditions of OpenQASM 3 as Qiskit's classical expressions.

`qiskit-qasm3-import` reads `bit == constant` and `register == constant`; Qiskit writes more than
that (`qasm3.dumps`), and this reads it.
"""

from collections.abc import Callable
from typing import Any

from openqasm3 import ast
from qiskit.circuit import ClassicalRegister, Clbit
from qiskit.circuit.classical import expr, types

from queuebit.programs.wire.qasm_check import refuse, unsupported

Resolve = Callable[[ast.Expression], Any]

_UNARY: dict[str, Callable[[Any], expr.Expr]] = {"!": expr.logic_not, "~": expr.bit_not}
_BINARY: dict[str, Callable[[Any, Any], expr.Expr]] = {
    "==": expr.equal,
    "!=": expr.not_equal,
    "<": expr.less,
    "<=": expr.less_equal,
    ">": expr.greater,
    ">=": expr.greater_equal,
    "&&": expr.logic_and,
    "||": expr.logic_or,
    "&": expr.bit_and,
    "|": expr.bit_or,
    "^": expr.bit_xor,
    "<<": expr.shift_left,
    ">>": expr.shift_right,
    "+": expr.add,
    "-": expr.sub,
    "*": expr.mul,
    "/": expr.div,
}


def condition(node: ast.Expression, resolve: Resolve) -> expr.Expr | tuple[Any, int]:
    """The condition at `node`, which is true or false; `resolve` finds what a name stands for.

    A comparison of a bit or a register with a constant is Qiskit's pair of the two.
    """
    match value := _lifted(_value(node, resolve)):
        case expr.Var(var=Clbit() as bit):
            return bit, True
        case expr.Unary(op=expr.Unary.Op.LOGIC_NOT, operand=expr.Var(var=Clbit() as bit)):
            return bit, False
        case expr.Binary(
            op=expr.Binary.Op.EQUAL, left=expr.Var(var=compared), right=expr.Value(value=constant)
        ):
            return compared, constant
    if not isinstance(value.type, types.Bool):
        refuse(node, "a condition must be true or false; compare the register with a number")
    return value


def _value(node: ast.Expression, resolve: Resolve) -> Any:  # noqa: PLR0911 - one for each kind
    """An expression, or a number or a truth value, whose width is that of what it meets."""
    match node:
        case ast.IntegerLiteral() | ast.BooleanLiteral() | ast.BitstringLiteral():
            return node.value
        case ast.Identifier() | ast.IndexedIdentifier() | ast.IndexExpression():
            found = resolve(node)
            if not isinstance(found, Clbit | ClassicalRegister):
                unsupported(node, "a condition on a part of a register")
            return expr.lift(found)
        case ast.UnaryExpression() if node.op.name in _UNARY:
            operand = _lifted(_value(node.expression, resolve))
            if isinstance(operand.type, types.Bool):  # of which ~ is the same as !
                return expr.logic_not(operand)
            return _UNARY[node.op.name](operand)
        case ast.BinaryExpression() if node.op.name in _BINARY:
            left, right = _value(node.lhs, resolve), _value(node.rhs, resolve)
            return _BINARY[node.op.name](_fitted(left, right), _fitted(right, left))
        case ast.Cast(type=ast.BoolType()):
            return expr.cast(_value(node.argument, resolve), types.Bool())
        case ast.UnaryExpression() | ast.BinaryExpression():
            return unsupported(node, f"the operator {node.op.name!r} in a condition")
    return unsupported(node, "this kind of condition")


def _fitted(value: Any, other: Any) -> Any:
    """A number made to meet `other`: a truth value, or a number that may need more bits."""
    if isinstance(value, int) and isinstance(other, expr.Expr):
        if isinstance(other.type, types.Bool) and value in (0, 1):
            return bool(value)
        if isinstance(other.type, types.Uint) and value.bit_length() > other.type.width:
            return expr.lift(value)
    return value


def _lifted(value: Any) -> expr.Expr:
    return value if isinstance(value, expr.Expr) else expr.lift(value)
