"""Whether measured bits are what the reference says: chi-square and its relatives.

Every test is of a sum over shots that are independent of each other, with known mean and
covariance; the smallest of their p-values counts, times their number. What the reference calls
impossible must not occur at all.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, chi2

Bits = tuple[bool, ...]
Chances = dict[Bits, float]
IMPOSSIBLE = 1e-13
ENOUGH = 8.0
"""Shots to be expected in a cell: rarer outcomes are taken together."""


@dataclass(frozen=True)
class Verdict:
    """How likely it is that chance alone deviates so much."""

    p_value: float
    by: str
    """Which test found it."""


def compare(chances: Sequence[Chances], bits: NDArray[np.bool_]) -> Verdict:
    """`chances` of each row of parameter values, `bits` of shape (rows, shots, bits).

    The tests, whose null hypothesis is that every shot of every row is drawn by itself:

    - outcomes of each row, if it has enough shots: Pearson's chi-square, summed over the rows; and
      once more for the first half of the shots, since no order may show;
    - outcomes of all rows together, each called by its rank among those of its own row. It needs no
      more than a shot per row, and sees a row that got the bits of another;
    - how often each row shows what is most likely in it, and each bit likewise;
    - ones of each bit, of all rows together;
    - how often neighbouring shots, and the same shot of neighbouring rows, are equal.
    """
    outcomes = [[tuple(shot) for shot in row] for row in bits.tolist()]
    for row, (known, seen) in enumerate(zip(chances, outcomes, strict=True)):
        for outcome in seen:
            if known.get(outcome, 0.0) < IMPOSSIBLE:
                return Verdict(0.0, f"row {row} shows {_text(outcome)}, which is impossible")
    half = bits.shape[1] // 2
    found = [
        Verdict(_within_rows(chances, outcomes), "outcomes of the rows"),
        Verdict(_by_rank(chances, outcomes), "outcomes of all rows, by their rank"),
        Verdict(_most_likely(chances, outcomes), "the most likely outcome of each row"),
        *_each_bit(chances, bits),
        Verdict(_neighbouring_shots(chances, outcomes), "equal neighbouring shots"),
        Verdict(_neighbouring_rows(chances, outcomes), "equal shots of neighbouring rows"),
    ]
    if half:
        first = [row[:half] for row in outcomes]
        found.append(Verdict(_within_rows(chances, first), "first half of the shots"))
        found.append(Verdict(_by_rank(chances, first), "first half of the shots, by their rank"))
    least = min(found, key=lambda one: one.p_value)
    return Verdict(min(1.0, least.p_value * len(found)), least.by)


def same(first: Sequence[NDArray[np.bool_]], second: Sequence[NDArray[np.bool_]]) -> Verdict:
    """Whether two runs have one distribution, pair by pair; samples of shape (shots, bits).

    The two of a pair have as many shots as each other.
    """
    total, degrees = 0.0, 0
    for one, other in zip(first, second, strict=True):
        assert one.shape == other.shape
        counts = [Counter(map(tuple, bits.tolist())) for bits in (one, other)]
        keys = sorted({*counts[0], *counts[1]})
        seen = np.array([[count[key] for key in keys] for count in counts], dtype=float)
        found = [chi_square(seen.sum(axis=0) / 2, row) for row in seen]
        total += sum(statistic for statistic, _ in found)
        degrees += found[0][1]
    return Verdict(float(chi2.sf(total, degrees)) if degrees else 1.0, "two runs")


def chi_square(expected: NDArray[np.float64], seen: NDArray[np.float64]) -> tuple[float, int]:
    """Pearson's statistic and its degrees of freedom; rare cells are taken together."""
    order = np.argsort(expected)
    rare = int(np.searchsorted(np.cumsum(expected[order]), ENOUGH)) + 1
    rare = max(rare, int(np.searchsorted(expected[order], ENOUGH)))
    groups = [order[:rare], *[order[at : at + 1] for at in range(rare, len(order))]]
    if len(groups) < 2:
        return 0.0, 0
    wanted = np.array([expected[group].sum() for group in groups])
    got = np.array([seen[group].sum() for group in groups])
    return float(((got - wanted) ** 2 / wanted).sum()), len(groups) - 1


def _within_rows(chances: Sequence[Chances], outcomes: Sequence[Sequence[Bits]]) -> float:
    total, degrees = 0.0, 0
    for known, seen in zip(chances, outcomes, strict=True):
        counts = Counter(seen)
        expected = np.array([chance * len(seen) for chance in known.values()])
        statistic, freedom = chi_square(
            expected, np.array([counts[one] for one in known], dtype=float)
        )
        total, degrees = total + statistic, degrees + freedom
    return float(chi2.sf(total, degrees)) if degrees else 1.0


def _by_rank(chances: Sequence[Chances], outcomes: Sequence[Sequence[Bits]]) -> float:
    """Sum over rows of the indicators of each rank: mean sum p, covariance sum diag(p) - p p^T."""
    width = max(map(len, chances))
    mean, seen, covariance = np.zeros(width), np.zeros(width), np.zeros((width, width))
    for known, row in zip(chances, outcomes, strict=True):
        order = sorted(known, key=lambda one: (-known[one], one))
        p = np.pad([known[one] for one in order], (0, width - len(order)))
        mean += p * len(row)
        covariance += (np.diag(p) - np.outer(p, p)) * len(row)
        ranks = {one: rank for rank, one in enumerate(order)}
        for one, count in Counter(row).items():
            seen[ranks[one]] += count
    groups, start = [], 0
    for rank in range(width):
        if mean[start : rank + 1].sum() >= ENOUGH and mean[rank + 1 :].sum() >= ENOUGH:
            groups.append(slice(start, rank + 1))
            start = rank + 1
    if not groups:
        return 1.0
    # The last group follows from the others.
    deviation = np.array([(seen - mean)[group].sum() for group in groups])
    spread = np.array([[covariance[a, b].sum() for b in groups] for a in groups])
    kept = np.diag(spread) > 1  # of what is nearly certain no normal law holds
    if not kept.any():
        return 1.0
    deviation, spread = deviation[kept], spread[np.ix_(kept, kept)]
    statistic = float(deviation @ np.linalg.pinv(spread, hermitian=True) @ deviation)
    return float(chi2.sf(statistic, int(np.linalg.matrix_rank(spread, hermitian=True))))


def _most_likely(chances: Sequence[Chances], outcomes: Sequence[Sequence[Bits]]) -> float:
    """How often a row shows what is most likely in it."""
    best = [max(known, key=lambda one: (known[one], one)) for known in chances]
    expected = np.array([known[one] for known, one in zip(chances, best, strict=True)])
    seen = sum(row.count(one) for row, one in zip(outcomes, best, strict=True))
    return count_p_value(np.repeat(expected, len(outcomes[0])), seen)


def _each_bit(chances: Sequence[Chances], bits: NDArray[np.bool_]) -> list[Verdict]:
    """Ones of each bit, and how often a bit shows what is likelier in its row."""
    ones = np.array(
        [np.sum([np.multiply(one, p) for one, p in known.items()], axis=0) for known in chances]
    ).reshape(len(chances), -1)
    shots, found = bits.shape[1], []
    for bit in range(bits.shape[2]):
        p = ones[:, bit].clip(0, 1)
        value = count_p_value(np.repeat(p, shots), int(bits[:, :, bit].sum()))
        found.append(Verdict(value, f"bit {bit} of all rows"))
        likely = p > 0.5
        if 0 < likely.sum() < len(p):
            right = int((bits[:, :, bit] == likely[:, None]).sum())
            value = count_p_value(np.repeat(np.where(likely, p, 1 - p), shots), right)
            found.append(Verdict(value, f"bit {bit} by what is likelier in each row"))
    return found


def _neighbouring_shots(chances: Sequence[Chances], outcomes: Sequence[Sequence[Bits]]) -> float:
    """Shots 0 and 1, 2 and 3, ...: equal with the chance sum p**2."""
    expected, equal, pairs = [], 0, 0
    for known, row in zip(chances, outcomes, strict=True):
        same = sum(p**2 for p in known.values())
        count = len(row) // 2
        expected += [same] * count
        pairs += count
        equal += sum(a == b for a, b in zip(row[::2], row[1::2], strict=False))
    return count_p_value(np.array(expected), equal)


def _neighbouring_rows(chances: Sequence[Chances], outcomes: Sequence[Sequence[Bits]]) -> float:
    """The same shot of rows 0 and 1, 2 and 3, ..."""
    expected, equal = [], 0
    for at in range(0, len(chances) - 1, 2):
        first, second = chances[at], chances[at + 1]
        same = sum(p * second.get(one, 0.0) for one, p in first.items())
        expected += [same] * len(outcomes[at])
        equal += sum(a == b for a, b in zip(outcomes[at], outcomes[at + 1], strict=True))
    return count_p_value(np.array(expected), equal)


def count_p_value(chances: NDArray[np.float64], seen: int) -> float:
    """Two-sided and exact, of a count of independent events with these chances."""
    if not len(chances):
        return 1.0
    law = np.ones(1)
    for chance, number in zip(
        *np.unique(chances.clip(0, 1).round(14), return_counts=True), strict=True
    ):
        law = np.convolve(law, binom.pmf(np.arange(number + 1), number, chance))
    return float(min(1.0, 2 * law[: seen + 1].sum(), 2 * law[seen:].sum()))


def _text(outcome: Bits) -> str:
    return "".join("1" if one else "0" for one in reversed(outcome))
