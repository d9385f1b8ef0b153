"""Runs one part of a circuit exactly: device noise as it is, only measured bits are random."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Bit, Parameter

from queuebit.devices.channels import Channels
from queuebit.devices.control import Interpreter
from queuebit.devices.ordering import Step
from queuebit.devices.reading import Op
from queuebit.devices.state import Branches
from queuebit.devices.target import Wires


class Exact(Interpreter[Branches]):
    """The interpreter of one part."""

    def __init__(
        self,
        steps: list[Step],
        channels: Channels,
        columns: Mapping[int, int],
        clbits: Mapping[Bit, int],
        rng: np.random.Generator,
    ) -> None:
        super().__init__(channels, columns, clbits, rng)
        self._steps = steps

    def run(self, rows: NDArray[np.intp], shots: int) -> NDArray[np.bool_]:
        """Bits of every shot at each of the sets of values `rows`: (rows, shots, columns).

        `rows` rise.
        """
        state = Branches.start(rows, np.full(len(rows), shots), len(self.columns))
        final = []
        for step in self._steps:
            op = step.op
            if step.deferred:
                errors = self.channels.noise.readout(op.qubits[0], op.name)
                final.append((op.qubits[0], self.columns[op.clbits[0]], errors))
                continue
            self.apply(state, op, self.outermost, gone=step.gone)
            for qubit in step.gone:
                state.drop(qubit)
        bits = state.read_out(final, self.rng)
        if not np.array_equal(state.rows, rows):
            # Branches come in any order, and shots of one branch stand together: bring them back
            # to their sets of values, mixed within each.
            owner = np.repeat(state.rows, state.shots)
            bits = bits[np.lexsort((self.rng.random(len(owner)), owner))]
        return bits.reshape(len(rows), shots, -1)

    def measure(self, state: Branches, op: Op, *, gone: Wires) -> None:
        """Split each branch by what is read."""
        (qubit,), (bit,) = op.qubits, op.clbits
        errors = self.channels.noise.readout(qubit, op.name)
        state.measure(qubit, self.columns[bit], errors, self.rng, last=qubit in gone)

    def operate(self, state: Branches, op: Op, loop: Mapping[Parameter, float]) -> None:
        """Apply the operation's noisy channel."""
        channel = self.channels.of(op, loop)
        if channel.ndim == 3:  # noqa: PLR2004 - one for each set of values
            channel = channel[state.rows]
        if len(op.qubits) == 1:
            state.turn(channel, op.qubits[0])
        else:
            state.apply(channel, op.qubits)

    def settle(self, state: Branches, qubits: Wires) -> None:
        """Branches that part must agree on which qubits are in the tensor."""
        state.flush()
        state.join(qubits)
