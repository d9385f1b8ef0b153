"""What a circuit does, the slow and obvious way: one density matrix per classical history.

A branch is a classical memory (bits and real-time variables) with the unnormalised density matrix
of all qubits, whose trace is the branch's probability. Branches whose memories have become equal
are added up. It shares nothing with queuebit.devices.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CASE_DEFAULT, Bit, Clbit, Parameter, ParameterExpression, Qubit
from qiskit.circuit.classical import expr
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import SparsePauliOp
from tests.reference.expressions import UNITS, Memory, Value
from tests.reference.noise import PAULIS, Matrix, Noise

Bits = tuple[bool, ...]
Key = tuple[Bits, frozenset[tuple[expr.Var, Value]]]
State = dict[Key, Matrix]
NEGLIGIBLE = 1e-12
"""A `while` loop ends for us when what is left in it is less likely than this."""


@dataclass(frozen=True)
class _Scope:
    """What the names in a block mean."""

    qubits: Mapping[Qubit, int]
    """Of the device."""
    clbits: Mapping[Clbit, int]
    """Of the outermost circuit."""
    loops: Mapping[Parameter, float]

    def inside(self, block: QuantumCircuit, qubits: Sequence[Bit], clbits: Sequence[Bit]) -> Any:
        """The scope of a block that stands on these bits of this one."""
        return _Scope(
            {one: self.qubits[at] for one, at in zip(block.qubits, qubits, strict=True)},
            {
                **self.clbits,
                **{x: self.clbits[at] for x, at in zip(block.clbits, clbits, strict=True)},
            },
            self.loops,
        )


class Interpreter:
    """Runs circuits with the noise of one device."""

    def __init__(self, noise: Noise, dt: float | None) -> None:
        """`dt` in seconds."""
        self._noise = noise
        self._dt = dt
        self._axes: dict[int, int] = {}
        self._channels: dict[Any, Matrix] = {}

    def probabilities(
        self, circuit: QuantumCircuit, values: Sequence[float] = ()
    ) -> dict[Bits, float]:
        """Chances of all outcomes; bits in circuit.clbits order. `values` as circuit.parameters."""
        found: dict[Bits, float] = {}
        for (bits, _), rho in self._final(circuit, values).items():
            found[bits] = found.get(bits, 0.0) + _trace(rho)
        total = sum(found.values())
        assert abs(total - 1) < 1e-6, total
        return {bits: chance / total for bits, chance in found.items()}

    def expectation(
        self, circuit: QuantumCircuit, observable: SparsePauliOp, values: Sequence[float] = ()
    ) -> float:
        """<O> at the circuit's end, as its readout sees it.

        A Pauli that is not I on a qubit is what measuring it in that basis tells: with p and q the
        chances to misread 0 and 1, the mean of (-1)**bit is (1 - p - q) <P> + q - p.
        """
        letters = {
            q for label, _ in observable.to_list() for q, x in enumerate(label[::-1]) if x != "I"
        }
        rho: Matrix = sum(self._final(circuit, values, letters).values())  # type: ignore[assignment]
        total = 0.0
        for label, weight in observable.to_list():
            turned = rho
            for qubit, letter in enumerate(reversed(label)):
                if letter != "I":
                    p, q = self._noise.readout(qubit, "measure")
                    seen = (1 - p - q) * PAULIS[letter] + (q - p) * np.eye(2)
                    turned = _apply(np.kron(seen, np.eye(2)), turned, [self._axes[qubit]])
            total += complex(weight).real * _trace(turned)
        return total

    def _final(
        self, circuit: QuantumCircuit, values: Sequence[float], others: Iterable[int] = ()
    ) -> State:
        bound = circuit.assign_parameters(dict(zip(circuit.parameters, values, strict=True)))
        places = {qubit: at for at, qubit in enumerate(bound.qubits)}
        used = {
            places[qubit] for one in bound.data for qubit in one.qubits if one.name != "barrier"
        }
        self._axes = {qubit: axis for axis, qubit in enumerate(sorted(used.union(others)))}
        rho = np.zeros((2,) * 2 * len(self._axes), dtype=complex)
        rho.flat[0] = 1
        start: State = {((False,) * bound.num_clbits, frozenset()): rho}
        scope = _Scope(places, {bit: at for at, bit in enumerate(bound.clbits)}, {})
        return self._run(bound, scope, start)

    def _run(self, block: QuantumCircuit, scope: _Scope, state: State) -> State:
        for one in block.data:
            state = self._step(one, scope, state)
        for variable in block.iter_declared_vars():
            state = _with(state, variable, None)
        return state

    def _step(self, one: Any, scope: _Scope, state: State) -> State:  # noqa: PLR0911 - one per kind
        name = one.name
        qubits = tuple(scope.qubits[qubit] for qubit in one.qubits)
        if name == "barrier":
            return state
        if name.startswith("measure"):
            return self._measure(name, qubits[0], scope.clbits[one.clbits[0]], state)
        if name == "store":
            return self._store(one.operation, scope, state)
        if name == "if_else":
            return self._if(one, scope, state)
        if name == "switch_case":
            return self._switch(one, scope, state)
        if name == "for_loop":
            return self._for(one, scope, state)
        if name == "while_loop":
            return self._while(one, scope, state)
        if name == "box":
            return self._inner(one, 0, scope, state)
        if name.startswith("reset"):
            channel = np.zeros((4, 4), dtype=complex)
            channel[0, 0] = channel[0, 3] = 1
        elif name == "delay":
            channel = self._noise.delay(qubits[0], self._seconds(one.operation, scope))
        else:
            channel = self._gate(one.operation, qubits, scope)
        axes = [self._axes[qubit] for qubit in qubits]
        return {key: _apply(channel, rho, axes) for key, rho in state.items()}

    def _gate(self, gate: Any, qubits: tuple[int, ...], scope: _Scope) -> Matrix:
        """Superoperator of a gate and its noise."""
        angles = tuple(_number(one, scope) for one in gate.params)
        key = (gate.name, qubits, angles)
        if key not in self._channels:
            unitary = get_standard_gate_name_mapping()[gate.name].base_class(*angles).to_matrix()
            whole = np.kron(unitary, unitary.conj())
            chance, relaxations = self._noise.gate(gate.name, qubits)
            side = 2 ** len(qubits)
            mixed = np.outer(np.eye(side).ravel(), np.eye(side).ravel()) / side
            whole = (1 - chance) * whole + chance * mixed @ whole
            flat = whole.reshape((2,) * 2 * len(qubits) + (-1,))
            for at, relaxation in enumerate(relaxations):
                flat = _apply(relaxation, flat, [len(qubits) - 1 - at], len(qubits))
            self._channels[key] = flat.reshape(whole.shape)
        return self._channels[key]

    def _seconds(self, delay: Any, scope: _Scope) -> float:
        if delay.unit == "expr":
            return float(Memory((), {}, {}, self._dt).value(delay.params[0]))
        if delay.unit == "dt":
            assert self._dt is not None
            return _number(delay.params[0], scope) * self._dt
        return _number(delay.params[0], scope) * UNITS[delay.unit]

    def _measure(self, name: str, qubit: int, bit: int, state: State) -> State:
        p, q = self._noise.readout(qubit, name)
        chances = {(0, 0): 1 - p, (0, 1): p, (1, 0): q, (1, 1): 1 - q}  # of (true, recorded)
        made: State = {}
        for (bits, variables), rho in state.items():
            for (true, recorded), chance in chances.items():
                if chance:
                    channel = np.zeros((4, 4), dtype=complex)
                    channel[3 * true, 3 * true] = chance
                    seen = (*bits[:bit], bool(recorded), *bits[bit + 1 :])
                    _add(made, (seen, variables), _apply(channel, rho, [self._axes[qubit]]))
        return {key: rho for key, rho in made.items() if _trace(rho) > 0}

    def _memory(self, key: Key, scope: _Scope) -> Memory:
        return Memory(key[0], dict(key[1]), scope.clbits, self._dt)

    def _store(self, operation: Any, scope: _Scope, state: State) -> State:
        made: State = {}
        for key, rho in state.items():
            memory = self._memory(key, scope)
            memory.store(operation.lvalue, memory.value(operation.rvalue))
            _add(made, (tuple(memory.bits), frozenset(memory.variables.items())), rho)
        return made

    def _if(self, one: Any, scope: _Scope, state: State) -> State:
        blocks = one.operation.blocks

        def chosen(memory: Memory) -> int | None:
            if memory.holds(one.operation.condition):
                return 0
            return 1 if len(blocks) > 1 else None

        return self._forked(one, chosen, scope, state)

    def _switch(self, one: Any, scope: _Scope, state: State) -> State:
        target, cases = one.operation.target, list(one.operation.cases_specifier())

        def chosen(memory: Memory) -> int | None:
            is_expression = isinstance(target, expr.Expr)
            value = memory.value(target) if is_expression else memory.read(target)
            for number, (labels, _) in enumerate(cases):
                if any(label is CASE_DEFAULT or label == value for label in labels):
                    return number
            return None

        return self._forked(one, chosen, scope, state)

    def _forked(
        self, one: Any, chosen: Callable[[Memory], int | None], scope: _Scope, state: State
    ) -> State:
        """Every branch through the block that it chooses."""
        made: State = {}
        for key, rho in state.items():
            number = chosen(self._memory(key, scope))
            ended = {key: rho} if number is None else self._inner(one, number, scope, {key: rho})
            for end, left in ended.items():
                _add(made, end, left)
        return made

    def _for(self, one: Any, scope: _Scope, state: State) -> State:
        indices, name, _ = one.operation.params
        for index in indices:
            turn = scope
            if isinstance(name, Parameter):
                turn = _Scope(scope.qubits, scope.clbits, {**scope.loops, name: float(index)})
            elif name is not None:
                state = _with(state, name, index)
            state = self._inner(one, 0, turn, state)
        return state

    def _while(self, one: Any, scope: _Scope, state: State) -> State:
        ended: State = {}
        while state:
            going: State = {}
            for key, rho in state.items():
                on = self._memory(key, scope).holds(one.operation.condition)
                _add(going if on else ended, key, rho)
            if sum(map(_trace, going.values())) < NEGLIGIBLE:
                break
            state = self._inner(one, 0, scope, going)
        return ended

    def _inner(self, one: Any, number: int, scope: _Scope, state: State) -> State:
        block = one.operation.blocks[number]
        return self._run(block, scope.inside(block, one.qubits, one.clbits), state)


def _number(written: Any, scope: _Scope) -> float:
    if isinstance(written, ParameterExpression):
        written = written.bind({p: scope.loops[p] for p in written.parameters})
    return float(written)


def _with(state: State, variable: expr.Var, value: Value | None) -> State:
    """With a value of the variable, or without the variable."""
    made: State = {}
    for (bits, variables), rho in state.items():
        kept = {item for item in variables if item[0] != variable}
        own = set() if value is None else {(variable, value)}
        _add(made, (bits, frozenset(kept | own)), rho)
    return made


def _add(state: State, key: Key, rho: Matrix) -> None:
    state[key] = state[key] + rho if key in state else rho


def _trace(rho: Matrix) -> float:
    side = round(rho.size**0.5)
    return float(rho.reshape(side, side).trace().real)


def _apply(
    channel: Matrix, rho: Matrix, axes: Sequence[int], half: int | None = None
) -> NDArray[np.complex128]:
    """A superoperator on the qubits at `axes` of a density matrix with `half` axes for its rows.

    Qiskit's order: the first qubit is the lowest digit of a matrix's index.
    """
    half = rho.ndim // 2 if half is None else half
    turned = (*reversed(axes), *[half + axis for axis in reversed(axes)])
    there, back = _orders(rho.ndim, turned)
    moved = rho.transpose(there)
    return (channel @ moved.reshape(channel.shape[1], -1)).reshape(moved.shape).transpose(back)


@cache
def _orders(ndim: int, front: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    there = (*front, *(axis for axis in range(ndim) if axis not in front))
    return there, tuple(sorted(range(ndim), key=there.__getitem__))
