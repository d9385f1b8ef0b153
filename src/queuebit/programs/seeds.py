"""Random numbers of a job: all from the user's seed, and no two uses with the same ones."""

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What random numbers are for, beside the bits: for these the simulated QPU has the seed."""

    CIRCUITS = 0
    """Twirls, flips, samplexes, injected noise."""
    FOLDING = 1
    LEARNING = 2
    """Circuits of the first round, which learn noise."""
    POINTS = 3
    """Of kerneled measurements."""
    SHOT_NOISE = 4
    """Of values that are not sampled."""
    SECOND_ROUND = 5
    """The seed of the simulated QPU in it."""


def generator(seed: int | None, use: Use) -> np.random.Generator:
    """The random numbers of one use; without a seed, different ones every time.

    A seed of [seed, use] would not do: NumPy fills up with zeros, so that [seed, 0] is the seed
    itself. Twirls would then follow the numbers by which the QPU draws the bits.
    """
    if seed is None:
        return np.random.default_rng()
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(use,)))
