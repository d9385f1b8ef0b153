"""Random circuits of every kind, by every method, have the bits that the reference says.

Case by case the same in every run; `scripts/differential` goes on from there. How sure it is that a
failure is one: tests/reference/differential.py.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from tests.reference.cases import DEVICES, KINDS, Case, case
from tests.reference.differential import fault
from tests.reference.methods import AS_PLANNED, METHODS
from tests.reference.random_circuits import DIVISIONS
from tests.reference.running import intercepted

from queuebit.devices.noise import Noise
from queuebit.devices.state import Branches

CASES = range(150)
GOLDEN = Path(__file__).parents[1] / "golden"

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries


@pytest.mark.parametrize("seed", CASES)
def test_a_random_job_has_the_bits_of_the_reference(seed):
    wrong, _ = fault(case(seed))

    assert not wrong, f"{wrong}\n{case(seed).text()}"


@pytest.mark.parametrize(
    "name",
    [
        "estimator_3x2_rl1",
        "executor_mixed",
        "executor_noise_learner_v3",
        "noise_learner",
        "sampler_dynamic",
        "sampler_param_3x2",
        "sampler_twirl_dd",
    ],
)
def test_the_circuits_of_a_recorded_job_have_the_bits_of_the_reference(name):
    body = json.loads((GOLDEN / f"{name}-0.51.0.json").read_text())
    one = Case(0, name, "torino", AS_PLANNED, ())
    verdict, _ = intercepted(one, body["program_id"], json.dumps(body["params"]).encode())

    assert verdict.p_value > 1e-7, verdict.by  # the jobs have no seeds


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
