"""Random classical expressions over what a block of a circuit can see."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from qiskit import ClassicalRegister
from qiskit.circuit import Clbit, Duration
from qiskit.circuit.classical import expr, types

COMPARISONS = (
    expr.less,
    expr.less_equal,
    expr.greater,
    expr.greater_equal,
    expr.equal,
    expr.not_equal,
)
OF_BOOLS = (
    expr.logic_and,
    expr.logic_or,
    expr.bit_and,
    expr.bit_or,
    expr.bit_xor,
    expr.equal,
    expr.not_equal,
)


class Expressions:
    """Expressions of these bits, registers and variables."""

    def __init__(
        self,
        rng: np.random.Generator,
        bits: Sequence[Clbit],
        registers: Sequence[ClassicalRegister],
        variables: Sequence[expr.Var],
        *,
        floats: bool,
    ) -> None:
        """`floats`: whether there are Floats and Durations."""
        self._rng = rng
        self._nodes = [expr.lift(where) for where in (*variables, *registers, *bits)]
        self._floats = floats

    def of_type(self, kind: types.Type, depth: int) -> expr.Expr:
        """What can be stored in an lvalue of this type."""
        if isinstance(kind, types.Bool):
            return self.boolean(depth)
        if isinstance(kind, types.Uint):
            return expr.cast(self.uint(depth), kind)
        return self.floating(depth)

    def boolean(self, depth: int) -> expr.Expr:
        """A condition."""
        atoms = self._atoms(types.Bool)
        if not depth or self._chance(0.2):
            return self._one(atoms) if atoms and self._chance(0.9) else expr.lift(self._chance(0.5))
        inner = depth - 1
        kinds: list[Callable[[], expr.Expr]] = [
            lambda: self._one(OF_BOOLS)(self.boolean(inner), self.boolean(inner)),
            lambda: self._one([expr.logic_not, expr.bit_not])(self.boolean(inner)),
            lambda: self._bit_of(self.uint(inner)),
            lambda: expr.cast(self.uint(inner), types.Bool()),
            lambda: expr.logic_not(self.uint(inner)),
            lambda: self._one(COMPARISONS)(self.uint(inner), self.uint(inner)),
            lambda: self._one(COMPARISONS)(self.uint(inner), self.uint(inner)),
        ]
        if self._floats:
            kinds.append(lambda: self._one(COMPARISONS)(*self._two_floats(inner)))
            kinds.append(lambda: self._one(COMPARISONS)(*self._two_spans()))
        return self._one(kinds)()

    def index(self, width: int) -> expr.Expr:
        """A place in a Uint of this width; not always a number."""
        small = [node for node in self._atoms(types.Uint) if 2**node.type.width <= width]
        if small and self._chance(0.3):
            return self._one(small)
        return expr.lift(self._int(0, width - 1), types.Uint(3))

    def uint(self, depth: int) -> expr.Expr:
        """A number of any width."""
        atoms = self._atoms(types.Uint)
        if not depth or self._chance(0.2):
            if atoms and self._chance(0.85):
                return self._one(atoms)
            width = self._int(1, 4)
            return expr.lift(self._int(0, 2**width - 1), types.Uint(width))
        inner = depth - 1
        kinds: list[Callable[[], expr.Expr]] = [
            lambda: self._one([expr.add, expr.sub, expr.mul])(self.uint(inner), self.uint(inner)),
            lambda: self._bitwise(self.uint(inner), self.uint(inner)),
            lambda: self._one([expr.shift_left, expr.shift_right])(self.uint(inner), self.uint(0)),
            lambda: expr.bit_not(self.uint(inner)),
            lambda: expr.div(self.uint(inner), expr.lift(self._int(1, 3), types.Uint(2))),
            lambda: expr.cast(self.uint(inner), types.Uint(self._int(1, 6))),
            lambda: expr.cast(self.boolean(inner), types.Uint(self._int(1, 6))),
        ]
        return self._one(kinds)()

    def floating(self, depth: int) -> expr.Expr:
        """A number that is exact in binary: eighths, and small by its depth."""
        atoms = self._atoms(types.Float)
        if not depth or self._chance(0.3):
            return self._one(atoms) if atoms else expr.lift(self._int(-8, 8) / 4)
        left, right = self._two_floats(depth - 1)
        kinds: list[Callable[[], expr.Expr]] = [
            lambda: expr.add(left, right),
            lambda: expr.sub(left, right),
            lambda: expr.mul(left, right),
            lambda: expr.negate(left),
            lambda: expr.div(left, expr.lift(self._one([0.5, -2.0, 4.0]))),
        ]
        return self._one(kinds)()

    def _bit_of(self, number: expr.Expr) -> expr.Expr:
        return expr.index(number, self.index(number.type.width))

    def _bitwise(self, left: expr.Expr, right: expr.Expr) -> expr.Expr:
        """These want one width."""
        make = self._one([expr.bit_and, expr.bit_or, expr.bit_xor])
        return make(left, expr.cast(right, left.type))

    def _two_floats(self, depth: int) -> tuple[expr.Expr, expr.Expr]:
        pair = (expr.cast(self.uint(min(depth, 1)), types.Float()), self.floating(depth))
        return pair if self._chance(0.5) else pair[::-1]

    def _two_spans(self) -> tuple[expr.Expr, expr.Expr]:
        """Durations: there are no variables of them."""
        unit = self._one([Duration.ns, Duration.us])
        first = expr.lift(unit(self._int(1, 6)))
        return first, expr.mul(expr.lift(unit(self._int(1, 3))), self._int(1, 3))

    def _atoms(self, kind: type[types.Type]) -> list[expr.Expr]:
        return [node for node in self._nodes if isinstance(node.type, kind)]

    def _one(self, choices: Any) -> Any:
        return choices[int(self._rng.integers(len(choices)))]

    def _chance(self, chance: float) -> bool:
        return bool(self._rng.random() < chance)

    def _int(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self._rng.integers(low, high + 1))
