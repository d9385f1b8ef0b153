"""What clients are told, checked with the client's own classes."""

import copy
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from qiskit_ibm_runtime.models import BackendProperties, QasmBackendConfiguration
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from queuebit.config import BackendConfig
from queuebit.devices.snapshot import Snapshot, available
from queuebit.errors import ConfigError

REQUIRED = {
    *("backend_name", "backend_version", "n_qubits", "basis_gates", "gates", "local"),
    *("simulator", "conditional", "open_pulse", "memory", "coupling_map", "online_date"),
    *("coords", "u_channel_lo", "supported_instructions"),
}


def snapshot_of(name: str) -> Snapshot:
    return Snapshot(BackendConfig(name=f"lab_{name}", snapshot=name))


@pytest.mark.parametrize("name", available())
def test_the_client_accepts_every_snapshot(name):
    snapshot = snapshot_of(name)
    configuration = configuration_from_server_data(copy.deepcopy(snapshot.configuration))
    properties = properties_from_server_data(copy.deepcopy(snapshot.properties()))

    assert isinstance(configuration, QasmBackendConfiguration)
    assert isinstance(properties, BackendProperties)
    assert configuration.backend_name == properties.backend_name == f"lab_{name}"
    assert configuration.n_qubits == len(properties.qubits)
    assert snapshot.configuration.keys() >= REQUIRED


def test_a_simulated_qpu_says_so_but_is_no_simulator():
    """The client opens no session on a simulator."""
    configuration = snapshot_of("torino").configuration

    assert configuration["simulator"] is False
    assert configuration["local"] is False
    assert configuration["description"] == (
        "Simulated QPU (Queuebit), after ibm_torino 1.0.54 as of 2025-02-26T20:26:08.000Z"
    )


def test_dates_are_utc_and_entries_have_exactly_four_keys():
    """The client raises on a fifth key."""
    properties = snapshot_of("manila").properties()
    entries = [e for qubit in properties["qubits"] for e in qubit]
    entries += [e for gate in properties["gates"] for e in gate["parameters"]]
    entries += properties["general"]

    assert properties["last_update_date"] == "2024-05-27T18:27:23.000Z"
    assert snapshot_of("manila").configuration["online_date"] == "2021-04-28T04:00:00.000Z"
    assert all(e.keys() == {"date", "name", "unit", "value"} for e in entries)
    assert all(len(e["date"]) == 24 and e["date"].endswith("Z") for e in entries)


def test_the_one_calibration_held_at_all_times():
    snapshot = snapshot_of("manila")
    long_ago = datetime.now(UTC) - timedelta(days=10_000)

    assert snapshot.properties(updated_before=long_ago) == snapshot.properties()


def test_the_listing_tells_what_least_busy_and_people_ask_for():
    listing = snapshot_of("torino").listing

    assert listing["name"] == "lab_torino"
    assert listing["qubits"] == 133
    assert listing["is_simulator"] is False
    assert listing["processor_type"] == {"family": "Heron", "revision": "1", "segment": None}
    assert listing["clops"] == {"type": "hardware", "value": 210_000}
    metrics = listing["performance_metrics"]
    assert metrics["two_q_error_best"]["gate"] == "cz"
    assert 0 < metrics["two_q_error_best"]["value"] < metrics["two_q_error_median"]["value"] < 0.1
    assert 0 < metrics["readout_error_median"]["value"] < 0.1


def test_an_unknown_snapshot_is_refused_and_the_known_are_listed():
    with pytest.raises(ConfigError, match=r"no snapshot 'tokyo'; there are: .*fez.*torino"):
        snapshot_of("tokyo")


def test_a_path_is_no_snapshot():
    with pytest.raises(ConfigError):
        Snapshot(BackendConfig(name="a", snapshot="../backends/torino"))


def test_reading_a_snapshot_loads_no_qiskit():
    """The service process would start seconds later."""
    code = """
import sys
from queuebit.config import BackendConfig
from queuebit.devices.snapshot import Snapshot
snapshot = Snapshot(BackendConfig(name="a", snapshot="torino"))
snapshot.configuration, snapshot.properties(), snapshot.listing
print(sorted(name for name in sys.modules if name.startswith(("qiskit", "numpy"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
