"""Exact noisy states of a few qubits, for many branches at once.

A branch is one set of parameter values with one history of measured bits, standing for all shots
that share it. A measurement splits a branch by drawing how many of its shots read 1; so the state
is exact, and only what was measured is random. The tensor holds Pauli expectation values: axis 0
is the branch, each further axis one qubit with its four Paulis, <I...I> = 1.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from queuebit.devices import ptm
from queuebit.devices.ptm import Array

# OpenBLAS stays on one thread up to m * n * k = 2**18. The service runs a process per core, and
# threads of several processes that spin for the same cores were measured 10 times slower.
_COLUMNS = 1024


@dataclass(slots=True)
class Branches:
    """A batch of branches of one part of a circuit."""

    rows: NDArray[np.intp]
    """Which set of parameter values each belongs to."""
    shots: NDArray[np.int64]
    """How many shots share each."""
    bits: NDArray[np.bool_]
    """Classical bits so far, shape (branches, bits)."""
    variables: list[dict[Any, Any]]
    """Real-time variables of each; dictionaries are never shared."""
    tensor: Array
    live: list[int] = field(default_factory=list)
    """Qubits of the tensor's axes 1, 2, ..."""
    loose: dict[int, Array] = field(default_factory=dict)
    """Qubits that are in a product state with all others: Bloch vectors, shape (branches, 4)."""
    pending: dict[int, Array] = field(default_factory=dict)
    """One-qubit channels on live qubits that were not applied yet: (4, 4) or (branches, 4, 4)."""

    @classmethod
    def start(cls, rows: NDArray[np.intp], shots: NDArray[np.int64], num_bits: int) -> "Branches":
        """Every qubit in |0>, no bit set."""
        count = len(rows)
        return cls(
            rows,
            shots,
            np.zeros((count, num_bits), dtype=bool),
            [{} for _ in range(count)],
            np.ones(count),
        )

    def turn(self, channel: Array, qubit: int) -> None:
        """Apply a one-qubit channel: at once to a loose qubit, later to a live one."""
        if qubit in self.live:
            waiting = self.pending.get(qubit)
            self.pending[qubit] = channel if waiting is None else channel @ waiting
            return
        vector = self.loose.get(qubit)
        if vector is None:
            vector = np.broadcast_to(ptm.GROUND, (len(self.rows), 4))
        self.loose[qubit] = (channel @ vector[..., None])[..., 0]

    def apply(self, channel: Array, qubits: tuple[int, ...]) -> None:
        """Apply a channel on several qubits, after what is pending on them."""
        self.join(qubits)
        before = None
        for qubit in qubits:
            waiting = self.pending.pop(qubit, None)
            one = np.eye(4) if waiting is None else waiting
            before = one if before is None else _kron(one, before)
        assert before is not None
        self._transform(channel @ before, qubits)

    def join(self, qubits: tuple[int, ...]) -> None:
        """Make `qubits` axes of the tensor."""
        for qubit in qubits:
            if qubit not in self.live:
                vector = self.loose.pop(qubit, None)
                if vector is None:
                    vector = np.broadcast_to(ptm.GROUND, (len(self.rows), 4))
                shape = (len(self.rows),) + (1,) * len(self.live) + (4,)
                self.tensor = self.tensor[..., None] * vector.reshape(shape)
                self.live.append(qubit)

    def flush(self) -> None:
        """Apply all that is pending."""
        while self.pending:
            qubit, channel = self.pending.popitem()
            self._transform(channel, (qubit,))

    def drop(self, qubit: int) -> None:
        """Trace out a qubit that nothing needs any more."""
        self.loose.pop(qubit, None)
        self.pending.pop(qubit, None)  # keeps the trace: collapses never wait
        if qubit in self.live:
            axis = self.live.index(qubit)
            self.tensor = np.take(self.tensor, 0, axis=axis + 1)
            del self.live[axis]

    def measure(
        self,
        qubit: int,
        bit: int,
        errors: tuple[float, float],
        rng: np.random.Generator,
        *,
        last: bool = False,
    ) -> None:
        """Record the qubit in column `bit`, splitting branches; drop it after its `last` use."""
        ones = np.clip(self._bloch(qubit) @ ptm.readings(*errors)[1], 0.0, 1.0)
        drawn = rng.binomial(self.shots, ones)
        read_0, read_1 = np.nonzero(drawn < self.shots)[0], np.nonzero(drawn)[0]
        chosen = np.concatenate([read_0, read_1])
        recorded = np.repeat([0, 1], [len(read_0), len(read_1)])
        shots = np.where(recorded, drawn[chosen], (self.shots - drawn)[chosen])
        chance = np.where(recorded, ones[chosen], 1.0 - ones[chosen])
        self.keep(chosen)
        self.shots = shots
        self.bits[:, bit] = recorded
        collapse = ptm.collapses(*errors)[recorded] / chance[:, None, None]
        if last and qubit in self.live:
            waiting = self.pending.pop(qubit, None)
            weights = collapse if waiting is None else collapse @ waiting
            axis = self.live.index(qubit)
            self.tensor = np.take(_along(weights[:, :1], self.tensor, axis + 1), 0, axis=axis + 1)
            del self.live[axis]
        elif last:
            self.loose.pop(qubit, None)
        else:
            self.turn(collapse, qubit)
            self.flush()  # a collapse changes what other qubits will read

    def keep(self, chosen: NDArray[np.intp]) -> None:
        """Only the `chosen` branches, in that order; one may be chosen more than once."""
        if len(chosen) == len(self.rows) and np.array_equal(chosen, np.arange(len(chosen))):
            return
        self.rows, self.shots, self.bits = self.rows[chosen], self.shots[chosen], self.bits[chosen]
        self.variables = [dict(self.variables[i]) for i in chosen]
        self.tensor = self.tensor[chosen]
        self.loose = {q: vector[chosen] for q, vector in self.loose.items()}
        self.pending = {q: c if c.ndim == 2 else c[chosen] for q, c in self.pending.items()}  # noqa: PLR2004 - shared by all branches

    def part(self, chosen: NDArray[np.intp]) -> "Branches":
        """The `chosen` branches by themselves; the rest stays as it is."""
        taken = Branches(
            self.rows,
            self.shots,
            self.bits,
            self.variables,
            self.tensor,
            list(self.live),
            dict(self.loose),
            dict(self.pending),
        )
        taken.keep(chosen)
        return taken

    def adopt(self, parts: list["Branches"]) -> None:
        """Become the union of `parts`, which have the same live and loose qubits."""
        for part in parts:
            part.flush()
        self.rows = np.concatenate([part.rows for part in parts])
        self.shots = np.concatenate([part.shots for part in parts])
        self.bits = np.concatenate([part.bits for part in parts])
        self.variables = [own for part in parts for own in part.variables]
        self.tensor = np.concatenate([part.tensor for part in parts])
        self.live = list(parts[0].live)
        self.loose = {q: np.concatenate([part.loose[q] for part in parts]) for q in parts[0].loose}
        self.pending = {}

    def read_out(
        self, final: list[tuple[int, int, tuple[float, float]]], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Measure (qubit, bit, errors) all at once, as the last thing: one row of bits per shot.

        Shots of one branch are neighbours, in random order among themselves.
        """
        bits = np.repeat(self.bits, self.shots, axis=0)
        if not final:
            return bits
        self.join(tuple(qubit for qubit, _, _ in final))
        outcome = self.tensor
        for qubit in reversed(self.live):  # the last axis first, so that the others stay
            axis = self.live.index(qubit) + 1
            errors = next((e for q, _, e in final if q == qubit), None)
            if errors is None:
                outcome = np.take(outcome, 0, axis=axis)
                continue
            weights = ptm.readings(*errors)
            waiting = self.pending.get(qubit)
            if waiting is not None:
                weights = weights @ waiting
            outcome = _along(weights, outcome, axis)
        measured = [q for q in self.live if any(q == other for other, _, _ in final)]
        drawn = _draw(outcome.reshape(len(self.rows), -1), self.shots, rng)
        columns = {qubit: bit for qubit, bit, _ in final}
        for place, qubit in enumerate(reversed(measured)):
            bits[:, columns[qubit]] = drawn >> place & 1
        return bits

    def _bloch(self, qubit: int) -> Array:
        """The qubit's own state, shape (branches, 4)."""
        if qubit not in self.live:
            vector = self.loose.get(qubit)
            return np.broadcast_to(ptm.GROUND, (len(self.rows), 4)) if vector is None else vector
        axis = self.live.index(qubit)
        index = tuple(slice(None) if i == axis else 0 for i in range(len(self.live)))
        own: Array = self.tensor[(slice(None), *index)]
        waiting = self.pending.get(qubit)
        return own if waiting is None else (waiting @ own[..., None])[..., 0]

    def _transform(self, channel: Array, qubits: tuple[int, ...]) -> None:
        axes = tuple([self.live.index(qubit) + 1 for qubit in reversed(qubits)])
        shared = channel.ndim == 2  # noqa: PLR2004 - not one per branch
        there, back = _to_front(self.tensor.ndim, axes, 0 if shared else 1)
        moved = self.tensor.transpose(there)
        side = channel.shape[-1]
        flat = moved.reshape((side, -1) if shared else (len(self.rows), side, -1))
        self.tensor = _matmul(channel, flat).reshape(moved.shape).transpose(back)


@lru_cache(maxsize=4096)
def _to_front(
    ndim: int, axes: tuple[int, ...], start: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Order of axes that puts `axes` at `start`, and the one that undoes it."""
    rest = [axis for axis in range(ndim) if axis not in axes]
    there = [*rest[:start], *axes, *rest[start:]]
    return tuple(there), tuple(sorted(range(ndim), key=there.__getitem__))


def _matmul(channel: Array, flat: Array) -> Array:
    width = flat.shape[-1]
    if width <= _COLUMNS:
        made: Array = channel @ flat
        return made
    made = np.empty((*flat.shape[:-2], channel.shape[-2], width))
    for at in range(0, width, _COLUMNS):
        np.matmul(channel, flat[..., at : at + _COLUMNS], out=made[..., at : at + _COLUMNS])
    return made


def _kron(high: Array, low: Array) -> Array:
    """Kronecker product of the last two axes; either may be stacked."""
    side = high.shape[-1] * low.shape[-1]
    product = high[..., :, None, :, None] * low[..., None, :, None, :]
    made: Array = product.reshape(*product.shape[:-4], side, side)
    return made


def _along(weights: Array, tensor: Array, axis: int) -> Array:
    """Contract `axis` with weights of shape (k, 4), or (branches, k, 4)."""
    moved = np.moveaxis(tensor, axis, 1)
    flat = moved.reshape(len(tensor), 4, -1)
    made = (weights @ flat).reshape(len(tensor), weights.shape[-2], *moved.shape[2:])
    return np.moveaxis(made, 1, axis)


def _draw(weights: Array, shots: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Outcome of every shot: an index below weights.shape[1], by the weights of its branch."""
    cumulated = np.cumsum(np.clip(weights, 0.0, None), axis=1)
    cumulated /= cumulated[:, -1:]
    cumulated += np.arange(len(weights))[:, None]  # one rising table for all branches
    branch = np.repeat(np.arange(len(weights)), shots)
    drawn = np.searchsorted(cumulated.ravel(), rng.random(len(branch)) + branch, "right")
    found: NDArray[np.intp] = np.minimum(drawn - branch * weights.shape[1], weights.shape[1] - 1)
    return found
