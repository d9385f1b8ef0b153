"""Runs one part of a circuit exactly: device noise as it is, only measured bits are random."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CASE_DEFAULT, Bit, Parameter
from qiskit.circuit.classical import expr

from queuebit.devices.channels import Channels
from queuebit.devices.classical import Scope, evaluate, holds
from queuebit.devices.ordering import Step
from queuebit.devices.reading import CLASSICAL, Op, read
from queuebit.devices.state import Branches
from queuebit.errors import InvalidInput

LOOP_TURNS = 100_000
"""Rounds of one `while` loop before it counts as endless."""


@dataclass(slots=True)
class _Frame:
    """Where an operation stands: names of bits and loop parameters of the blocks around it."""

    clbits: dict[Bit, int]
    """Columns, for conditions."""
    loop: Mapping[Parameter, float]


class Exact:
    """The interpreter of one part."""

    def __init__(
        self,
        steps: list[Step],
        channels: Channels,
        columns: dict[int, int],
        clbits: dict[Bit, int],
    ) -> None:
        """`columns`: column of each classical bit's index; `clbits`: likewise by the bit itself."""
        self._steps = steps
        self._channels = channels
        self._columns = columns
        self._clbits = clbits
        self._blocks: dict[tuple[int, int], list[Op]] = {}  # by id of the operation, and number

    def run(
        self, rows: NDArray[np.intp], shots: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Bits of every shot at each of the sets of values `rows`: (rows, shots, columns).

        `rows` rise.
        """
        state = Branches.start(rows, np.full(len(rows), shots), len(self._columns))
        frame = _Frame(self._clbits, {})
        final = []
        for step in self._steps:
            op = step.op
            if step.deferred:
                errors = self._channels.noise.readout(op.qubits[0], op.name)
                final.append((op.qubits[0], self._columns[op.clbits[0]], errors))
                continue
            self._apply(state, op, frame, rng, gone=step.gone)
            for qubit in step.gone:
                state.drop(qubit)
        bits = state.read_out(final, rng)
        if not np.array_equal(state.rows, rows):
            # Branches come in any order, and shots of one branch stand together: bring them back
            # to their sets of values, mixed within each.
            owner = np.repeat(state.rows, state.shots)
            bits = bits[np.lexsort((rng.random(len(owner)), owner))]
        return bits.reshape(len(rows), shots, -1)

    def _apply(
        self,
        state: Branches,
        op: Op,
        frame: _Frame,
        rng: np.random.Generator,
        *,
        gone: tuple[int, ...] = (),
    ) -> None:
        if op.name.startswith("measure"):
            (qubit,), (bit,) = op.qubits, op.clbits
            errors = self._channels.noise.readout(qubit, op.name)
            state.measure(qubit, self._columns[bit], errors, rng, last=qubit in gone)
        elif op.name == "store":
            self._store(state, op, frame)
        elif op.name in CLASSICAL:
            state.flush()
            state.join(op.qubits)
            self._control(state, op, frame, rng)
        else:
            channel = self._channels.of(op, frame.loop)
            if channel.ndim == 3:  # noqa: PLR2004 - one for each set of values
                channel = channel[state.rows]
            if len(op.qubits) == 1:
                state.turn(channel, op.qubits[0])
            else:
                state.apply(channel, op.qubits)

    def _control(self, state: Branches, op: Op, frame: _Frame, rng: np.random.Generator) -> None:
        match op.name:
            case "if_else":
                taken = self._where(state, op.operation.condition, frame)
                self._fork(state, op, frame, rng, np.where(taken, 0, 1))
            case "switch_case":
                self._fork(state, op, frame, rng, self._cases(state, op, frame))
            case "for_loop":
                indices, parameter, _ = op.operation.params
                if isinstance(indices, expr.Expr):
                    raise InvalidInput("a for loop over a run-time range is not supported")
                for index in indices:
                    bound = {} if parameter is None else {parameter: float(index)}
                    inner = _Frame(frame.clbits, {**frame.loop, **bound})
                    self._block(state, op, 0, inner, rng)
            case "while_loop":
                self._while(state, op, frame, rng)
            case "box":
                self._block(state, op, 0, frame, rng)

    def _while(self, state: Branches, op: Op, frame: _Frame, rng: np.random.Generator) -> None:
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
            self._block(state, op, 0, frame, rng)
        raise InvalidInput(f"a while loop did not end after {LOOP_TURNS} rounds")

    def _fork(
        self,
        state: Branches,
        op: Op,
        frame: _Frame,
        rng: np.random.Generator,
        choices: NDArray[np.intp],
    ) -> None:
        """Run each branch through the block that it chose; -1 and absent blocks do nothing."""
        parts = []
        for choice in np.unique(choices):
            part = state.part(np.nonzero(choices == choice)[0])
            if 0 <= choice < len(op.operation.blocks):
                self._block(part, op, int(choice), frame, rng)
            parts.append(part)
        state.adopt(parts)

    def _block(
        self, state: Branches, op: Op, number: int, frame: _Frame, rng: np.random.Generator
    ) -> None:
        block = op.operation.blocks[number]
        columns = {
            inner: self._columns[outer]
            for inner, outer in zip(block.clbits, op.clbits, strict=True)
        }
        inside = _Frame({**frame.clbits, **columns}, frame.loop)
        key = (id(op), number)
        if key not in self._blocks:
            qubits = dict(zip(block.qubits, op.qubits, strict=True))
            clbits = dict(zip(block.clbits, op.clbits, strict=True))
            self._blocks[key] = list(read(block, qubits, clbits))
        for inner in self._blocks[key]:
            self._apply(state, inner, inside, rng)
        state.flush()

    def _cases(self, state: Branches, op: Op, frame: _Frame) -> NDArray[np.intp]:
        target, cases = op.operation.target, list(op.operation.cases_specifier())
        choices = np.full(len(state.rows), -1)
        for at, scope in enumerate(_scopes(state, frame)):
            found = evaluate(target, scope) if isinstance(target, expr.Expr) else scope.read(target)
            for number, (labels, _) in enumerate(cases):
                if any(label is CASE_DEFAULT or label == found for label in labels):
                    choices[at] = number
                    break
        return choices

    def _where(self, state: Branches, condition: Any, frame: _Frame) -> NDArray[np.bool_]:
        return np.array([holds(condition, scope) for scope in _scopes(state, frame)], dtype=bool)

    def _store(self, state: Branches, op: Op, frame: _Frame) -> None:
        for scope in _scopes(state, frame):
            scope.write(op.operation.lvalue, evaluate(op.operation.rvalue, scope))


def _scopes(state: Branches, frame: _Frame) -> Iterator[Scope]:
    for bits, variables in zip(state.bits, state.variables, strict=True):
        yield Scope(frame.clbits, bits, variables)
