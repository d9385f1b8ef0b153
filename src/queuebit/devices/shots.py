"""Pure states of many shots, each with a history and with errors of its own, in Aer's state class.

What is done to single qubits is kept aside until a gate joins them to others or they are measured,
because Aer takes its time for each operation on a state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from queuebit.devices.planning import BOND_MAX, TRUNCATION
from queuebit.devices.ptm import SINGLE
from queuebit.devices.target import Wires

Matrix = NDArray[np.complex128]

_SEED_MAX = 2**31
_OPTIONS = {
    "device": "CPU",
    "precision": "double",
    "parallel_state_update": "1",  # thread: the service runs a process per core
    "matrix_product_state_max_bond_dimension": str(BOND_MAX),
    "matrix_product_state_truncation_threshold": str(TRUNCATION),
}


@dataclass(slots=True)
class Shots:
    """Shots of one part of a circuit: branches that are never shared."""

    numbers: NDArray[np.intp]
    """Which shot of all each is: they come in any order."""
    rows: NDArray[np.intp]
    """Which set of parameter values each belongs to."""
    bits: NDArray[np.bool_]
    """Classical bits so far, shape (shots, bits)."""
    variables: list[dict[Any, Any]]
    """Real-time variables of each."""
    states: list[Any]
    """Aer's."""
    places: dict[int, int]
    """Where each qubit is in a state."""
    pending: dict[int, Matrix] = field(default_factory=dict)
    """One-qubit matrices that were not applied yet, shape (shots, 2, 2)."""

    @classmethod
    def start(
        cls,
        rows: NDArray[np.intp],
        num_bits: int,
        qubits: Sequence[int],
        method: str,
        rng: np.random.Generator,
    ) -> Self:
        """Every qubit in |0>, no bit set; a shot for each of `rows`. `method` is Aer's name."""
        count = len(rows)
        seeds = rng.integers(_SEED_MAX, size=count).tolist()
        return cls(
            np.arange(count),
            rows,
            np.zeros((count, num_bits), dtype=bool),
            [{} for _ in range(count)],
            [_new(method, len(qubits), seed) for seed in seeds],
            {qubit: at for at, qubit in enumerate(qubits)},
        )

    def turn(self, matrices: Matrix, qubit: int) -> None:
        """Apply a one-qubit matrix, or one for each shot."""
        waiting = self.pending.get(qubit)
        if waiting is None:
            shape = (len(self.states), 2, 2)
            self.pending[qubit] = np.broadcast_to(matrices, shape)
        else:
            self.pending[qubit] = matrices @ waiting

    def apply(self, matrices: Matrix, qubits: Wires) -> None:
        """Apply a matrix on several qubits, or one for each shot, after what waits on them."""
        before: Matrix | None = None
        for qubit in qubits:
            one = self.pending.pop(qubit, _IDENTITY)
            before = one if before is None else _kron(one, before)
        assert before is not None
        self._transform(matrices @ before, qubits)

    def err(self, chances: NDArray[np.float64], qubits: Wires, rng: np.random.Generator) -> None:
        """Apply a Pauli to each shot, drawn by `chances`, shape (4**n,), in ptm's order."""
        limits = np.cumsum(chances)
        drawn = np.searchsorted(limits, rng.random(len(self.states)) * limits[-1], "right")
        for slot, qubit in enumerate(qubits):
            paulis = drawn >> 2 * slot & 3
            if paulis.any():
                self.turn(SINGLE[paulis], qubit)

    def measure(self, qubit: int) -> NDArray[np.bool_]:
        """Collapse a qubit; its true outcome in each shot."""
        self._flush(qubit)
        place = [self.places[qubit]]
        return np.array([state.apply_measure(place) for state in self.states], dtype=bool)

    def reset(self, qubit: int) -> None:
        """Put a qubit into |0>, whatever it was entangled with."""
        self._flush(qubit)
        for state in self.states:
            state.apply_reset([self.places[qubit]])

    def leak(self, operators: Iterable[Sequence[Matrix]], qubit: int) -> None:
        """Apply one of the Kraus operators that each shot has, by its chance."""
        self._flush(qubit)
        for state, kraus in zip(self.states, operators, strict=True):
            state.apply_kraus([self.places[qubit]], kraus)

    def part(self, chosen: NDArray[np.intp]) -> Self:
        """The `chosen` shots by themselves; none may be in two parts."""
        return type(self)(
            self.numbers[chosen],
            self.rows[chosen],
            self.bits[chosen],
            [self.variables[at] for at in chosen],
            [self.states[at] for at in chosen],
            self.places,
            {qubit: waiting[chosen] for qubit, waiting in self.pending.items()},
        )

    def adopt(self, parts: list[Self]) -> None:
        """Become the union of `parts`."""
        self.numbers = np.concatenate([part.numbers for part in parts])
        self.rows = np.concatenate([part.rows for part in parts])
        self.bits = np.concatenate([part.bits for part in parts])
        self.variables = [own for part in parts for own in part.variables]
        self.states = [state for part in parts for state in part.states]
        waiting = {qubit for part in parts for qubit in part.pending}
        self.pending = {
            qubit: np.concatenate(
                [
                    np.broadcast_to(part.pending.get(qubit, _IDENTITY), (len(part.states), 2, 2))
                    for part in parts
                ]
            )
            for qubit in sorted(waiting)
        }

    def _flush(self, qubit: int) -> None:
        waiting = self.pending.pop(qubit, None)
        if waiting is not None:
            self._transform(waiting, (qubit,))

    def _transform(self, matrices: Matrix, qubits: Wires) -> None:
        places = [self.places[qubit] for qubit in qubits]
        each = np.broadcast_to(matrices, (len(self.states), *matrices.shape[-2:]))
        for state, matrix in zip(self.states, each, strict=True):
            state.apply_unitary(places, matrix)


_IDENTITY: Matrix = np.eye(2, dtype=complex)


def _new(method: str, num_qubits: int, seed: int) -> Any:
    from qiskit_aer.backends.controller_wrappers import AerStateWrapper  # noqa: PLC0415 - slow

    state = AerStateWrapper()
    for name, value in {"method": method, **_OPTIONS}.items():
        state.configure(name, value)
    state.set_seed(seed)
    state.allocate_qubits(num_qubits)
    state.initialize()
    return state


def _kron(high: Matrix, low: Matrix) -> Matrix:
    """Kronecker product of the last two axes; either may be stacked."""
    side = high.shape[-1] * low.shape[-1]
    product = high[..., :, None, :, None] * low[..., None, :, None, :]
    made: Matrix = product.reshape(*product.shape[:-4], side, side)
    return made
