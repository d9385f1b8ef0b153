"""Parts too big for exact noise that decide: every shot goes its own way.

Noise is twirled to Pauli errors as in other trajectories; delays and readout stay as they are.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Bit, Parameter

from queuebit.devices.channels import Channels
from queuebit.devices.control import Interpreter
from queuebit.devices.planning import slices
from queuebit.devices.ptm import Array
from queuebit.devices.reading import Op, Part
from queuebit.devices.shots import Matrix, Shots
from queuebit.devices.target import Wires


class Dynamic(Interpreter[Shots]):
    """The interpreter of one part."""

    def __init__(  # noqa: PLR0913, PLR0917 - one caller, which has them in this order
        self,
        part: Part,
        order: Sequence[int],
        method: str,
        channels: Channels,
        columns: Mapping[int, int],
        clbits: Mapping[Bit, int],
        rng: np.random.Generator,
    ) -> None:
        """`order`: of the part's qubits in a state; `method`: Aer's name of it."""
        super().__init__(channels, columns, clbits, rng)
        self._part = part
        self._order = order
        self._method = method

    def run(self, rows: NDArray[np.intp], shots: int, shots_at_once: int) -> NDArray[np.bool_]:
        """Bits of every shot at each of the sets of values `rows`: (rows, shots, columns)."""
        every = np.repeat(rows, shots)
        bits = np.empty((len(every), len(self.columns)), dtype=bool)
        for start, stop in slices(len(every), shots_at_once):
            state = Shots.start(
                every[start:stop], len(self.columns), self._order, self._method, self.rng
            )
            for op in self._part.ops:
                self.apply(state, op, self.outermost)
            bits[start + state.numbers] = state.bits
        return bits.reshape(len(rows), shots, -1)

    def measure(self, state: Shots, op: Op, *, gone: Wires) -> None:
        """Collapse each shot, and record it with the readout's errors."""
        del gone
        (qubit,), (bit,) = op.qubits, op.clbits
        true = state.measure(qubit)[:, None]
        read = self.channels.noise.misread(true, [(qubit, op.name)], self.rng)
        state.bits[:, self.columns[bit]] = read[:, 0]

    def operate(self, state: Shots, op: Op, loop: Mapping[Parameter, float]) -> None:
        """Apply an ideal gate and one of its errors."""
        if op.name.startswith("reset"):
            state.reset(op.qubits[0])
        elif op.name == "delay":
            self._relax(state, op, loop)
        else:
            matrices = self.channels.unitary(op, loop)
            if matrices.ndim == 3:  # noqa: PLR2004 - one for each set of values
                matrices = matrices[state.rows]
            if len(op.qubits) == 1:
                state.turn(matrices, op.qubits[0])
            else:
                state.apply(matrices, op.qubits)
            chances = self.channels.noise.twirl(op.name, op.qubits)
            if chances is not None:
                state.err(chances, op.qubits, self.rng)

    def settle(self, state: Shots, qubits: Wires) -> None:
        """Nothing: shots are apart from the start."""

    def _relax(self, state: Shots, op: Op, loop: Mapping[Parameter, float]) -> None:
        channel = self.channels.of(op, loop)
        if channel.ndim == 2:  # noqa: PLR2004 - one for all sets of values
            kraus = _kraus(channel)
            state.leak([kraus] * len(state.rows), op.qubits[0])
        else:
            each = {row: _kraus(channel[row]) for row in set(state.rows.tolist())}
            state.leak([each[row] for row in state.rows.tolist()], op.qubits[0])


def _kraus(channel: Array) -> list[Matrix]:
    """Kraus operators of a relaxation: of waiting, of a phase flip, of decay."""
    coherent, kept = channel[1, 1], channel[3, 3]
    flipped = np.sqrt(max(kept - coherent**2, 0.0))
    decayed = np.sqrt(1.0 - kept)
    return [
        np.diag([1.0, coherent]).astype(complex),
        np.diag([0.0, flipped]).astype(complex),
        np.array([[0.0, decayed], [0.0, 0.0]], dtype=complex),
    ]
