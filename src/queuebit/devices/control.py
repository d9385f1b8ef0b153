"""The interpreter of a part's operations on many branches at once: what is taken, and how often.

A branch is one history of measured bits at one set of parameter values. What a branch's quantum
state is, and what measuring and gates do to it, is left to the subclasses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CASE_DEFAULT, Bit, Parameter
from qiskit.circuit.classical import expr

from queuebit.devices.channels import Channels
from queuebit.devices.classical import Scope, evaluate, holds
from queuebit.devices.reading import CLASSICAL, Op, read
from queuebit.devices.target import Wires
from queuebit.errors import InvalidInput

LOOP_TURNS = 100_000
"""Rounds of one `while` loop before it counts as endless."""


class Splits(Protocol):
    """The states of many branches, which can be parted and put together again."""

    rows: NDArray[np.intp]
    """Which set of parameter values each belongs to."""
    bits: NDArray[np.bool_]
    """Classical bits so far, shape (branches, bits)."""
    variables: list[dict[Any, Any]]
    """Real-time variables of each; dictionaries are never shared."""

    def part(self, chosen: NDArray[np.intp]) -> Self:
        """The `chosen` branches by themselves."""

    def adopt(self, parts: list[Self]) -> None:
        """Become the union of `parts`, in their order."""


State = TypeVar("State", bound=Splits)


@dataclass(slots=True)
class Frame:
    """Where an operation stands: names of bits and loop parameters of the blocks around it."""

    clbits: dict[Bit, int]
    """Columns, for conditions."""
    loop: Mapping[Parameter, float]


class Interpreter(Generic[State]):
    """Runs operations on the branches of a state."""

    def __init__(
        self,
        channels: Channels,
        columns: Mapping[int, int],
        clbits: Mapping[Bit, int],
        rng: np.random.Generator,
    ) -> None:
        """`columns`: column of each classical bit's index; `clbits`: likewise by the bit itself."""
        self.channels = channels
        self.columns = columns
        self.rng = rng
        self.outermost = Frame(dict(clbits), {})
        self._blocks: dict[tuple[int, int], list[Op]] = {}  # by id of the operation, and number

    def measure(self, state: State, op: Op, *, gone: Wires) -> None:
        """Record a qubit; `gone` are qubits that nothing needs afterwards."""
        raise NotImplementedError

    def operate(self, state: State, op: Op, loop: Mapping[Parameter, float]) -> None:
        """A gate, a reset or a delay."""
        raise NotImplementedError

    def settle(self, state: State, qubits: Wires) -> None:
        """Make the state of `qubits` ready to be parted."""
        raise NotImplementedError

    def apply(self, state: State, op: Op, frame: Frame, *, gone: Wires = ()) -> None:
        """Any operation."""
        if op.name.startswith("measure"):
            self.measure(state, op, gone=gone)
        elif op.name == "store":
            for scope in self._scopes(state, frame):
                scope.write(op.operation.lvalue, evaluate(op.operation.rvalue, scope))
        elif op.name in CLASSICAL:
            self.settle(state, op.qubits)
            self._control(state, op, frame)
        else:
            self.operate(state, op, frame.loop)

    def _control(self, state: State, op: Op, frame: Frame) -> None:
        match op.name:
            case "if_else":
                taken = self._where(state, op.operation.condition, frame)
                self._fork(state, op, frame, np.where(taken, 0, 1))
            case "switch_case":
                self._fork(state, op, frame, self._cases(state, op, frame))
            case "for_loop":
                self._for(state, op, frame)
            case "while_loop":
                self._while(state, op, frame)
            case "box":
                self._block(state, op, 0, frame)

    def _for(self, state: State, op: Op, frame: Frame) -> None:
        indices, turn, _ = op.operation.params
        for index in indices:
            inner = frame
            if isinstance(turn, expr.Var):
                for variables in state.variables:
                    variables[turn] = index
            elif turn is not None:
                inner = Frame(frame.clbits, {**frame.loop, turn: float(index)})
            self._block(state, op, 0, inner)

    def _while(self, state: State, op: Op, frame: Frame) -> None:
        done = []
        for _ in range(LOOP_TURNS):
            goes_on = self._where(state, op.operation.condition, frame)
            if not goes_on.all():
                done.append(state.part(np.nonzero(~goes_on)[0]))
            if not goes_on.any():
                state.adopt(done)
                return
            if not goes_on.all():
                state.adopt([state.part(np.nonzero(goes_on)[0])])
            self._block(state, op, 0, frame)
        raise InvalidInput(f"a while loop did not end after {LOOP_TURNS} rounds")

    def _fork(self, state: State, op: Op, frame: Frame, choices: NDArray[np.intp]) -> None:
        """Run each branch through the block that it chose; -1 and absent blocks do nothing."""
        parts = []
        for choice in np.unique(choices):
            part = state.part(np.nonzero(choices == choice)[0])
            if 0 <= choice < len(op.operation.blocks):
                self._block(part, op, int(choice), frame)
            parts.append(part)
        state.adopt(parts)

    def _block(self, state: State, op: Op, number: int, frame: Frame) -> None:
        block = op.operation.blocks[number]
        clbits = dict(zip(block.clbits, op.clbits, strict=True))
        columns = {inner: self.columns[outer] for inner, outer in clbits.items()}
        inside = Frame({**frame.clbits, **columns}, frame.loop)
        key = (id(op), number)
        if key not in self._blocks:
            qubits = dict(zip(block.qubits, op.qubits, strict=True))
            self._blocks[key] = list(read(block, qubits, clbits))
        for inner in self._blocks[key]:
            self.apply(state, inner, inside)
        self.settle(state, ())

    def _cases(self, state: State, op: Op, frame: Frame) -> NDArray[np.intp]:
        target, cases = op.operation.target, list(op.operation.cases_specifier())
        choices = np.full(len(state.rows), -1)
        for at, scope in enumerate(self._scopes(state, frame)):
            found = evaluate(target, scope) if isinstance(target, expr.Expr) else scope.read(target)
            choices[at] = _case(found, [labels for labels, _ in cases])
        return choices

    def _where(self, state: State, condition: Any, frame: Frame) -> NDArray[np.bool_]:
        scopes = self._scopes(state, frame)
        return np.array([holds(condition, scope) for scope in scopes], dtype=bool)

    def _scopes(self, state: State, frame: Frame) -> Iterator[Scope]:
        for bits, variables in zip(state.bits, state.variables, strict=True):
            yield Scope(frame.clbits, bits, variables, self.channels.dt)


def _case(found: Any, cases: Sequence[Sequence[Any]]) -> int:
    """The number of the first case with a label that is `found`, or the default; -1: none."""
    for number, labels in enumerate(cases):
        if any(label is CASE_DEFAULT or label == found for label in labels):
            return number
    return -1
