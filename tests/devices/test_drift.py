"""What calibrations make of a device: around its snapshot, within bounds, the same for all."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from math import log

import pytest
from qiskit_ibm_runtime.utils.backend_decoder import properties_from_server_data

from queuebit.config import BackendConfig
from queuebit.core.model import Calibrated
from queuebit.devices.snapshot import Json, Snapshot, available

AT = 1_790_000_000_123
DATE = "2026-09-21T14:13:20.123Z"
DRAWN = Calibrated(at=AT, drawn=7, drift=0.2)
Values = dict[tuple[str, ...], float]


def snapshot_of(name: str, backend: str = "lab") -> Snapshot:
    return Snapshot(BackendConfig(name=backend, snapshot=name))


def entries(properties: Json) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Every entry of a qubit or gate, by what it is of."""
    for number, qubit in enumerate(properties["qubits"]):
        for entry in qubit:
            yield (str(number), entry["name"]), entry
    for gate in properties["gates"]:
        for entry in gate["parameters"]:
            yield (gate["gate"], str(gate["qubits"]), entry["name"]), entry


def values(properties: Json) -> Values:
    return {key: entry["value"] for key, entry in entries(properties)}


def is_error(name: str) -> bool:
    return name.startswith("prob_meas") or name.endswith("_error")


@pytest.mark.parametrize("name", available())
def test_every_snapshot_can_be_calibrated(name):
    """At the most that can be set, the client still accepts it and the noise still is noise."""
    found = snapshot_of(name)
    before = values(found.properties())
    told = found.after(Calibrated(at=AT, drawn=1, drift=1.0)).properties()
    after = values(told)

    assert properties_from_server_data(told).last_update_date == datetime(
        2026, 9, 21, 14, 13, 20, 123_000, UTC
    )
    assert after.keys() == before.keys()
    for key, value in after.items():
        was = before[key]
        if is_error(key[-1]):
            assert 0 < value <= max(0.5, was) if 0 < was < 1 else value == was, key
        elif key[-1] in {"T1", "T2"}:
            least = min(was, 2 * before.get((key[0], "T1"), was)) / 20.1  # exp(3)
            assert least < value < was * 20.1, key
        else:
            assert value == was, key
        if key[-1] == "T2" and (key[0], "T1") in after:
            assert value <= 2 * after[key[0], "T1"], key


def test_dates_are_the_calibrations_end():
    found, told = (snapshot_of("torino").after(made).properties() for made in (None, DRAWN))

    assert told["last_update_date"] == DATE
    assert {entry["date"] for _, entry in entries(told)} == {DATE}
    assert all(entry.keys() == {"date", "name", "unit", "value"} for _, entry in entries(told))
    assert told["general"] == found["general"]  # of the whole device: not measured anew


def test_without_drift_only_dates_change():
    snapshot = snapshot_of("brisbane")
    told = snapshot.after(Calibrated(at=AT)).properties()

    assert values(told) == values(snapshot.properties())
    assert {entry["date"] for _, entry in entries(told)} == {DATE}
    assert snapshot.properties()["last_update_date"] != DATE


def test_values_scatter_around_the_snapshots_as_far_as_asked():
    """Also after a thousand calibrations: they do not walk away."""
    snapshot = snapshot_of("torino")
    before = values(snapshot.properties())
    for drawn in (1, 1_000):
        after = values(snapshot.after(Calibrated(at=AT, drawn=drawn, drift=0.2)).properties())
        for names in ({"T1"}, {"prob_meas0_prep1"}, {"gate_error"}):
            factors = [
                log(after[key] / was)
                for key, was in before.items()
                if key[-1] in names and key[0] not in {"id", "x", "rx"} and 0 < was < 0.2
            ]
            if names == {"T1"}:
                factors = [log(after[key] / before[key]) for key in before if key[-1] == "T1"]
            assert len(factors) > 100
            assert abs(statistics.mean(factors)) < 0.06, (drawn, names)
            assert 0.17 < statistics.stdev(factors) < 0.23, (drawn, names)


def test_what_belongs_together_stays_together():
    snapshot = Snapshot(BackendConfig(name="lab", snapshot="kingston", fractional=True))
    before, after = (values(s.properties()) for s in (snapshot, snapshot.after(DRAWN)))

    def factor(*key: str) -> float:
        return after[key] / before[key]

    same = [factor(gate, "[5]", "gate_error") for gate in ("id", "sx", "x", "rx")]
    assert same == pytest.approx([same[0]] * 4)
    assert factor("cz", "[5, 4]", "gate_error") == pytest.approx(
        factor("cz", "[4, 5]", "gate_error")
    )
    mean = sum(after["5", name] for name in ("prob_meas0_prep1", "prob_meas1_prep0")) / 2
    assert after["5", "readout_error"] == pytest.approx(mean)
    assert factor("measure", "[5]", "gate_error") == pytest.approx(factor("5", "readout_error"))


def test_faulty_gates_stay_faulty_and_perfect_ones_perfect():
    before, after = (
        values(snapshot_of("torino").after(made).properties()) for made in (None, DRAWN)
    )
    faulty = {key for key, value in before.items() if is_error(key[-1]) and value >= 1}

    assert faulty == {key for key, value in after.items() if is_error(key[-1]) and value >= 1}
    assert any(key[0] == "cz" for key in faulty)
    assert after["rz", "[3]", "gate_error"] == before["rz", "[3]", "gate_error"] == 0


def test_backends_and_calibrations_draw_each_their_own():
    draws = [
        values(snapshot_of("manila", backend).after(made).properties())["0", "T1"]
        for backend in ("lab", "other")
        for made in (DRAWN, Calibrated(at=AT, drawn=8, drift=0.2))
    ]

    assert len(set(draws)) == 4


def test_another_process_makes_the_same_set_and_loads_no_qiskit():
    code = f"""
import hashlib, json, sys
from queuebit.config import BackendConfig
from queuebit.core.model import Calibrated
from queuebit.devices.snapshot import Snapshot
snapshot = Snapshot(BackendConfig(name="lab", snapshot="manila")).after({DRAWN!r})
print(json.dumps(snapshot.properties()))
print(sorted(name for name in sys.modules if name.startswith(("qiskit", "numpy"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, loaded = done.stdout.splitlines()

    assert json.loads(told) == snapshot_of("manila").after(DRAWN).properties()
    assert loaded == "[]"


def test_the_values_of_a_number_are_the_same_in_every_release():
    """History is kept as numbers: other values for a number would rewrite it."""
    told = values(snapshot_of("manila").after(DRAWN).properties())

    assert told["0", "T1"] == pytest.approx(140.10817608558344, rel=1e-12)
    assert told["cx", "[0, 1]", "gate_error"] == pytest.approx(0.006043356358149782, rel=1e-12)
