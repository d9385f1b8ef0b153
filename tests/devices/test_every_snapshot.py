"""Every snapshot of the client package: what is told of it makes sense, and it runs jobs."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from dateutil.parser import isoparse
from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2
from qiskit_ibm_runtime.ibm_backend import IBMBackend
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.snapshot import Snapshot, available

UNITS = {"", "ns", "us", "GHz"}  # those that the client knows of what IBM tells
FAKES: dict[str, type[FakeBackendV2]] = {
    kind.dirname.rsplit("/", 1)[-1]: kind
    for kind in vars(fake_provider).values()
    if isinstance(kind, type) and issubclass(kind, FakeBackendV2) and kind.dirname
}


@pytest.fixture(scope="module", params=available())
def snapshot(request) -> Snapshot:
    return Snapshot(BackendConfig(name="lab", snapshot=request.param))


def leaves(told: Any) -> Iterator[Any]:
    if isinstance(told, dict | list):
        for one in told.values() if isinstance(told, dict) else told:
            yield from leaves(one)
    else:
        yield told


def test_all_of_the_clients_are_here():
    assert len(available()) >= 68
    assert set(available()) == FAKES.keys()


def test_nothing_told_is_nonsense(snapshot):
    for told in (snapshot.configuration, snapshot.properties(), snapshot.listing):
        text = json.dumps(told, allow_nan=False)  # raises on NaN and Infinity
        assert not {"None", "none", "nan", "NaN", "null"} & set(leaves(json.loads(text)))
    configuration, listing = snapshot.configuration, snapshot.listing

    assert all(
        isinstance(configuration.get(key, 0), int) for key in ("clops", "clops_h", "clops_v")
    )
    assert "clops" not in listing or listing["clops"]["value"] > 0
    expected = FAKES[snapshot.snapshot]._physical_qubits or configuration["n_qubits"]
    assert listing["physical_qubits"] == expected
    assert type(listing["physical_qubits"]) is int
    assert configuration["open_pulse"] is False
    assert all(len(feature) > 1 for feature in configuration["supported_features"])
    isoparse(configuration["online_date"])


def test_entries_have_units_dates_and_numbers_that_can_be(snapshot):
    properties = snapshot.properties()
    entries = [e for gate in properties["gates"] for e in gate["parameters"]]
    entries += [e for qubit in properties["qubits"] for e in qubit]

    for entry in [*entries, *properties["general"]]:
        isoparse(entry["date"])
        assert entry["unit"] in UNITS
        assert math.isfinite(entry["value"])
    for entry in entries:
        if entry["name"].endswith("error") or entry["name"].startswith("prob_"):
            assert 0 <= entry["value"] <= 1, entry
        if entry["name"] in ("T1", "T2", "frequency", "readout_length"):
            assert entry["value"] > 0, entry


def test_what_is_listed_is_offered_and_the_coupling_map_fits_the_gates(snapshot):
    configuration, properties = snapshot.configuration, snapshot.properties()
    target = Device(BackendConfig(name="lab", snapshot=snapshot.snapshot)).target
    offered = {*target.operation_names, "store"}
    pairs = {tuple(pair) for pair in configuration["coupling_map"]}
    listed = {
        tuple(wires)
        for gate in configuration["gates"]
        for wires in gate.get("coupling_map", [])
        if len(wires) > 1
    }

    assert {*configuration["supported_instructions"]} <= offered
    assert {*configuration["basis_gates"]} <= offered
    assert {gate["name"] for gate in configuration["gates"]} <= offered
    assert {gate["gate"] for gate in properties["gates"]} <= offered
    assert pairs == listed
    for gate in properties["gates"]:
        assert len(gate["qubits"]) == 1 or tuple(gate["qubits"]) in pairs
    for gate in configuration["gates"]:
        assert isinstance(gate["parameters"], list)
        assert isinstance(gate["qasm_def"], str)
    metrics = snapshot.listing["performance_metrics"]
    if best := metrics.get("two_q_error_best"):
        assert target[best["gate"]][tuple(best["qubits"])].error == best["value"]
    errors = [
        known.error
        for name in target.operation_names
        for wires, known in (target[name] or {}).items()
        if wires and len(wires) == 2 and known and known.error is not None and known.error < 1
    ]
    assert metrics.get("two_q_error_median", {"value": 0})["value"] == (
        pytest.approx(np.median(errors)) if errors else 0
    )


def test_it_says_that_it_runs_dynamic_circuits_exactly_if_it_does(snapshot):
    features = {*snapshot.configuration["supported_features"]}
    is_dynamic = "if_else" in snapshot.configuration["supported_instructions"]

    assert {"qasm3", "dynamic_circuits"} & features == (
        {"qasm3", "dynamic_circuits"} if is_dynamic else set()
    )


@pytest.mark.parametrize("wish", [False, True, None])
def test_the_client_builds_its_backend_and_target(snapshot, wish):
    """As the client does with what our routes answer, whatever gates its user asks for."""
    told = json.loads(json.dumps(snapshot.configuration))
    configuration = configuration_from_server_data(told, use_fractional_gates=wish)
    found = json.loads(json.dumps(snapshot.properties()))
    properties = properties_from_server_data(found, use_fractional_gates=wish)
    target = convert_to_target(configuration, properties)
    backend = IBMBackend(configuration, None, None, physical_qubits=7)

    assert target.num_qubits == configuration.n_qubits == backend.configuration().n_qubits
    assert target.build_coupling_map() is None or target.build_coupling_map().size()
    fractional = {"rx", "rzz"} & {*target.operation_names}
    assert fractional == (
        {"rx", "rzz"} if snapshot.snapshot == "fractional" and wish is not False else set()
    )
