"""Random circuits of every kind, by every method, have the bits that the reference says.

Case by case the same in every run; `scripts/differential` goes on from there. How sure it is that a
failure is one: tests/reference/differential.py.
"""

from collections import Counter

import numpy as np
import pytest
from qiskit import QuantumCircuit
from tests.reference.cases import DEVICES, KINDS, Case, case
from tests.reference.differential import fault
from tests.reference.methods import METHODS
from tests.reference.random_circuits import DIVISIONS

from queuebit.devices.noise import Noise
from queuebit.devices.state import Branches

CASES = range(150)

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries


@pytest.mark.parametrize("seed", CASES)
def test_a_random_job_has_the_bits_of_the_reference(seed):
    wrong, _ = fault(case(seed))

    assert not wrong, f"{wrong}\n{case(seed).text()}"


def names(circuit: QuantumCircuit) -> Counter[str]:
    """Of all instructions, those in blocks too."""
    found = Counter(one.name for one in circuit.data)
    for one in circuit.data:
        for block in getattr(one.operation, "blocks", ()):
            found += names(block)
    return found


def test_the_cases_have_everything_in_them():
    cases: list[Case] = [case(seed) for seed in CASES]
    used = sum((names(pub.circuit) for one in cases for pub in one.pubs), Counter())
    pubs = [pub for one in cases for pub in one.pubs]

    assert {one.kind for one in cases} == set(KINDS)
    assert {one.method for one in cases} == set(METHODS)
    assert {one.device for one in cases} == set(DEVICES)
    assert set(used) >= {*DIVISIONS, "store", "delay", "reset", "measure_2", "rzz", "barrier"}
    assert sum(pub.shots == 1 and len(pub.rows) > 1 for pub in pubs) > len(pubs) / 10
    assert sum(pub.circuit.num_parameters > 0 for pub in pubs) > len(pubs) / 4


def test_bits_of_the_wrong_branch_would_be_found(monkeypatch):
    """A planted fault: after a condition, branches have each other's bits."""
    adopt = Branches.adopt

    def wrong(self, parts):
        adopt(self, parts)
        self.bits = np.roll(self.bits, 1, axis=0)

    monkeypatch.setattr(Branches, "adopt", wrong)

    assert any(fault(case(seed))[0].startswith("p = ") for seed in CASES[:40])


def test_readout_errors_the_wrong_way_round_would_be_found(monkeypatch):
    readout = Noise.readout
    monkeypatch.setattr(Noise, "readout", lambda *given: readout(*given)[::-1])

    assert any(fault(case(seed))[0].startswith("p = ") for seed in CASES[:40])
