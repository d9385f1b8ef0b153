"""Values of qiskit.circuit.classical expressions, by what Qiskit and OpenQASM 3 say of their types.

Uints wrap to their width; shifts by the width or more leave 0; a cast to a smaller Uint keeps the
low bits; a cast to Bool is "not zero"; division of Uints drops the remainder, as a cast from Float
to Uint drops what follows the point. Durations are in seconds.
"""

from collections.abc import Callable, Mapping
from typing import Any

from qiskit.circuit import Clbit, Duration
from qiskit.circuit.classical import expr, types

Value = bool | int | float
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "EQUAL": lambda a, b: a == b,
    "NOT_EQUAL": lambda a, b: a != b,
    "LESS": lambda a, b: a < b,
    "LESS_EQUAL": lambda a, b: a <= b,
    "GREATER": lambda a, b: a > b,
    "GREATER_EQUAL": lambda a, b: a >= b,
    "LOGIC_AND": lambda a, b: a and b,
    "LOGIC_OR": lambda a, b: a or b,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "BIT_AND": lambda a, b: a & b,
    "BIT_OR": lambda a, b: a | b,
    "BIT_XOR": lambda a, b: a ^ b,
    "SHIFT_LEFT": lambda a, b: a << b,
    "SHIFT_RIGHT": lambda a, b: a >> b,
    "ADD": lambda a, b: a + b,
    "SUB": lambda a, b: a - b,
    "MUL": lambda a, b: a * b,
}


class Memory:
    """Bits and variables of one branch, and what may be read and written there."""

    def __init__(
        self,
        bits: tuple[bool, ...],
        variables: Mapping[expr.Var, Value],
        places: Mapping[Clbit, int],
        dt: float | None,
    ) -> None:
        self.bits = list(bits)
        self.variables = dict(variables)
        self._places = places
        self._dt = dt

    def holds(self, condition: Any) -> bool:
        """Whether a condition is true: an expression, or a (bit or register, value)."""
        if isinstance(condition, expr.Expr):
            return bool(self.value(condition))
        where, wanted = condition
        return self.read(where) == int(wanted)

    def read(self, where: Any) -> int:
        """A bit, or a register as an unsigned number whose lowest bit is its first."""
        if isinstance(where, Clbit):
            return int(self.bits[self._places[where]])
        return sum(2**at for at, bit in enumerate(where) if self.bits[self._places[bit]])

    def value(self, node: expr.Expr) -> Value:
        """The value of an expression, of its type."""
        found = self._raw(node)
        kind = node.type
        if isinstance(kind, types.Bool):
            return bool(found)
        if isinstance(kind, types.Uint):
            return int(found) % 2**kind.width
        return float(found)

    def store(self, target: Any, value: Value) -> None:
        """Write a variable, a bit, a register, or one bit of a variable or a register."""
        if isinstance(target, expr.Index):
            at = int(self.value(target.index))
            whole = int(self.value(target.target))
            self.store(target.target, whole - (whole & 2**at) + (2**at if value else 0))
        elif target.standalone:
            self.variables[target] = value
        elif isinstance(target.var, Clbit):
            self.bits[self._places[target.var]] = bool(value)
        else:
            for at, bit in enumerate(target.var):
                self.bits[self._places[bit]] = bool(int(value) & 2**at)

    def _raw(self, node: expr.Expr) -> Any:  # noqa: PLR0911 - one for each kind of node
        match node:
            case expr.Value():
                return self._literal(node.value)
            case expr.Var():
                return self.variables[node] if node.standalone else self.read(node.var)
            case expr.Cast():
                return self.value(node.operand)
            case expr.Index():
                return int(self.value(node.target)) & 2 ** int(self.value(node.index))
            case expr.Unary():
                operand = self.value(node.operand)
                if node.op.name == "NEGATE":
                    return -operand
                if node.op.name == "LOGIC_NOT" or isinstance(node.type, types.Bool):
                    return not operand
                return 2**node.type.width - 1 - operand
            case expr.Binary():
                left, right = self.value(node.left), self.value(node.right)
                name = node.op.name
                if name == "DIV":
                    return left // right if isinstance(node.type, types.Uint) else left / right
                return (COMPARISONS.get(name) or ARITHMETIC[name])(left, right)
        raise NotImplementedError(f"{node}")

    def _literal(self, value: Any) -> Value:
        if isinstance(value, Duration):
            unit = value.unit()
            assert unit != "dt" or self._dt is not None
            return float(value.value()) * (self._dt if unit == "dt" else UNITS[unit])  # type: ignore[operator]
        return value  # type: ignore[no-any-return]
