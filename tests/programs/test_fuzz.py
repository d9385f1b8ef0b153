"""Broken input is refused: never a crash, never a hang, never another error than the user's.

`scripts/fuzz` runs as many as one has time for.
"""

import time

import pytest
from tests.programs import mangling

RUNS = 3  # of each kind and body
CIRCUITS_MAX = 200  # of a job that is run in all its stages
SECONDS_MAX = 20.0  # of one job that runs after all, on a busy machine


# Numbers as large as observables may have overflow, and that is all.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", mangling.KINDS)
@pytest.mark.parametrize("name", mangling.NAMES)
def test_broken_parameters_are_refused_or_run(kind, name, torino):
    for number in range(RUNS):
        program_id, params = mangling.case(name, kind, number)
        start = time.perf_counter()
        try:
            message = mangling.run(program_id, params, torino, circuits_max=CIRCUITS_MAX)
        except BaseException as error:
            error.add_note(f"number={number}")
            raise
        assert message != "", "a refusal without a word"
        assert time.perf_counter() - start < SECONDS_MAX, f"number={number}"


def test_what_is_broken_is_mostly_refused_but_some_of_it_runs(torino):
    cases = [
        mangling.case("sampler_param_3x2-0.51.0.json", kind, number)
        for kind in mangling.KINDS
        for number in range(50)
    ]

    refused = [mangling.run(program_id, params, torino) is not None for program_id, params in cases]

    assert 0.25 < sum(refused) / len(refused) < 1
