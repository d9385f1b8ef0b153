"""A device that drifts, as the real client sees it: `backend.properties`, and what it samples."""

import time
from datetime import datetime, timedelta

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2

from queuebit import testing
from queuebit.account import NO_VERIFY_WARNING

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings(f"ignore:{NO_VERIFY_WARNING}"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:qiskit_ibm_runtime"),
    pytest.mark.filterwarnings("ignore:.* class is deprecated as of qiskit-ibm-runtime"),
]

SPEED = 1_000
SHOTS = 10_000
FULL = {"kind": "full", "every_s": 2_000, "lasts_s": 100, "drift": 1.0}


@pytest.fixture(scope="module")
def backend():
    device = {"name": "drifting", "snapshot": "manila", "calibrations": [FULL]}
    with testing.service(speed=SPEED, backends=[device]) as live:
        yield live.connect().backend("drifting")


def next_properties(backend):
    """Those of the next calibration."""
    known, deadline = backend.properties(refresh=True).last_update_date, time.monotonic() + 60
    while (found := backend.properties(refresh=True)).last_update_date == known:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_properties_are_those_of_now_or_of_a_date(backend):
    now = next_properties(backend)
    before = backend.properties(datetime=now.last_update_date - timedelta(milliseconds=1))
    then = backend.properties(datetime=now.last_update_date)

    assert then.to_dict() == now.to_dict()
    assert before.last_update_date < now.last_update_date
    assert all(before.t1(qubit) != now.t1(qubit) for qubit in range(5))
    assert before.gate_error("cx", [0, 1]) != now.gate_error("cx", [0, 1])
    snapshots = backend.properties(datetime=datetime(2024, 6, 1))  # noqa: DTZ001 - as the client has it
    assert str(snapshots.last_update_date.date()) == "2024-05-27"
    assert backend.target_history(now.last_update_date)["cx"][0, 1].error == now.gate_error(
        "cx", [0, 1]
    )


def test_what_is_sampled_has_the_errors_of_the_set_in_force(backend):
    circuit = QuantumCircuit(5, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    chances = []
    for _ in range(12):
        next_properties(backend)
        job = SamplerV2(mode=backend).run([circuit], shots=SHOTS)
        read_wrong = job.result()[0].data.c.get_counts().get("0", 0) / SHOTS
        updated = job.metrics()["queuebit"]["workers"]["properties_updated"]
        known = backend.properties(datetime=datetime.fromisoformat(updated))
        assert known.last_update_date == datetime.fromisoformat(updated)
        chance = known.qubit_property(0, "prob_meas0_prep1")[0]
        sigma = (chance * (1 - chance) / SHOTS) ** 0.5
        # And an error of the X gate, which is much smaller.
        assert abs(read_wrong - chance) < 5 * sigma + known.gate_error("x", 0)
        chances.append(chance)
        if max(chances) > 3 * min(chances):
            break
    assert max(chances) > 3 * min(chances)
