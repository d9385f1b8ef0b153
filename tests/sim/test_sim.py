"""A whole service on one seed: its clients, lost workers, failed saves, deaths and restarts.

scripts/test tests/sim/test_sim.py --seeds 1000     # seeds 0 to 999
scripts/test tests/sim/test_sim.py --seed 17        # what a failing seed prints
"""

import pytest
from tests.sim.world import simulate


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        seed = metafunc.config.getoption("--seed")
        seeds = range(metafunc.config.getoption("--seeds")) if seed is None else [seed]
        metafunc.parametrize("seed", seeds)


def test_everything_accepted_ends_once_and_is_charged_once(seed: int) -> None:
    try:
        simulate(seed)
    except BaseException as error:
        error.add_note(f"scripts/test tests/sim/test_sim.py --seed {seed}")
        raise
