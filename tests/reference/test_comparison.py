"""The comparison finds what it shall find, and nothing else."""

import numpy as np
import pytest
from tests.reference.comparison import chi_square, compare, count_p_value

ROWS = [{(False, False): 0.9, (True, True): 0.1}, {(False, False): 0.1, (True, True): 0.9}] * 10


def draw(chances, shots: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = [
        np.array(list(known))[rng.choice(len(known), shots, p=list(known.values()))]
        for known in chances
    ]
    return np.array(drawn, dtype=bool)


@pytest.mark.parametrize("shots", [1, 3, 60])
def test_samples_of_the_reference_pass_as_often_as_they_should(shots):
    values = [compare(ROWS, draw(ROWS, shots, seed)).p_value for seed in range(120)]

    assert sum(value < 0.05 for value in values) <= 12  # 6 at the most are expected
    assert min(values) > 1e-4


@pytest.mark.parametrize("shots", [1, 3, 500])
def test_rows_that_got_the_bits_of_others_are_found(shots):
    bits = draw(ROWS, shots, 0)

    assert compare(ROWS, np.roll(bits, 1, axis=0)).p_value < 1e-7


def test_sorted_shots_are_found():
    bits = draw(ROWS[:1], 400, 0)

    assert compare(ROWS[:1], np.sort(bits, axis=1)).p_value < 1e-4


def test_rows_that_share_their_shots_are_found():
    coin = [{(False,): 0.5, (True,): 0.5}] * 2
    bits = draw(coin[:1], 100, 0)

    verdict = compare(coin, np.concatenate([bits, bits]))
    assert verdict.p_value < 1e-7
    assert verdict.by == "equal shots of neighbouring rows"


def test_what_is_impossible_may_not_occur_even_once():
    bits = draw(ROWS, 50, 0)
    bits[3, 7] = [True, False]

    assert compare(ROWS, bits).p_value == 0
    assert compare(ROWS, bits).by == "row 3 shows 01, which is impossible"


def test_correlations_between_bits_are_found():
    known = [{(a, b): 0.25 for a in (False, True) for b in (False, True)}]
    bits = draw(known, 300, 0)
    bits[:, :, 1] = bits[:, :, 0]

    assert compare(known, bits).p_value < 1e-7


def test_rare_cells_are_taken_together():
    expected = np.array([100.0, 3.0, 1.0, 2.0, 2.5])

    assert chi_square(expected, expected)[1] == 1
    assert chi_square(np.array([50.0, 50.0]), np.array([40.0, 60.0])) == pytest.approx((4.0, 1))


def test_counts_have_the_exact_law():
    assert count_p_value(np.array([0.5] * 10), 0) == pytest.approx(2 * 2**-10)
    assert count_p_value(np.array([0.1, 0.9]), 2) == pytest.approx(2 * 0.09)
    assert count_p_value(np.array([1.0, 1.0]), 1) == pytest.approx(0, abs=1e-9)
