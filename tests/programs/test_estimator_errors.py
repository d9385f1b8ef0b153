"""Standard errors are as large as values differ from run to run, for every kind of mitigation."""

import numpy as np
import pytest
from qiskit import QuantumCircuit

from queuebit.config import BackendConfig
from queuebit.devices.device import Device

RUNS = 80  # a spread of so many is known to 8 %
SUMS = [
    {"IIIIZ": 1.0},
    {"IIIIZ": 1.0, "IIIZI": 1.0},
    {"IIIIZ": 1.0, "IIIZI": -1.0},
    {"III00": 1.0},
    {"III01": 1.0},
    {"IIIXX": 1.0, "IIIZZ": -0.5, "IIIII": 3.0},
]


def zne(extrapolator, **others) -> dict:
    return {"resilience": {"zne_mitigation": True, "zne": {"extrapolator": extrapolator}, **others}}


def spread_by_reported(run, device, pub, options, level) -> np.ndarray:
    """Per observable the standard deviation of its values by the root mean square of its errors."""
    values, errors = [], []
    for seed in range(RUNS):
        (found,) = run(
            "estimator",
            device,
            [pub],
            {**options, "seed_estimator": seed},
            resilience_level=level,
        )
        values.append(found.data.evs)
        errors.append(found.data.stds)
    return np.std(values, axis=0, ddof=1) / np.sqrt(np.mean(np.square(errors), axis=0))


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({}, 0),
        ({}, 1),
        (zne("linear"), 0),
        (zne("polynomial_degree_2"), 0),
        (zne(["exponential", "linear"]), 1),
        (zne("fallback"), 1),
        ({}, 2),
    ],
)
def test_terms_of_one_circuit_are_correlated(run, manila, bell_state, options, level):
    """On a Bell state IZ and ZI are the same outcome, so their difference is hardly noisy."""
    pub = (bell_state, SUMS, None, 0.02)
    ratios = spread_by_reported(run, manila, pub, options, level)

    assert (ratios > 0.6).all()  # an exponential through values near 0 has a heavy tail
    assert (ratios < 1.35).all()


def test_errors_are_level_1s_at_least_where_there_is_nothing_to_fold(run, encode):
    """All noise factors run the same circuit, and share one readout calibration."""
    device = Device(BackendConfig(name="torino", snapshot="torino"))
    circuit = QuantumCircuit(133)
    observable = "I" * 124 + "ZZZZZZ" + "III"

    def found(level: int, seed: int):
        (pub,) = run(
            "estimator",
            device,
            [(circuit, observable)],
            {"seed_estimator": seed},
            resilience_level=level,
        )
        return float(pub.data.evs), float(pub.data.stds)

    first, second = (np.array([found(level, seed) for seed in range(25)]).T for level in (1, 2))

    assert np.median(second[1]) > np.median(first[1])
    assert second[1].min() > 0.8 * np.median(first[1])
    assert np.abs((second[0] - 1) / second[1]).max() < 4


def test_a_value_that_is_not_possible_has_an_error_as_large(run, manila, bell_state):
    """The exponential alone, through values near 0, may go anywhere."""
    options = zne("exponential")
    worst = 0.0
    for seed in range(60):
        (pub,) = run(
            "estimator",
            manila,
            [(bell_state, "IIIIZ", None, 0.05)],
            options | {"seed_estimator": seed},
            resilience_level=0,
        )
        if abs(pub.data.evs) > 2:
            worst = max(worst, float(abs(pub.data.evs) / pub.data.stds))

    assert 0 < worst < 5
