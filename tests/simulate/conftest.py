"""A simulation to play with."""

import pytest
from tests.simulate.traces import lines

from queuebit.simulate.reading import parse
from queuebit.simulate.simulation import simulate


@pytest.fixture
def run():
    """What came of a trace of these entries."""
    return lambda *entries: simulate(parse(lines(*entries)))
