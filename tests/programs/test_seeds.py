"""A seed fixes what is random in a job, and ties nothing of it together."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from scipy.stats import binomtest

from queuebit.programs.seeds import Use, generator

SEEDS = range(6)
SHOTS = 1000


@pytest.fixture
def coin() -> QuantumCircuit:
    """One of two qubits that gates connect, which shows 0 or 1 with equal chances."""
    circuit = QuantumCircuit(5, 1)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize("seed", [0, 3, 2**40])
def test_no_two_uses_have_the_same_random_numbers(seed):
    numbers = {generator(seed, use).random() for use in Use} | {
        np.random.default_rng(seed).random()
    }

    assert len(numbers) == len(Use) + 1


def test_a_use_has_the_same_numbers_for_the_same_seed_only():
    first, second, other = (generator(seed, Use.CIRCUITS).random(5) for seed in (7, 7, 8))

    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert generator(None, Use.CIRCUITS).random() != generator(None, Use.CIRCUITS).random()


TWIRLINGS = [
    {"enable_gates": gates, "enable_measure": True, "shots_per_randomization": each}
    for gates in (True, False)
    for each in (1, 50)
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("twirling", TWIRLINGS)
def test_twirls_do_not_follow_the_bits_that_the_same_seed_draws(coin, run, perfect, seed, twirling):
    options = {"twirling": twirling, "simulator": {"seed_simulator": seed}}
    ones = int(
        run("sampler", perfect, [[coin, None, SHOTS]], options)[0].data.c.to_bool_array().sum()
    )

    assert binomtest(ones, SHOTS).pvalue > 1e-5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [1, 2])
def test_values_of_an_estimator_with_a_seed_are_within_their_errors(
    coin, run, perfect, seed, level
):
    coin.remove_final_measurements()
    options = {
        "seed_estimator": seed,
        "twirling": {"num_randomizations": SHOTS, "shots_per_randomization": 1},
        "resilience": {"zne": {"extrapolator": "linear"}},
    }
    pub = [coin, ["IIIIZ", "IIIZI", "IIIXI"], None, SHOTS**-0.5]
    data = run("estimator", perfect, [pub], options, resilience_level=level)[0].data

    assert (np.abs(data.evs) < 5 * data.stds + 1e-9).all()
    assert (data.stds > 0.01).all()
