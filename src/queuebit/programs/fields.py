"""The fields of a sampler's result: what was measured into each classical register."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.containers import BitArray

from queuebit.programs import kernels

POINTS_AT_ONCE = 2**20  # kerneled, while they are averaged


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Measured bits of one PUB, put in order: rows of parameter values, then shots."""

    bits: NDArray[np.bool_]
    """As they ran: shape (randomizations x rows, shots of each, clbits)."""
    shape: tuple[int, ...]
    """Of the PUB; its product is the rows."""
    shots: int
    """That are kept of each row."""
    randomizations: int
    flips: NDArray[np.bool_] | None
    """Outcomes to be flipped back, shape (randomizations, rows, clbits)."""

    def of(self, where: Sequence[int]) -> NDArray[np.bool_]:
        """The bits at the positions `where`: shape (rows, shots, len(where))."""
        rows, each = prod(self.shape), self.bits.shape[1]
        bits = self.bits[..., where].reshape(self.randomizations, rows, each, len(where))
        if self.flips is not None:
            bits ^= self.flips[:, :, np.newaxis, where]
        # Randomizations follow each other as a row's shots.
        shots = self.randomizations * each
        return np.swapaxes(bits, 0, 1).reshape(rows, shots, len(where))[:, : self.shots]


def classified(outcomes: Outcomes, where: Sequence[int]) -> BitArray:
    """A register's bits, with the shape of the PUB."""
    bits = outcomes.of(where)
    return BitArray.from_bool_array(
        bits.reshape(*outcomes.shape, outcomes.shots, len(where)), order="little"
    )


def kerneled(
    outcomes: Outcomes,
    where: Sequence[int],
    widths: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    averaged: bool,
) -> NDArray[np.complex128]:
    """A register's points, shape (*pub, shots, size); averaged over the shots: (*pub, size).

    Client 0.51, SamplerExecutionOptionsV2.meas_type. `widths` are of all classical bits.
    """
    bits, spread = outcomes.of(where), widths[list(where)]
    if not averaged:
        points = kernels.iq(bits, spread, rng)
        return points.reshape(*outcomes.shape, outcomes.shots, len(where))
    sums = np.zeros((len(bits), len(where)), dtype=np.complex128)
    for row, first, end in _chunks(len(bits), outcomes.shots, len(where)):
        sums[row] += kernels.iq(bits[row, first:end], spread, rng).sum(axis=0)
    return (sums / outcomes.shots).reshape(*outcomes.shape, len(where))


def _chunks(rows: int, shots: int, size: int) -> Iterator[tuple[int, int, int]]:
    step = max(1, POINTS_AT_ONCE // max(1, size))
    for row in range(rows):
        for first in range(0, shots, step):
            yield row, first, min(first + step, shots)
